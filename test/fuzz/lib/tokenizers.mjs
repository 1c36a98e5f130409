/** Small tokenizers of every kind that model folders have, to start from. */

export const TEXTS = ["Hello world, it's 2024.", " \t\n<s>héllo</s>😀 aaaaaaaaaaaaaaaaaaaaaaaa!"];

export const TOKENIZER_FILES = [
  "tokenizer.json",
  "vocab.json",
  "merges.txt",
  "tokenizer.model",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "added_tokens.json",
  "config.json",
];

export const TOKENIZER_WORDS = [
  "model",
  "type",
  "BPE",
  "WordPiece",
  "Unigram",
  "WordLevel",
  "vocab",
  "merges",
  "unk_token",
  "unk_id",
  "byte_fallback",
  "ignore_merges",
  "dropout",
  "fuse_unk",
  "continuing_subword_prefix",
  "end_of_word_suffix",
  "added_tokens",
  "id",
  "content",
  "special",
  "lstrip",
  "rstrip",
  "single_word",
  "normalized",
  "normalizer",
  "pre_tokenizer",
  "post_processor",
  "decoder",
  "Sequence",
  "normalizers",
  "pretokenizers",
  "processors",
  "decoders",
  "ByteLevel",
  "Metaspace",
  "Split",
  "pattern",
  "Regex",
  "String",
  "behavior",
  "Isolated",
  "Removed",
  "MergedWithPrevious",
  "invert",
  "Replace",
  "Prepend",
  "Strip",
  "NFC",
  "NFKC",
  "NFD",
  "Lowercase",
  "StripAccents",
  "BertNormalizer",
  "BertPreTokenizer",
  "Whitespace",
  "WhitespaceSplit",
  "Punctuation",
  "Digits",
  "individual_digits",
  "TemplateProcessing",
  "RobertaProcessing",
  "BertProcessing",
  "single",
  "pair",
  "special_tokens",
  "SpecialToken",
  "ids",
  "tokens",
  "ByteFallback",
  "Fuse",
  "WordPiece",
  "add_prefix_space",
  "use_regex",
  "trim_offsets",
  "prepend_scheme",
  "replacement",
  "Precompiled",
  "precompiled_charsmap",
  "cls",
  "sep",
  "add_bos_token",
  "bos_token",
  "eos_token",
  "pad_token",
  "added_tokens_decoder",
  "additional_special_tokens",
  "tokenizer_class",
  "GPT2Tokenizer",
  "Qwen2TokenizerFast",
  "LlamaTokenizer",
  "qwen2",
  "llama",
  "extra_special_tokens",
  "split_special_tokens",
  "add_eos_token",
  "legacy",
  "chat_template",
  "model_type",
  "<s>",
  "</s>",
  "<unk>",
  "<0x41>",
  "Ġ",
  "▁",
  "(a+)+$",
  "\\p{L}+",
  "[^\\s",
  "(?i:'s)|\\s+",
  "#version: 0.2\n",
  " ",
  "a b\n",
  "##",
];

/** GPT-2's alphabet of bytes. */
function byteAlphabet() {
  const printable = (byte) =>
    (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || (byte >= 174 && byte <= 255);
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => String.fromCodePoint(printable(byte) ? byte : next++));
}

const MERGES = ["h e", "l l", "he ll", "hell o", "Ġ w", "o r", "Ġw or", "a a", "aa aa", "i t"];

function byteVocabulary() {
  const tokens = ["<s>", "<pad>", "</s>", "<unk>", ...byteAlphabet(), ...MERGES.map((merge) => merge.replace(" ", ""))];
  return Object.fromEntries([...new Set(tokens)].map((token, id) => [token, id]));
}

const token = (id, content) => ({
  id,
  content,
  single_word: false,
  lstrip: false,
  rstrip: false,
  normalized: false,
  special: true,
});

const byteLevel = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true };

function llama3() {
  const split = {
    type: "Split",
    pattern: { Regex: "(?i:'s|'t|'re)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}|\\s+(?!\\S)|\\s+" },
    behavior: "Isolated",
    invert: false,
  };
  const lead = { SpecialToken: { id: "<s>", type_id: 0 } };
  return {
    version: "1.0",
    added_tokens: [token(0, "<s>"), token(2, "</s>")],
    normalizer: null,
    pre_tokenizer: { type: "Sequence", pretokenizers: [split, { ...byteLevel, use_regex: false }] },
    post_processor: {
      type: "Sequence",
      processors: [
        byteLevel,
        {
          type: "TemplateProcessing",
          single: [lead, { Sequence: { id: "A", type_id: 0 } }],
          pair: [],
          special_tokens: { "<s>": { id: "<s>", ids: [0], tokens: ["<s>"] } },
        },
      ],
    },
    decoder: byteLevel,
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      byte_fallback: false,
      ignore_merges: true,
      vocab: byteVocabulary(),
      merges: MERGES,
    },
  };
}

function llama2() {
  const words = [
    "<unk>",
    "<s>",
    "</s>",
    ...Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`),
    "▁",
    "h",
    "e",
    "l",
    "o",
    "▁h",
    "ll",
  ];
  return {
    version: "1.0",
    added_tokens: [token(0, "<unk>"), token(1, "<s>"), token(2, "</s>")],
    normalizer: {
      type: "Sequence",
      normalizers: [
        { type: "Prepend", prepend: "▁" },
        { type: "Replace", pattern: { String: " " }, content: "▁" },
      ],
    },
    pre_tokenizer: null,
    post_processor: null,
    decoder: {
      type: "Sequence",
      decoders: [
        { type: "Replace", pattern: { String: "▁" }, content: " " },
        { type: "ByteFallback" },
        { type: "Fuse" },
        { type: "Strip", content: " ", start: 1, stop: 0 },
      ],
    },
    model: {
      type: "BPE",
      unk_token: "<unk>",
      fuse_unk: true,
      byte_fallback: true,
      ignore_merges: false,
      vocab: Object.fromEntries(words.map((word, id) => [word, id])),
      merges: [
        ["▁", "h"],
        ["l", "l"],
      ],
    },
  };
}

function bert() {
  const words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "hello", "world", "##s", "it", "'", ",", ".", "a", "##a"];
  return {
    version: "1.0",
    added_tokens: [token(0, "[PAD]"), token(1, "[UNK]")],
    normalizer: {
      type: "BertNormalizer",
      clean_text: true,
      handle_chinese_chars: true,
      strip_accents: null,
      lowercase: true,
    },
    pre_tokenizer: { type: "BertPreTokenizer" },
    post_processor: { type: "BertProcessing", sep: ["[SEP]", 3], cls: ["[CLS]", 2] },
    decoder: { type: "WordPiece", prefix: "##", cleanup: true },
    model: {
      type: "WordPiece",
      unk_token: "[UNK]",
      continuing_subword_prefix: "##",
      max_input_chars_per_word: 100,
      vocab: Object.fromEntries(words.map((word, id) => [word, id])),
    },
  };
}

function unigram() {
  const words = ["<unk>", "<s>", "</s>", "▁", "a", "h", "e", "l", "o", "▁hello", "ll", "▁world"];
  return {
    version: "1.0",
    added_tokens: [token(0, "<unk>")],
    normalizer: { type: "NFKC" },
    pre_tokenizer: { type: "Metaspace", replacement: "▁", prepend_scheme: "always", split: true },
    post_processor: null,
    decoder: { type: "Metaspace", replacement: "▁", prepend_scheme: "always", split: true },
    model: { type: "Unigram", unk_id: 0, byte_fallback: false, vocab: words.map((word, i) => [word, -i / 2]) },
  };
}

/** A SentencePiece model of Llama's kind: pieces, and that the trainer made BPE with byte fallback. */
function sentencePiece() {
  const field = (number, bytes) => Buffer.concat([Buffer.from([number * 8 + 2, bytes.length]), bytes]);
  const piece = (text, type) =>
    field(1, Buffer.concat([field(1, Buffer.from(text)), Buffer.from(type === 1 ? [] : [0x18, type])]));
  const bytes = Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`);
  const pieces = [
    piece("<unk>", 2),
    ...["<s>", "</s>"].map((text) => piece(text, 3)),
    piece("<usr>", 4),
    ...bytes.map((text) => piece(text, 6)),
    ...["he", "ll", "\u2581w", "\u2581", "h", "e", "l", "w"].map((text) => piece(text, 1)),
  ];
  return Buffer.concat([...pieces, field(2, Buffer.from([0x18, 2]))]);
}

/** @returns {Generator<Record<string, string | Buffer>>} files by name */
export function* tokenizerSeeds() {
  const text = { "text.txt": "hello  world's é 12345" };
  const config = JSON.stringify({
    tokenizer_class: "PreTrainedTokenizerFast",
    bos_token: "<s>",
    eos_token: { content: "</s>", lstrip: false },
    pad_token: null,
    clean_up_tokenization_spaces: false,
  });
  for (const make of [llama3, llama2, bert, unigram]) {
    yield { "tokenizer.json": JSON.stringify(make()), "tokenizer_config.json": config, ...text };
  }
  const pair = {
    "vocab.json": JSON.stringify(byteVocabulary()),
    "merges.txt": `#version: 0.2\n${MERGES.join("\n")}\n`,
  };
  yield {
    ...pair,
    "tokenizer_config.json": JSON.stringify({
      add_bos_token: true,
      bos_token: "</s>",
      unk_token: "</s>",
      pad_token: "<pad>",
    }),
    ...text,
  };
  const extra = {
    "special_tokens_map.json": '{"eos_token":"<end>"}',
    "added_tokens.json": '{"<end>":300}',
    "config.json": '{"model_type":"gpt2"}',
  };
  yield {
    ...pair,
    ...extra,
    "tokenizer_config.json": '{"added_tokens_decoder":{"301":{"content":"<x>","special":true}}}',
    ...text,
  };
  yield { ...pair, "config.json": '{"model_type":"opt"}', ...text };
  const flags = { lstrip: true, rstrip: true, single_word: true, normalized: true };
  yield {
    ...pair,
    "tokenizer_config.json": JSON.stringify({
      tokenizer_class: "Qwen2TokenizerFast",
      added_tokens_decoder: { 290: { content: "llo", ...flags }, 291: { content: " ", lstrip: true, special: true } },
      extra_special_tokens: ["<x>", { content: "<y>", ...flags }],
      split_special_tokens: false,
      add_prefix_space: true,
    }),
    ...text,
  };
  yield {
    "tokenizer.model": sentencePiece(),
    "tokenizer_config.json": '{"tokenizer_class":"LlamaTokenizer","legacy":true,"add_eos_token":true}',
    ...text,
  };
}
