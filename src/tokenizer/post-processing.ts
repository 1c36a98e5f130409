/** The ids that a tokenizer puts around a text: the `post_processor` of a `tokenizer.json`. */
import { isRecord } from "../base/guards.js";

/** What stands before and after the ids of one text. */
export interface Around {
  readonly before: readonly number[];
  readonly after: readonly number[];
}

/**
 * The ids around one text. `idOf` gives the id of a token that the processor names without one. Throws an `Error` that
 * says what is wrong with the processor.
 */
export function aroundOf(processor: unknown, idOf: (token: string) => number | undefined): Around {
  if (processor === null || processor === undefined) return { before: [], after: [] };
  if (!isRecord(processor)) throw new Error("the post-processor is not an object");
  switch (processor["type"]) {
    case "ByteLevel":
      return { before: [], after: [] };
    case "BertProcessing":
    case "RobertaProcessing":
      return { before: [idAs(processor["cls"], idOf)], after: [idAs(processor["sep"], idOf)] };
    case "TemplateProcessing":
      return template(processor, idOf);
    case "Sequence": {
      const parts = processor["processors"];
      if (!Array.isArray(parts)) throw new Error("the post-processor is a sequence of nothing");
      return parts
        .map((part: unknown) => aroundOf(part, idOf))
        .reduce(
          (inner, outer) => ({
            before: [...outer.before, ...inner.before],
            after: [...inner.after, ...outer.after],
          }),
          { before: [], after: [] },
        );
    }
    default:
      throw new Error(`unknown post-processor ${JSON.stringify(processor["type"])}`);
  }
}

/** The id of `[token, id]`, whose id may be missing. */
function idAs(pair: unknown, idOf: (token: string) => number | undefined): number {
  const [token, id] = Array.isArray(pair) ? (pair as unknown[]) : [];
  return id === undefined ? (known(token, idOf) ?? checked(token, id)) : checked(token, id);
}

function template(processor: Record<string, unknown>, idOf: (token: string) => number | undefined): Around {
  const { single, special_tokens: special } = processor;
  if (!Array.isArray(single)) throw new Error("the post-processor's template is not a list");
  const before: number[] = [];
  const after: number[] = [];
  let texts = 0;
  for (const part of single as unknown[]) {
    const sequence = isRecord(part) ? part["Sequence"] : undefined;
    const token = isRecord(part) && isRecord(part["SpecialToken"]) ? part["SpecialToken"]["id"] : undefined;
    if (isRecord(sequence)) texts++;
    else {
      const entry = isRecord(special) && typeof token === "string" ? special[token] : undefined;
      const ids = isRecord(entry) && Array.isArray(entry["ids"]) ? (entry["ids"] as unknown[]) : [undefined];
      const place = texts === 0 ? before : after;
      for (const id of ids) place.push(idAs([token, id], idOf));
    }
  }
  if (texts !== 1) throw new Error(`the post-processor's template has ${texts} places for a text, not one`);
  return { before, after };
}

function known(token: unknown, idOf: (token: string) => number | undefined): number | undefined {
  return typeof token === "string" ? idOf(token) : undefined;
}

function checked(token: unknown, id: unknown): number {
  if (typeof id !== "number" || !Number.isInteger(id) || id < 0)
    throw new Error(`the post-processor's token ${JSON.stringify(token)} has no id`);
  return id;
}
