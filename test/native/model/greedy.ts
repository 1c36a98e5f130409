import path from "node:path";
import type { Model } from "../../../src/model.js";
import { fixtures, readTensors } from "./helpers.js";

/** Tokens that the fixtures go on for. */
export const NEW_TOKENS = 24;

export const folder = (name: string) => path.join(fixtures, "models", name);

export interface Greedy {
  readonly prompts: number[][];
  readonly continuations: number[][];
}

/** The prompts, left-padded in the file, and what transformers goes on with. */
export async function greedyOf(name: string): Promise<Greedy> {
  const tensors = await readTensors(folder(name), "expected.safetensors");
  const rows = (tensor: string): number[][] => {
    const found = tensors.get(tensor);
    if (found === undefined) throw new Error(`${name}: no ${tensor}`);
    const [count = 0, columns = 0] = found.shape;
    return Array.from({ length: count }, (_, r) =>
      Array.from({ length: columns }, (_, c) => Number(found.values[r * columns + c])),
    );
  };
  const mask = rows("greedy.attention_mask");
  return {
    prompts: rows("greedy.input_ids").map((row, r) => row.filter((_, c) => mask[r][c] === 1)),
    continuations: rows("greedy.output_ids"),
  };
}

export async function continuationsOf(
  model: Model,
  prompts: readonly number[][],
  options: Parameters<Model["generateAll"]>[1] = {},
): Promise<number[][]> {
  const all: number[][] = [];
  for await (const { ids } of model.generateAll(
    prompts.map((ids) => ({ ids })),
    { maxNewTokens: NEW_TOKENS, ignoreEos: true, ...options },
  ))
    all.push(ids);
  return all;
}
