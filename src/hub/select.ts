/**
 * Which files of a repository make a model that can be loaded: never another framework's weights, never a folder
 * inside.
 */
import { basename } from "node:path";
import { CONFIG_FILE, INDEX_FILE, WEIGHTS_FILE } from "../checkpoint/checkpoint.js";
import { isRecord } from "../base/guards.js";
import { COMPANION_FILES } from "../checkpoint/folder-files.js";
import { Zo2Error } from "../base/errors.js";

const LICENCE = /^(licen[cs]e|notice|copying)([.-][\w.-]*)?$/i;

/**
 * Files without which a model behaves otherwise. A snapshot is settled only when it is known of each whether the commit
 * has it.
 */
export const TELLING_FILES = [
  "tokenizer.json",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "added_tokens.json",
  "vocab.json",
  "merges.txt",
  "tokenizer.model",
  "chat_template.jinja",
  "chat_template.json",
  "generation_config.json",
] as const;

/** `config.json` and what goes with the weights, of those that `names` has. */
export function companionsOf(names: Iterable<string>): string[] {
  const known: readonly string[] = COMPANION_FILES;
  return [...names].filter((name) => name === CONFIG_FILE || known.includes(name) || LICENCE.test(name)).sort();
}

/** One file of weights, or the index that names several. */
export type WeightForm = { readonly kind: "single" | "index"; readonly name: string };

/** In the order in which a folder is opened: the first that is there counts. */
export const WEIGHT_FORMS: readonly WeightForm[] = [
  { kind: "single", name: WEIGHTS_FILE },
  { kind: "index", name: INDEX_FILE },
  { kind: "single", name: "pytorch_model.bin" },
  { kind: "index", name: "pytorch_model.bin.index.json" },
];

/**
 * The shards that an index names, each once. @throws Zo2Error ZO2_ERR_CHECKPOINT for a name that leads out of the
 * folder
 */
export function shardsOf(where: string, index: unknown): string[] {
  const map = isRecord(index) ? index["weight_map"] : undefined;
  if (!isRecord(map)) throw new Zo2Error("ZO2_ERR_CHECKPOINT", `${where}: weight_map is missing or not an object`);
  const shards = new Set<string>();
  for (const [tensor, shard] of Object.entries(map)) {
    const plain = typeof shard === "string" && shard !== "" && !/^\.|[\\\0]/.test(shard) && basename(shard) === shard;
    if (!plain) {
      throw new Zo2Error(
        "ZO2_ERR_CHECKPOINT",
        `${where}: tensor ${JSON.stringify(tensor)}: ${JSON.stringify(shard)} is not the name of a file in this folder`,
      );
    }
    shards.add(shard);
  }
  return [...shards].sort();
}
