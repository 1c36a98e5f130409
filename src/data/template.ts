import { Zo2Error } from "../base/errors.js";
import { LineError } from "./issue.js";

/**
 * How any fields of a line become a prompt with a completion or with choices. `{field}` stands for a field, `{{` and
 * `}}` for braces.
 */
export interface Template {
  readonly prompt: string;
  /** The choices' texts, as they follow the prompt: usually with a blank in front. */
  readonly choices?: readonly string[] | undefined;
  readonly completion?: string | undefined;
  /** The field that says which choice is right, by index from 0 or by name. @default "label" */
  readonly labelField?: string | undefined;
}

type Fields = Readonly<Record<string, unknown>>;

/** Fills the fields of one line in; `place` is where the line stands. */
export type Fill = (record: Fields, place: string) => string;

function malformed(text: string, what: string): Zo2Error {
  return new Zo2Error("ZO2_ERR_CONFIG", `template ${JSON.stringify(text)}: ${what}; write {{ and }} for braces`);
}

/**
 * Parses a template text once. Throws `ZO2_ERR_CONFIG` for braces that do not match; the result throws `ZO2_ERR_DATA`
 * for a field that a line lacks.
 */
export function compileTemplate(text: string): Fill {
  const parts: (string | { readonly field: string })[] = [];
  let literal = "";
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (c !== "{" && c !== "}") {
      literal += c;
    } else if (text[i + 1] === c) {
      literal += c;
      i++;
    } else if (c === "}") {
      throw malformed(text, `the } at character ${i + 1} closes nothing`);
    } else {
      const end = text.indexOf("}", i);
      const field = end < 0 ? "" : text.slice(i + 1, end);
      if (field === "" || field.includes("{")) throw malformed(text, `the { at character ${i + 1} opens no field name`);
      parts.push(literal, { field });
      literal = "";
      i = end;
    }
  }
  parts.push(literal);
  return (record, place) =>
    parts.map((part) => (typeof part === "string" ? part : fieldText(record, part.field, place))).join("");
}

/** The value of a field that must be there. */
export function fieldOf(record: Fields, field: string, place: string): unknown {
  if (Object.hasOwn(record, field)) return record[field];
  const present = Object.keys(record)
    .map((key) => JSON.stringify(key))
    .join(", ");
  throw new LineError(
    "shape",
    place,
    `has no field ${JSON.stringify(field)}; it has ${present === "" ? "none" : present}`,
  );
}

function fieldText(record: Fields, field: string, place: string): string {
  const value = fieldOf(record, field, place);
  if (typeof value === "string") return value;
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  throw new LineError(
    "shape",
    place,
    `field ${JSON.stringify(field)} is ${value === null ? "null" : "no text"}, so it cannot stand in a prompt`,
  );
}
