/** What a label of a line says: which of the choices, or of a classifier's labels. */
import { Zo2Error } from "../base/errors.js";
import { LineError } from "./issue.js";

/** Labels as data sets write them ("entailment", 1, true, all by their text), and the choice that each means. */
export type LabelMap = Readonly<Record<string, number>>;

const AFFIRMATIVE = new Set(["true", "yes"]);
const NEGATIVE = new Set(["false", "no"]);

/** Throws `ZO2_ERR_CONFIG` for a map that leads past `count` choices, or that nothing is done with (null). */
export function checkLabelMap(map: LabelMap | undefined, count: number | null, why = ""): void {
  if (map === undefined) return;
  if (count === null) throw new Zo2Error("ZO2_ERR_CONFIG", `option "labelMap" has no effect: ${why}`);
  for (const [name, index] of Object.entries(map)) {
    if (index >= count)
      throw new Zo2Error(
        "ZO2_ERR_CONFIG",
        `option "labelMap" maps ${JSON.stringify(name)} to ${index}; there are choices 0 to ${count - 1}`,
      );
  }
}

/** A label where there is a map, which then decides alone. Throws `ZO2_ERR_DATA` beginning with `place`. */
export function mappedLabel(map: LabelMap, label: unknown, count: number, field: string, place: string): number {
  const name = typeof label === "object" ? undefined : String(label);
  const index = name !== undefined && Object.hasOwn(map, name) ? map[name] : undefined;
  if (index !== undefined && index < count) return index;
  const known = Object.entries(map).map(([key, value]) => `${JSON.stringify(key)} (${value})`);
  throw new LineError(
    "label",
    place,
    `label ${JSON.stringify(label)} in ${JSON.stringify(field)} is ` +
      (index === undefined
        ? `none of option "labelMap", which has ${known.join(", ")}`
        : `mapped to ${index}; there are choices 0 to ${count - 1}`),
  );
}

/**
 * The one of two names that a truth value means: by what they say where one of them is "true" or "yes", "false" or "no"
 * (blanks and case aside), else false is the first and true the second. Undefined for more names, or two that say the
 * same.
 */
export function truthLabel(label: boolean, names: readonly string[]): number | undefined {
  if (names.length !== 2) return undefined;
  const says = names.map((name) => {
    const word = name.trim().toLowerCase();
    return AFFIRMATIVE.has(word) ? true : NEGATIVE.has(word) ? false : undefined;
  });
  const [first, second] = says;
  if (first === undefined && second === undefined) return Number(label);
  if (first === second) return undefined;
  const meansTrue = first === true || second === false ? 0 : 1;
  return label ? meansTrue : 1 - meansTrue;
}
