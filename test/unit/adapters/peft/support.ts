/** Adapters that PEFT has made (test/fixtures/adapters), and the bases that they are for. */
import fs from "node:fs";
import path from "node:path";
import { defineModel, recordModel } from "../../../../src/models/index.js";
import { numberParameters } from "../../../../src/ops/parameter.js";
import type { Described } from "../../../../src/adapters/peft/describe.js";
import { safetensorsBytes, type Tensors } from "../../../support/tensor-files.js";

const FIXTURES = path.join(__dirname, "../../../fixtures");
export const ADAPTERS = fs.readdirSync(path.join(FIXTURES, "adapters")).sort();
export const adapterFolder = (name: string) => path.join(FIXTURES, "adapters", name);

export function readJson(file: string): Record<string, unknown> {
  return JSON.parse(fs.readFileSync(file, "utf8"));
}

export const configOf = (dir: string) => readJson(path.join(dir, "adapter_config.json"));

/** The base of a fixture, as it is named in its config. */
export function baseOf(adapter: string): Described {
  const name = String(configOf(adapterFolder(adapter))["base_model_name_or_path"]);
  const definition = defineModel(readJson(path.join(adapterFolder(adapter), name, "config.json")));
  const parameters = numberParameters(definition.parameters);
  const { namePrefixes, head } = definition;
  return { name, head, parameters, namePrefixes, recording: recordModel(definition, parameters) };
}

/** The tensors of an adapter's file, in the order of its header, read without the code under test. */
export function tensorsOf(dir: string): Tensors {
  const file = fs.readFileSync(path.join(dir, "adapter_model.safetensors"));
  const end = 8 + Number(file.readBigUInt64LE(0));
  const { __metadata__: _, ...entries } = JSON.parse(file.subarray(8, end).toString("utf8"));
  const tensors: Tensors = new Map();
  for (const [name, entry] of Object.entries<{ dtype: string; shape: number[]; data_offsets: number[] }>(entries)) {
    const [from, to] = entry.data_offsets.map((offset) => end + offset);
    tensors.set(name, { dtype: entry.dtype, shape: entry.shape, bytes: Buffer.from(file.subarray(from, to)) });
  }
  return tensors;
}

/** A folder with a fixture's files, changed. */
export function changed(
  dir: string,
  adapter: string,
  change: (config: Record<string, unknown>, tensors: Tensors) => void,
): string {
  const config = configOf(adapterFolder(adapter));
  const tensors = tensorsOf(adapterFolder(adapter));
  change(config, tensors);
  fs.mkdirSync(dir, { recursive: true });
  fs.writeFileSync(path.join(dir, "adapter_config.json"), JSON.stringify(config));
  fs.writeFileSync(path.join(dir, "adapter_model.safetensors"), safetensorsBytes(tensors));
  return dir;
}
