import { join } from "node:path";
import { isRecord, messageOf, readJsonFile, readTextFile } from "../checkpoint/files.js";
import { Zo2Error } from "../errors.js";
import { compile, type Program, run } from "./render.js";
import { strftime } from "./strftime.js";
import type { Tokenizer } from "./tokenizer.js";

/** One turn. Further fields (`name`, `tool_calls`, `reasoning_content`, ...) reach the template as they are. */
export interface ChatMessage {
  readonly role: string;
  readonly content?: string | null;
  readonly [field: string]: unknown;
}

/** A Jinja template, or several by name, of which "default" and "tool_use" are chosen as transformers does. */
export type ChatTemplate = string | Readonly<Record<string, string>>;

export interface RenderChatOptions {
  /** Whether the text ends where the assistant's next turn begins. @default false */
  readonly addGenerationPrompt?: boolean;
  /** Descriptions of tools (JSON schemas), for templates that know them. */
  readonly tools?: readonly unknown[];
  /** Further variables of the template ("enable_thinking"); they come before those that are given to every template. */
  readonly extra?: Readonly<Record<string, unknown>>;
}

/** The files of a folder that may hold its chat template, besides `tokenizer_config.json`. */
export const CHAT_FILES = ["chat_template.jinja", "chat_template.json"] as const;

const MAX_TEMPLATE_CHARS = 2 ** 20;
const compiled = new WeakMap<Tokenizer, Map<string, Program>>();

/**
 * The chat template of the folder `dir`: `chat_template.jinja`, or else `chat_template.json`, or else `chat_template`
 * in `config` (the tokenizer's). Undefined where there is none. Throws `ZO2_ERR_TOKENIZER` for one that is no text.
 */
export async function readChatTemplate(
  dir: string,
  config: Readonly<Record<string, unknown>>,
): Promise<ChatTemplate | undefined> {
  const [jinja, json] = CHAT_FILES.map((name) => join(dir, name)) as [string, string];
  const text = await readTextFile(jinja, "ZO2_ERR_TOKENIZER");
  if (text !== undefined) return text;
  const file = await readJsonFile(json, "ZO2_ERR_TOKENIZER");
  if (file !== undefined && !isRecord(file)) throw new Zo2Error("ZO2_ERR_TOKENIZER", `${json}: not a JSON object`);
  const given = file?.["chat_template"];
  if (given !== undefined && given !== null) return templateOf(json, given);
  return config["chat_template"] === undefined
    ? undefined
    : templateOf(join(dir, "tokenizer_config.json"), config["chat_template"]);
}

function templateOf(path: string, value: unknown): ChatTemplate {
  if (typeof value === "string") return value;
  const named = new Map<string, string>();
  for (const entry of Array.isArray(value) ? value : [undefined]) {
    if (!isRecord(entry) || typeof entry["name"] !== "string" || typeof entry["template"] !== "string") {
      throw new Zo2Error(
        "ZO2_ERR_TOKENIZER",
        `${path}: "chat_template" is neither a text nor a list of {"name", "template"}`,
      );
    }
    named.set(entry["name"], entry["template"]);
  }
  return Object.fromEntries(named);
}

/**
 * The text that the tokenizer's chat template makes of `messages`, with the variables that transformers gives it.
 * Encode it with `addSpecialTokens: false`: the template writes the special tokens itself. Throws `ZO2_ERR_TOKENIZER`
 * where there is no template, or where it is malformed, refuses the messages or does too much work.
 */
export function renderChat(
  tokenizer: Tokenizer,
  messages: readonly ChatMessage[],
  options: RenderChatOptions = {},
): string {
  const { addGenerationPrompt = false, tools, extra } = options;
  const { name, text } = choose(tokenizer, tools !== undefined);
  const place = `${tokenizer.dir}: chat template${name === "" ? "" : ` ${JSON.stringify(name)}`}`;
  const program = compileOnce(tokenizer, place, text);
  const refuse = (message: unknown): never => {
    throw new Error(String(message));
  };
  const variables = {
    raise_exception: refuse,
    strftime_now: (format: unknown) => strftime(new Date(), String(format)),
    documents: null,
    ...tokenizer.specialTokens,
    ...extra,
    messages,
    tools: tools ?? null,
    add_generation_prompt: addGenerationPrompt,
  };
  try {
    return run(program, variables);
  } catch (error) {
    throw new Zo2Error("ZO2_ERR_TOKENIZER", `${place}: ${messageOf(error)}`, { cause: error });
  }
}

function choose({ chatTemplate, dir }: Tokenizer, withTools: boolean): { name: string; text: string } {
  if (chatTemplate === undefined) {
    const advice =
      "put a chat_template.jinja into the folder, take the instruction-tuned model's folder, or give the " +
      "prompt as text";
    throw new Zo2Error("ZO2_ERR_TOKENIZER", `${dir}: has no chat template; ${advice}`);
  }
  if (typeof chatTemplate === "string") return { name: "", text: chatTemplate };
  for (const name of withTools ? ["tool_use", "default"] : ["default"]) {
    const text = Object.hasOwn(chatTemplate, name) ? chatTemplate[name] : undefined;
    if (text !== undefined) return { name, text };
  }
  const names = Object.keys(chatTemplate)
    .map((name) => JSON.stringify(name))
    .join(", ");
  const has = `has the chat templates ${names || "of an empty list"}, none of them "default"`;
  throw new Zo2Error("ZO2_ERR_TOKENIZER", `${dir}: ${has}; put the one to use into chat_template.jinja`);
}

function compileOnce(tokenizer: Tokenizer, place: string, text: string): Program {
  const known = compiled.get(tokenizer) ?? new Map<string, Program>();
  compiled.set(tokenizer, known);
  const ready = known.get(text);
  if (ready !== undefined) return ready;
  if (text.length > MAX_TEMPLATE_CHARS) {
    throw new Zo2Error(
      "ZO2_ERR_TOKENIZER",
      `${place}: ${text.length} characters, more than the ${MAX_TEMPLATE_CHARS} a template may have`,
    );
  }
  try {
    const program = compile(text);
    known.set(text, program);
    return program;
  } catch (error) {
    throw new Zo2Error("ZO2_ERR_TOKENIZER", `${place}: cannot be parsed: ${messageOf(error)}`, { cause: error });
  }
}
