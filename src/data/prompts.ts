/** Lines as prompts of an objective that the caller computes: whatever else a line holds is handed to it. */
import { isRecord } from "../base/guards.js";
import { LineError } from "./issue.js";
import { toolsOf } from "./messages.js";
import { compileTemplate, type Template } from "./template.js";
import type { ExampleParser, Prompt } from "./example.js";

const FIELDS = ["text", "ids", "messages", "prompt"] as const;

/**
 * A parser of lines with one of `"text"`, `"prompt"` (which is text too), `"ids"` and `"messages"`, or of any fields
 * through the prompt of a template. What the field holds is checked when it is encoded. Throws `ZO2_ERR_DATA` beginning
 * with the place.
 */
export function promptParser(options: { readonly template?: Template | undefined } = {}): ExampleParser {
  const fill = options.template === undefined ? undefined : compileTemplate(options.template.prompt);
  return (record, place) => {
    if (!isRecord(record)) throw new LineError("shape", place, "not an object");
    if (fill !== undefined) return { kind: "prompt", place, prompt: { text: fill(record, place) }, record };
    const [field, ...more] = FIELDS.filter((name) => Object.hasOwn(record, name));
    if (field === undefined || more.length > 0) {
      throw new LineError(
        "shape",
        place,
        `has ${field === undefined ? "none" : `${field} and ${more.join(", ")}`} of ` +
          `${FIELDS.join(", ")}; one is needed, or a template`,
      );
    }
    return {
      kind: "prompt",
      place,
      prompt: {
        [field === "prompt" ? "text" : field]: record[field],
        ...(field === "messages" ? toolsOf(record["tools"], place) : {}),
      } as Prompt,
      record,
    };
  };
}
