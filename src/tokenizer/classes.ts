/**
 * Classes of transformers by which tokenizers are named in configs: the special tokens that they have where a config
 * says nothing, and the files that each is made from where there is no `tokenizer.json`.
 */
import type { Json, TokenizerFolder } from "./folder.js";

export interface TokenizerClass {
  readonly name: string;
  /** Which rules turn its files into a definition. */
  readonly rules: "gpt2" | "qwen2" | "llama";
  /** Special tokens where no config names them. */
  readonly defaults: Json;
  /** Whether its special tokens lose the flags that configs give them. */
  readonly plainSpecials: boolean;
}

const END = "<|endoftext|>";

const GPT2: TokenizerClass = {
  name: "GPT2Tokenizer",
  rules: "gpt2",
  defaults: { bos_token: END, eos_token: END, unk_token: END },
  plainSpecials: false,
};
const QWEN2: TokenizerClass = {
  name: "Qwen2Tokenizer",
  rules: "qwen2",
  defaults: { eos_token: END, unk_token: END, pad_token: END },
  plainSpecials: true,
};
const LLAMA: TokenizerClass = {
  name: "LlamaTokenizer",
  rules: "llama",
  defaults: { bos_token: "<s>", eos_token: "</s>", unk_token: "<unk>" },
  plainSpecials: false,
};

const CLASSES = new Map(
  [GPT2, QWEN2, LLAMA, { ...LLAMA, name: "LLaMATokenizer" }].map((one): [string, TokenizerClass] => [one.name, one]),
);

const OF_MODEL_TYPE = new Map([
  ["gpt2", GPT2],
  ["opt", GPT2],
  ["llama", LLAMA],
  ["mistral", LLAMA],
  ["qwen2", QWEN2],
  ["qwen2_moe", QWEN2],
  ["qwen3", QWEN2],
  ["qwen3_moe", QWEN2],
]);

/** Model types whose folders on the Hub are known to name a wrong class; the type decides. */
const DECIDED_BY_TYPE: ReadonlySet<string> = new Set(["qwen2"]);

/** The classes whose rules are known, for messages. */
export const KNOWN_CLASSES = "GPT2Tokenizer, Qwen2Tokenizer and LlamaTokenizer";

/** A class that is known, or what the folder says in its place (undefined where it says nothing). */
export interface ChosenClass {
  readonly known?: TokenizerClass;
  /** In words, for messages: `class "X"`. */
  readonly said?: string;
}

/**
 * The class of a folder: `tokenizer_class` of the tokenizer's config, or else of `config.json`, "Fast" at its end or
 * not; where neither names one, that of the model type.
 */
export function classOf({ config, model }: TokenizerFolder): ChosenClass {
  const type = text(model["model_type"]);
  const ofType = type === undefined ? undefined : OF_MODEL_TYPE.get(type);
  const named = text(config["tokenizer_class"]) ?? text(model["tokenizer_class"]);
  const decides = type !== undefined && DECIDED_BY_TYPE.has(type);
  if (named !== undefined && !(decides && ofType !== undefined)) {
    const known = CLASSES.get(named.replace(/Fast$/, ""));
    return { said: `class ${JSON.stringify(named)}`, ...(known === undefined ? {} : { known }) };
  }
  if (type === undefined) return {};
  return { said: `model type ${JSON.stringify(type)}`, ...(ofType === undefined ? {} : { known: ofType }) };
}

function text(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}
