import { messageOf } from "../base/guards.js";
import { Zo2Error } from "../base/errors.js";
import { Template } from "../jinja/index.js";
import { strftime } from "./strftime.js";
import type { ChatMessage, Tokenizer } from "./types.js";

export interface RenderChatOptions {
  /** Whether the text ends where the assistant's next turn begins. @default false */
  readonly addGenerationPrompt?: boolean;
  /** Descriptions of tools (JSON schemas), for templates that know them. */
  readonly tools?: readonly unknown[];
  /** Further variables of the template ("enable_thinking"); they come before those that are given to every template. */
  readonly extra?: Readonly<Record<string, unknown>>;
}

const MAX_TEMPLATE_CHARS = 2 ** 20;
const compiled = new WeakMap<Tokenizer, Map<string, Template>>();

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
  const template = compileOnce(tokenizer, place, text);
  const variables = {
    strftime_now: (format: unknown) => strftime(new Date(), String(format)),
    documents: null,
    ...tokenizer.specialTokens,
    ...extra,
    messages,
    tools: tools ?? null,
    add_generation_prompt: addGenerationPrompt,
  };
  try {
    return template.render(variables);
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

function compileOnce(tokenizer: Tokenizer, place: string, text: string): Template {
  const known = compiled.get(tokenizer) ?? new Map<string, Template>();
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
    const template = new Template(text);
    known.set(text, template);
    return template;
  } catch (error) {
    throw new Zo2Error("ZO2_ERR_TOKENIZER", `${place}: cannot be parsed: ${messageOf(error)}`, { cause: error });
  }
}
