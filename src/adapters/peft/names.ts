/** PEFT's names of tensors, and ours. */

/** What PEFT's own modules put in front of the base's names. */
export const OUTER = "base_model.model.";

/** The one tensor of a prefix: by row, keys and values of every layer side by side. */
export const PREFIX_TENSOR = "prompt_embeddings";

/** A factor of a LoRA: its module, and which it is. */
export const LORA_TENSOR = /^(.+)\.lora_(A|B)\.weight$/;

export function nameInBase(name: string): string {
  return name.startsWith(OUTER) ? name.slice(OUTER.length) : name;
}

/** The parts of a prefix's rows, in their order. */
export function prefixNames(layers: number): readonly string[] {
  return Array.from({ length: layers }, (_, layer) => [`prefix.${layer}.key`, `prefix.${layer}.value`]).flat();
}
