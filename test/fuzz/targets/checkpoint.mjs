/** A folder with safetensors, in one file or in shards with an index: `openCheckpoint`. */
import { mutateBundle, packFiles } from "../lib/bundle.mjs";
import { mutateBytes } from "../lib/bytes.mjs";
import { openFolderTarget } from "../lib/folder.mjs";
import { mutateJson } from "../lib/json.mjs";
import {
  makeSafetensors,
  mutateSafetensors,
  SAFETENSORS_WORDS,
  smallSafetensors,
  TWO_TENSORS,
} from "../lib/safetensors.mjs";

const CONFIG = '{"model_type":"opt"}';
const SHARDS = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
const NAMES = ["config.json", "model.safetensors", "model.safetensors.index.json", ...SHARDS];

export default {
  dictionary: [
    ...SAFETENSORS_WORDS,
    "weight_map",
    "total_size",
    "metadata",
    ...NAMES,
    "../x",
    "/etc/passwd",
    ".",
    "a\0b",
  ],
  maxBytes: 16384,

  *seeds(root) {
    for (const bytes of smallSafetensors(root))
      yield packFiles([
        ["config.json", CONFIG],
        ["model.safetensors", bytes],
      ]);
    const map = Object.fromEntries(TWO_TENSORS.map(({ name }, i) => [name, SHARDS[i]]));
    const index = JSON.stringify({ metadata: { total_size: 56 }, weight_map: map });
    yield packFiles([
      ["config.json", CONFIG],
      ["model.safetensors.index.json", index],
      ...TWO_TENSORS.map((tensor, i) => [SHARDS[i], makeSafetensors([tensor])]),
    ]);
  },

  mutate(bytes, random, context) {
    const mutateFile = (name, file) => {
      const structured = name.endsWith(".json")
        ? random.chance(0.85) && mutateJson(file, random, context.dictionary)
        : mutateSafetensors(file, random, context, mutateJson);
      return structured || mutateBytes(file, random, context);
    };
    return (
      (random.chance(0.97) && mutateBundle(bytes, random, NAMES, mutateFile)) || mutateBytes(bytes, random, context)
    );
  },

  open: openFolderTarget,
};
