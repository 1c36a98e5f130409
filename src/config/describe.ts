import type { z } from "zod";
import { nearestName } from "../base/nearest.js";

/**
 * One zod issue in the words of the project: what was given, and what to give instead.
 * Needs issues that carry their input (`reportInput`).
 */
export function describeIssue(issue: z.core.$ZodIssue, schema: z.core.$ZodType): string[] {
  const name = pathText(issue.path);
  const given = showValue(issue.input);
  switch (issue.code) {
    case "unrecognized_keys":
      return issue.keys.map((key) => describeUnknown(key, issue.path, issue.input, schema));
    case "invalid_type": {
      const wanted =
        typeof issue.input === "number" && issue.expected === "number"
          ? "a finite number"
          : (EXPECTED[issue.expected] ?? issue.expected);
      if (issue.input === undefined)
        return [name === "" ? `nothing was given; give ${wanted}` : `option "${name}" is missing; give ${wanted}`];
      return [`${place(name)} is ${given}; must be ${wanted}`];
    }
    case "too_small":
      return [
        `${place(name)} ${sizeOf(issue.input, given)}; must ${hasLength(issue.origin) ? "hold" : "be"} ` +
          `${issue.inclusive === false ? "more than" : "at least"} ${issue.minimum}`,
      ];
    case "too_big":
      return [
        `${place(name)} ${sizeOf(issue.input, given)}; must ${hasLength(issue.origin) ? "hold" : "be"} ` +
          `${issue.inclusive === false ? "less than" : "at most"} ${issue.maximum}`,
      ];
    case "invalid_value":
      return [describeChoice(name, issue.input, issue.values)];
    case "invalid_union":
      if ("options" in issue && issue.options !== undefined && issue.discriminator !== undefined) {
        const parent: unknown = issue.input;
        const value =
          typeof parent === "object" && parent !== null ? Reflect.get(parent, issue.discriminator) : undefined;
        return [describeChoice(name, value, issue.options)];
      }
      return (
        describeOrWord(issue, schema) ??
        describeForms(issue, schema) ?? [`${place(name)} is ${given}, which fits none of its forms`]
      );
    case "custom":
      // A rule over several options reports the object that holds them, which says nothing worth printing.
      if (typeof issue.input === "object" && issue.input !== null) return [`${place(name)}: ${issue.message}`];
      return [`${place(name)} is ${given}; ${issue.message}`];
    default:
      return [`${place(name)} is ${given}: ${issue.message}`];
  }
}

/**
 * Where a value may also be a certain word, what is wrong with it as the other form; undefined for other unions.
 */
function describeOrWord(issue: z.core.$ZodIssueInvalidUnion, schema: z.core.$ZodType): string[] | undefined {
  const [first = [], ...others] = issue.errors;
  const words = others
    .flat()
    .map((other) => (other.code === "invalid_value" && other.path.length === 0 ? other : null));
  if (first.length === 0 || words.length === 0 || words.includes(null)) return undefined;
  const texts = words.flatMap((word) => word?.values.map((value) => showValue(value)) ?? []);
  return first.flatMap((inner) =>
    describeIssue(
      { ...inner, path: [...issue.path, ...inner.path], input: issue.input } as z.core.$ZodIssue,
      schema,
    ).map((text) => `${text}, or ${texts.join(" or ")}`),
  );
}

/** Of several forms the one that was meant, where only one takes such a value at all; undefined: it cannot be told. */
function describeForms(issue: z.core.$ZodIssueInvalidUnion, schema: z.core.$ZodType): string[] | undefined {
  const meant = issue.errors.filter(([first]) => first?.code !== "invalid_type" || first.path.length > 0);
  const [only] = meant;
  if (only === undefined || meant.length > 1) return undefined;
  return only.flatMap((inner) => describeIssue({ ...inner, path: [...issue.path, ...inner.path] }, schema));
}

/** The words for a zod type name in "must be ...". */
const EXPECTED: Readonly<Record<string, string>> = {
  int: "a whole number",
  number: "a number",
  string: "text",
  boolean: "true or false",
  array: "a list",
  object: "an object of options",
};

function describeUnknown(key: string, path: readonly PropertyKey[], parent: unknown, schema: z.core.$ZodType): string {
  const all = knownPaths(schema);
  const prefix = pathText(path);
  const siblings = all.filter((p) => parentOf(p) === prefix).map((p) => p.slice(prefix === "" ? 0 : prefix.length + 1));
  // Of several forms that an object may have, another one has it.
  if (siblings.includes(key)) return `option "${pathText([...path, key])}" does not go with ${formOf(parent, schema)}`;
  const meant = nearestName(key, siblings);
  if (meant !== undefined)
    return `unknown option "${pathText([...path, key])}"; did you mean "${pathText([...path, meant])}"?`;
  const leaf = nearestName(key, all.map(leafOf));
  const elsewhere = leaf === undefined ? undefined : all.find((p) => leafOf(p) === leaf);
  if (elsewhere !== undefined) return `unknown option "${pathText([...path, key])}"; did you mean "${elsewhere}"?`;
  return `unknown option "${pathText([...path, key])}"; known here: ${siblings.join(", ")}`;
}

/** What tells an object's form from others: `name "es"`. */
function formOf(object: unknown, schema: z.core.$ZodType): string {
  const value = (key: string): unknown =>
    typeof object === "object" && object !== null ? Reflect.get(object, key) : undefined;
  const key = discriminators(schema).find((name) => value(name) !== undefined);
  return key === undefined ? "the others" : `${key} ${showValue(value(key))}`;
}

/** The options by which objects of several forms are told apart. */
function discriminators(schema: z.core.$ZodType): string[] {
  const { discriminator, shape = {}, innerType, in: from, options = [] } = definitionOf(schema);
  const inner = [...Object.values(shape), ...[innerType, from].filter((one) => one !== undefined), ...options];
  return [...(discriminator === undefined ? [] : [discriminator]), ...inner.flatMap(discriminators)];
}

function describeChoice(name: string, value: unknown, options: readonly unknown[]): string {
  const texts = options.map((o) => showValue(o));
  const list =
    texts.length < 2 ? texts.join("") : `${texts.slice(0, -1).join(", ")} or ${texts[texts.length - 1] ?? ""}`;
  if (value === undefined) return `option "${name}" is missing; give ${list}`;
  return `${place(name)} is ${showValue(value)}; must be ${list}`;
}

/** The parts of a zod type's definition that lead to others. */
interface Definition {
  readonly type: string;
  readonly shape?: Record<string, z.core.$ZodType>;
  readonly innerType?: z.core.$ZodType;
  readonly in?: z.core.$ZodType;
  readonly options?: readonly z.core.$ZodType[];
  readonly discriminator?: string;
}

function definitionOf(schema: z.core.$ZodType): Definition {
  return schema._zod.def as Definition;
}

/** Every option that `schema` knows, as dotted paths, outer ones first. */
export function knownPaths(schema: z.core.$ZodType, prefix = ""): string[] {
  const def = definitionOf(schema);
  if (def.shape !== undefined) {
    const names = Object.entries(def.shape).map(
      ([key, inner]) => [prefix === "" ? key : `${prefix}.${key}`, inner] as const,
    );
    return [...names.map(([path]) => path), ...names.flatMap(([path, inner]) => knownPaths(inner, path))];
  }
  if (def.innerType !== undefined) return knownPaths(def.innerType, prefix);
  if (def.type === "pipe" && def.in !== undefined) return knownPaths(def.in, prefix);
  if (def.options !== undefined) return [...new Set(def.options.flatMap((option) => knownPaths(option, prefix)))];
  return [];
}

function place(name: string): string {
  return name === "" ? "the value" : `option "${name}"`;
}

function pathText(path: readonly PropertyKey[]): string {
  return path.reduce<string>(
    (text, part) =>
      typeof part === "number" ? `${text}[${part}]` : text === "" ? String(part) : `${text}.${String(part)}`,
    "",
  );
}

function parentOf(path: string): string {
  return path.includes(".") ? path.slice(0, path.lastIndexOf(".")) : "";
}

function leafOf(path: string): string {
  return path.slice(path.lastIndexOf(".") + 1);
}

function hasLength(origin: string): boolean {
  return origin === "string" || origin === "array";
}

function sizeOf(value: unknown, given: string): string {
  if (typeof value === "string") return `holds ${value.length} characters`;
  return Array.isArray(value) ? `holds ${value.length}` : `is ${given}`;
}

/** A value as short text for a message. */
export function showValue(value: unknown): string {
  if (typeof value === "string")
    return value.length > 60 ? `${JSON.stringify(value.slice(0, 57))}...` : JSON.stringify(value);
  if (typeof value === "bigint") return `${value}n`;
  if (Array.isArray(value)) return "a list";
  if (typeof value === "function") return "a function";
  return typeof value === "object" && value !== null ? "an object" : String(value);
}
