import { messageOf } from "../base/guards.js";
import { Zo2Error } from "../base/errors.js";
import { type Known, Template, type Value, type Watcher } from "../jinja/index.js";
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
  return new ChatRenderer(tokenizer, options).watched(messages, options.addGenerationPrompt).text;
}

/** A text, and which part of it was written for what: places in it, in UTF-16 units. */
export interface Watched {
  readonly text: string;
  /** Rounds of loops over messages, in the order in which they ended. */
  readonly rounds: readonly { readonly index: number; readonly begin: number; readonly end: number }[];
  /** What stands in `{% generation %}` blocks. */
  readonly generated: readonly { readonly begin: number; readonly end: number }[];
}

/** Renders one conversation and its beginnings; the messages must not change meanwhile. */
export class ChatRenderer {
  private readonly template: Template;
  private readonly place: string;
  private readonly known: Known = new WeakMap();

  /** @throws Zo2Error ZO2_ERR_TOKENIZER where there is no template, or where it is malformed */
  constructor(
    private readonly tokenizer: Tokenizer,
    private readonly options: RenderChatOptions,
  ) {
    const { name, text } = choose(tokenizer, options.tools !== undefined);
    this.place = `${tokenizer.dir}: chat template${name === "" ? "" : ` ${JSON.stringify(name)}`}`;
    this.template = compileOnce(tokenizer, this.place, text);
  }

  /** @throws Zo2Error ZO2_ERR_TOKENIZER where the template refuses the messages or does too much work */
  watched(messages: readonly ChatMessage[], addGenerationPrompt = false): Watched {
    const { tools, extra } = this.options;
    const variables = {
      strftime_now: (format: unknown) => strftime(new Date(), String(format)),
      documents: null,
      ...this.tokenizer.specialTokens,
      ...extra,
      messages,
      tools: tools ?? null,
      add_generation_prompt: addGenerationPrompt,
    };
    const rounds: { item: Value; begin: number; end: number }[] = [];
    const generated: { begin: number; end: number }[] = [];
    const watcher: Watcher = {
      round: (item, begin, end) => rounds.push({ item, begin, end }),
      generated: (begin, end) => generated.push({ begin, end }),
    };
    let text: string;
    try {
      text = this.template.render(variables, this.known, watcher);
    } catch (error) {
      throw new Zo2Error("ZO2_ERR_TOKENIZER", `${this.place}: ${messageOf(error)}`, { cause: error });
    }
    // What is no list reaches the template too, which has its own words for it.
    const list = Array.isArray(messages) ? messages : [];
    const indices = new Map(list.map((message: object, index) => [this.known.get(message), index] as const));
    const ofMessages = rounds.flatMap(({ item, begin, end }) => {
      const index = indices.get(item);
      return index === undefined ? [] : [{ index, begin, end }];
    });
    return { text, rounds: ofMessages, generated };
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
