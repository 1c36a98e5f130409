/** `clean_up_tokenization_spaces`, which transformers ignores for BPE: there the blanks are the text's. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { loadTokenizer } from "../../../src/tokenizer/tokenizer.js";
import { cleanUp, temporaryFolder } from "../checkpoint/support.js";

afterAll(cleanUp);

const WORDS = ["so", ",", "good", ".", "do", "n't"];
const MODELS = {
  BPE: {
    model: { type: "BPE", vocab: Object.fromEntries(WORDS.map((word, i) => [`${word}</w>`, i])), merges: [] },
    // It takes the mark of a word's end away, which needs all tokens: the text does not stream.
    decoder: { type: "BPEDecoder", suffix: "</w>" },
  },
  WordPiece: {
    model: {
      ...{ type: "WordPiece", unk_token: "so", continuing_subword_prefix: "##", max_input_chars_per_word: 100 },
      vocab: Object.fromEntries(WORDS.map((word, i) => [word, i])),
    },
    decoder: { type: "WordPiece", prefix: "##", cleanup: false },
  },
};

async function decoded(name: keyof typeof MODELS, clean: boolean | undefined): Promise<string> {
  const dir = await temporaryFolder();
  const rest = { version: "1.0", added_tokens: [], normalizer: null, pre_tokenizer: null, post_processor: null };
  await writeFile(join(dir, "tokenizer.json"), JSON.stringify({ ...rest, ...MODELS[name] }));
  await writeFile(join(dir, "tokenizer_config.json"), JSON.stringify({ clean_up_tokenization_spaces: clean }));
  return (await loadTokenizer(dir)).decode([0, 1, 2, 3, 4, 5]);
}

it.each<[keyof typeof MODELS, boolean | undefined, string]>([
  ["BPE", true, "so , good . do n't"],
  ["BPE", false, "so , good . do n't"],
  ["WordPiece", true, "so, good. don't"],
  ["WordPiece", false, "so , good . do n't"],
])("%s with %p", async (name, clean, text) => {
  expect(await decoded(name, clean)).toBe(text);
});
