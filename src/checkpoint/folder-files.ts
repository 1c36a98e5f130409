/**
 * Files of a model folder that are not weights and go with the model wherever it is saved. `config.json` is written
 * anew.
 */
export const COMPANION_FILES = [
  "tokenizer.json",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "added_tokens.json",
  "vocab.json",
  "merges.txt",
  "vocab.txt",
  "tokenizer.model",
  "spiece.model",
  "sentencepiece.bpe.model",
  "chat_template.jinja",
  "chat_template.json",
  "generation_config.json",
  "preprocessor_config.json",
  "processor_config.json",
  "LICENSE",
  "LICENSE.md",
  "LICENSE.txt",
  "NOTICE",
  "NOTICE.txt",
  "USE_POLICY.md",
] as const;

const WEIGHTS = /^(model|pytorch_model)([.-].*)?\.(safetensors|bin)(\.index\.json)?$/;

/** Whether `name` is a file of weights, or the index of some. */
export function isWeightFile(name: string): boolean {
  return WEIGHTS.test(name);
}

/** Whether a newly written model takes the place of the file `name` of an older one. */
export function isModelFile(name: string): boolean {
  return name === "config.json" || isWeightFile(name) || (COMPANION_FILES as readonly string[]).includes(name);
}

/** The files of an adapter, as PEFT names them. */
export const ADAPTER_CONFIG_FILE = "adapter_config.json";
export const ADAPTER_WEIGHTS_FILE = "adapter_model.safetensors";

/** Whether a newly written adapter takes the place of the file `name` of an older one. */
export function isAdapterFile(name: string): boolean {
  return name === ADAPTER_CONFIG_FILE || /^adapter_model\.(safetensors|bin)$/.test(name);
}
