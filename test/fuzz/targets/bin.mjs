/** A folder with PyTorch's zip files of pickles, in one file or in shards with an index: `openCheckpoint`. */
import { readFileSync, readdirSync } from "node:fs";
import path from "node:path";
import { mutateBundle, packFiles } from "../lib/bundle.mjs";
import { mutateBytes } from "../lib/bytes.mjs";
import { openFolderTarget } from "../lib/folder.mjs";
import { mutateJson } from "../lib/json.mjs";
import { writeZip, mutateZip, zipEntries } from "../lib/zip.mjs";

const CONFIG = '{"model_type":"opt"}';
const SHARDS = ["pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"];
const NAMES = ["config.json", "pytorch_model.bin", "pytorch_model.bin.index.json", ...SHARDS];
const SMALL = 8192;

function smallBins(root) {
  const found = [];
  for (const folder of ["bins", path.join("bins", "bad")]) {
    const absolute = path.join(root, "test", "fixtures", folder);
    for (const name of readdirSync(absolute)
      .filter((file) => file.endsWith(".bin"))
      .sort()) {
      const bytes = readFileSync(path.join(absolute, name));
      if (bytes.length <= SMALL) found.push({ name, bytes });
    }
  }
  return found;
}

export default {
  dictionary: [
    "collections",
    "OrderedDict",
    "torch._utils",
    "_rebuild_tensor_v2",
    "_rebuild_tensor",
    "_rebuild_parameter",
    "torch._tensor",
    "_rebuild_from_type_v2",
    "torch.nn.parameter",
    "Parameter",
    "Tensor",
    "device",
    "set",
    "frozenset",
    "torch",
    "FloatStorage",
    "HalfStorage",
    "BFloat16Storage",
    "LongStorage",
    "UntypedStorage",
    "storage",
    "cpu",
    "cuda:0",
    "0",
    "1",
    "2",
    "archive/data.pkl",
    "archive/data/0",
    "archive/version",
    "archive/byteorder",
    "little",
    "big",
    "os",
    "system",
    "builtins",
    "eval",
    "copyreg",
    "_reconstructor",
    "posix",
    "__builtin__",
    "getattr",
    "torch.storage",
    "_load_from_bytes",
    "weight_map",
    ...NAMES,
    Buffer.from([0x80, 2]),
    Buffer.from([0x50, 0x4b, 1, 2]),
    Buffer.from([0x50, 0x4b, 6, 6]),
    Buffer.from([0x50, 0x4b, 6, 7]),
    Buffer.from([1, 0, 16, 0]),
  ],
  maxBytes: 32768,

  *seeds(root) {
    const bins = smallBins(root);
    for (const { bytes } of bins)
      yield packFiles([
        ["config.json", CONFIG],
        ["pytorch_model.bin", bytes],
      ]);
    const good = bins.filter(({ bytes }) => zipEntries(bytes).length > 0);
    for (const { bytes } of good.slice(0, 2)) {
      yield packFiles([
        ["config.json", CONFIG],
        ["pytorch_model.bin", writeZip(zipEntries(bytes), { wide: true })],
      ]);
    }
    const index = JSON.stringify({
      metadata: { total_size: 8 },
      weight_map: { "a.weight": SHARDS[0], "b.weight": SHARDS[1] },
    });
    const shards = SHARDS.flatMap((name, i) => (good[i] === undefined ? [] : [[name, good[i].bytes]]));
    yield packFiles([["config.json", CONFIG], ["pytorch_model.bin.index.json", index], ...shards]);
  },

  mutate(bytes, random, context) {
    const mutateFile = (name, file) => {
      if (!name.endsWith(".json")) return mutateZip(file, random, context);
      return (
        (random.chance(0.85) &&
          mutateJson(
            file,
            random,
            context.dictionary.filter((word) => typeof word === "string"),
          )) ||
        mutateBytes(file, random, context)
      );
    };
    return (
      (random.chance(0.97) && mutateBundle(bytes, random, NAMES, mutateFile)) || mutateBytes(bytes, random, context)
    );
  },

  open: openFolderTarget,
};
