import { readFile } from "node:fs/promises";
import { parseDocument } from "yaml";
import { Zo2Error } from "../base/errors.js";

/**
 * Reads a JSON or YAML file of options. Its keys are the long flags in camelCase: `learningRate`, `batchSize`,
 * `overlap: false`. Whole numbers beyond 2^53 become bigints, so that every seed survives.
 * @throws Zo2Error `ZO2_ERR_IO` when it cannot be read, `ZO2_ERR_CONFIG` when it cannot be understood.
 */
export async function readConfigFile(path: string): Promise<Readonly<Record<string, unknown>>> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    throw new Zo2Error(
      "ZO2_ERR_IO",
      `${path}: the config file cannot be read: ${error instanceof Error ? error.message : String(error)}`,
      { cause: error },
    );
  }
  return parseConfig(text, path);
}

/** The part of `readConfigFile` after reading. JSON is read as the YAML that it also is. */
export function parseConfig(text: string, path: string): Readonly<Record<string, unknown>> {
  const document = parseDocument(text, { intAsBigInt: true, prettyErrors: true });
  const [problem] = document.errors;
  if (problem !== undefined) {
    const line = problem.linePos?.[0].line;
    const [what = ""] = problem.message.split(/ at line \d+|\n/);
    throw new Zo2Error(
      "ZO2_ERR_CONFIG",
      `${path}${line === undefined ? "" : `:${line}`}: neither JSON nor YAML: ${what}`,
      { cause: problem },
    );
  }
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: 100 });
  } catch (error) {
    throw new Zo2Error("ZO2_ERR_CONFIG", `${path}: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
  if (value === null || value === undefined) return {};
  if (typeof value !== "object" || Array.isArray(value)) {
    throw new Zo2Error(
      "ZO2_ERR_CONFIG",
      `${path}: holds ${Array.isArray(value) ? "a list" : "a single value"}; give options by name, such as ` +
        '"steps: 500"',
    );
  }
  return narrowIntegers(value) as Record<string, unknown>;
}

/** Bigints that a double holds exactly become numbers. */
function narrowIntegers(value: unknown): unknown {
  if (typeof value === "bigint") return Number.isSafeInteger(Number(value)) ? Number(value) : value;
  if (Array.isArray(value)) return value.map(narrowIntegers);
  if (typeof value === "object" && value !== null)
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, narrowIntegers(inner)]));
  return value;
}
