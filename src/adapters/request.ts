/** What an option asks for, with what its folder holds. */
import type { ResolvedAdapterOptions } from "../config/adapter.js";
import type { ModelDefinition } from "../models/family.js";
import { recordModel } from "../models/index.js";
import { numberParameters, type Parameter } from "../ops/parameter.js";
import type { AdapterRequest } from "./make.js";
import type { AdapterBase } from "./peft/base.js";
import { readAdapter } from "./peft/read.js";

/**
 * What an adapter's folder has to fit: the model without an adapter over it.
 * @param parameters of the model, the adapter's behind them where it has one. @default those of the definition
 */
export function baseOf(
  definition: ModelDefinition,
  parameters: readonly Parameter[] = numberParameters(definition.parameters),
): AdapterBase {
  const own = parameters.slice(0, definition.parameters.length);
  return { parameters: own, namePrefixes: definition.namePrefixes, recording: recordModel(definition, own) };
}

/** @throws Zo2Error as `readAdapter`, where a folder is asked for */
export async function readRequest(
  options: Readonly<ResolvedAdapterOptions> | undefined,
  definition: ModelDefinition,
): Promise<AdapterRequest | undefined> {
  if (options?.name !== "peft") return options;
  return { ...options, contents: await readAdapter(options.folder, baseOf(definition)) };
}
