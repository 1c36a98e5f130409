/** A conversation in a line, and the tools beside it. */
import { isRecord } from "../base/guards.js";
import type { ChatMessage } from "../tokenizer/index.js";
import { LineError } from "./issue.js";

function bad(place: string, what: string): LineError {
  return new LineError("shape", place, what);
}

/** The turns of a conversation. Throws `ZO2_ERR_DATA` beginning with `place`. */
export function chatMessages(value: unknown, place: string): ChatMessage[] {
  if (!Array.isArray(value)) throw bad(place, '"messages" is not a list of {"role", "content"}');
  return value.map((message: unknown, i): ChatMessage => {
    const at = `${place}: messages[${i}]`;
    if (!isRecord(message)) throw bad(at, 'not an object with "role" and "content"');
    const { role, content } = message;
    if (typeof role !== "string" || role === "") throw bad(at, '"role" is not a text such as "user" or "assistant"');
    // A turn that only calls tools says nothing.
    const silent =
      Array.isArray(message["tool_calls"]) &&
      message["tool_calls"].length > 0 &&
      (content === null || content === undefined);
    if (silent) return { ...message, role, content: null };
    if (typeof content !== "string") throw bad(at, '"content" is not a text');
    return { ...message, role, content };
  });
}

/** Descriptions of tools beside a conversation. Throws `ZO2_ERR_DATA` beginning with `place`. */
export function toolsOf(value: unknown, place: string): { readonly tools?: readonly unknown[] } {
  if (value === undefined || value === null) return {};
  if (!Array.isArray(value)) throw bad(place, '"tools" is not a list of descriptions of tools (JSON schemas)');
  return { tools: value };
}
