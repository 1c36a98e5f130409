/** Adapters that PEFT has made, and what it computes with them (test/fixtures/adapters). */
import fs from "node:fs";
import path from "node:path";
import { api } from "../../../src/cli/load-api.js";
import { runCli } from "../../../src/cli/program.js";
import type { Model } from "../../../src/model.js";
import { fakeContext } from "../../unit/cli/fake.js";
import { fixtures, readTensors } from "../model/helpers.js";

export const adapterFolder = (name: string) => path.join(fixtures, "adapters", name);
export const LORAS = fs
  .readdirSync(path.join(fixtures, "adapters"))
  .filter((name) => name.startsWith("lora-"))
  .sort();
export const PREFIXES = ["prefix-llama", "prefix-opt", "prefix-qwen3"];

/** The folder of the base that an adapter is for. */
export function baseFolder(name: string): string {
  const config = JSON.parse(fs.readFileSync(path.join(adapterFolder(name), "adapter_config.json"), "utf8"));
  return path.join(adapterFolder(name), config.base_model_name_or_path);
}

export interface Expected {
  /** Token ids, by sequence. */
  readonly ids: readonly (readonly number[])[];
  /** One row after another, of all sequences. */
  readonly rows: readonly (readonly number[])[];
}

/** @param key "logits", or "merged_logits" after PEFT's `merge_and_unload`. */
export async function expectedOf(name: string, key: string): Promise<Expected> {
  const tensors = await readTensors(adapterFolder(name), "expected.safetensors");
  const split = (of: string): number[][] => {
    const { shape, values } = tensors.get(of)!;
    const width = shape.at(-1) ?? 1;
    const all = Array.from(values, Number);
    return Array.from({ length: all.length / width }, (_, i) => all.slice(i * width, (i + 1) * width));
  };
  return { ids: split("input_ids"), rows: split(key) };
}

/** Logits of every token, or of a classifier those of every sequence. */
export async function rowsOf(model: Model, ids: Expected["ids"]): Promise<number[][]> {
  const rows: number[][] = [];
  for (const sequence of ids) {
    if (model.head.kind === "causal") {
      const logits = await model.logits(sequence);
      const width = logits.length / sequence.length;
      sequence.forEach((_, t) => rows.push([...logits.subarray(t * width, (t + 1) * width)]));
      continue;
    }
    for await (const prediction of model.predict([{ ids: sequence }]))
      if (prediction.kind === "labels") rows.push([...prediction.logits]);
  }
  return rows;
}

/** The largest difference of a row, as a share of its largest magnitude. */
export function worst(ours: readonly (readonly number[])[], wanted: readonly (readonly number[])[]): number {
  expect(ours.map((row) => row.length)).toEqual(wanted.map((row) => row.length));
  const differences = wanted.map((row, r) => {
    const largest = Math.max(...row.map(Math.abs));
    return Math.max(...row.map((value, c) => Math.abs((ours[r]?.[c] ?? Number.NaN) - value) / largest));
  });
  return Math.max(...differences);
}

/** Runs `zo2` in this process, on the package itself. */
export async function zo2(
  ...args: string[]
): Promise<{ readonly code: number; readonly out: string; readonly err: string }> {
  const { context, stdout, stderr } = fakeContext();
  const code = await runCli(args, { ...context, loadApi: () => Promise.resolve(api) });
  return { code, out: stdout.text, err: stderr.text };
}
