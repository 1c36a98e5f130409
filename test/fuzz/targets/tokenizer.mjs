/** The files of a tokenizer: `loadTokenizer` of src/tokenizer, then a text there and back. */
import path from "node:path";
import { mutateBundle, packFiles, unpackFiles, writeFolder } from "../lib/bundle.mjs";
import { mutateBytes } from "../lib/bytes.mjs";
import { mutateJson } from "../lib/json.mjs";
import { attempt, demand } from "../lib/oracle.mjs";
import { TEXTS, TOKENIZER_FILES, TOKENIZER_WORDS, tokenizerSeeds } from "../lib/tokenizers.mjs";

const NAMES = [
  "tokenizer.json",
  "vocab.json",
  "merges.txt",
  "tokenizer.model",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "added_tokens.json",
  "config.json",
  "text.txt",
];
const MOST_TEXT = 512;

export default {
  dictionary: TOKENIZER_WORDS,
  maxBytes: 24576,

  *seeds() {
    for (const files of tokenizerSeeds()) yield packFiles(Object.entries(files));
  },

  mutate(bytes, random, context) {
    const mutateFile = (name, file) => {
      const structured = name.endsWith(".json") && random.chance(0.85) && mutateJson(file, random, context.dictionary);
      return structured || mutateBytes(file, random, context);
    };
    return (
      (random.chance(0.97) && mutateBundle(bytes, random, NAMES, mutateFile)) || mutateBytes(bytes, random, context)
    );
  },

  async open({ dist, folder }) {
    const { loadTokenizer } = await import(path.join(dist, "tokenizer", "index.js"));
    const { isZo2Error } = await import(path.join(dist, "base", "errors.js"));
    const tried = (input, work) => attempt(isZo2Error, ["ZO2_ERR_TOKENIZER"], input.length, work);
    return async (input) => {
      const files = unpackFiles(input);
      const text = (files.get("text.txt") ?? Buffer.alloc(0)).toString("utf8").slice(0, MOST_TEXT);
      files.delete("text.txt");
      writeFolder(folder, new Map([...files].filter(([name]) => TOKENIZER_FILES.includes(name))));
      const loaded = await tried(input, () => loadTokenizer(folder));
      const tokenizer = loaded.value;
      if (tokenizer === undefined) return;
      demand(
        Number.isSafeInteger(tokenizer.vocabSize) && tokenizer.vocabSize >= 0,
        () => `vocabSize is ${tokenizer.vocabSize}`,
      );
      for (const one of [text, ...TEXTS]) {
        const encoded = await tried(input, () => tokenizer.encode(one));
        if (encoded.value === undefined) continue;
        const ids = encoded.value;
        const outside = ids.find((id) => !Number.isInteger(id) || id < 0 || id >= tokenizer.vocabSize);
        demand(
          outside === undefined,
          () => `id ${outside} for ${JSON.stringify(one)}; vocabSize is ${tokenizer.vocabSize}`,
        );
        const again = await tried(input, () => tokenizer.encode(one));
        demand(
          JSON.stringify(again.value) === JSON.stringify(ids),
          () => `other ids the second time for ${JSON.stringify(one)}`,
        );
        for (const skipSpecialTokens of [false, true]) {
          const decoded = await tried(input, () => tokenizer.decode(ids, { skipSpecialTokens }));
          demand(
            decoded.value === undefined || typeof decoded.value === "string",
            () => `decoded into ${typeof decoded.value}`,
          );
        }
      }
    };
  },
};
