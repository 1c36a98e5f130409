/** What a folder of an adapter says, whatever files it came from: its shape, and its values as they are stored. */
import type { TensorDtype } from "../checkpoint/safetensors.js";

/** One linear layer that a LoRA changes: y = x W^T + scale (x A^T) B^T. */
export interface LoraModule {
  /** The base parameter's name without ".weight". */
  readonly module: string;
  /** Rows of A, columns of B. */
  readonly rank: number;
  /** Of the product: alpha / rank, or alpha / sqrt(rank) of a rank-stabilised one. */
  readonly scale: number;
}

/** A tensor as a file has it: row-major, little-endian. */
export interface StoredValues {
  readonly dtype: TensorDtype;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

interface Shape {
  /** Parameters of the base that are trained with the adapter, such as a head: their values come with it. */
  readonly alsoTrained: readonly string[];
}

interface Values {
  /**
   * By the names of our parameters: `<module>.lora_A.weight` [rank, in], `<module>.lora_B.weight` [out, rank],
   * `prefix.<layer>.key` and `prefix.<layer>.value` [tokens, kvHeads x headSize], and those `alsoTrained`.
   */
  readonly values: ReadonlyMap<string, StoredValues>;
  /** The parsed `adapter_config.json`: what a folder that is written from this adapter begins with. */
  readonly config: Readonly<Record<string, unknown>>;
}

export interface LoraShape extends Shape {
  readonly kind: "lora";
  /** In the order of the base's parameters. */
  readonly modules: readonly LoraModule[];
}

export interface PrefixShape extends Shape {
  readonly kind: "prefix";
  /** Rows of keys and values in front of every sequence. */
  readonly tokens: number;
}

export type AdapterShape = LoraShape | PrefixShape;
export type LoraContents = LoraShape & Values;
export type PrefixContents = PrefixShape & Values;
export type AdapterContents = LoraContents | PrefixContents;
