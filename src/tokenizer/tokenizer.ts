import { stat } from "node:fs/promises";
import { join } from "node:path";
import { Tokenizer as Library } from "@huggingface/tokenizers";
import { readJsonFile } from "../base/files.js";
import { isRecord, messageOf } from "../base/guards.js";
import { isZo2Error, Zo2Error } from "../base/errors.js";
import { byteLevelTokenizer, SPECIAL_NAMES, tokenText } from "./byte-level.js";
import { CHAT_FILES, readChatTemplate } from "./chat-template.js";
import { textStreams, type TextStream } from "./decoder.js";
import { mended } from "./mended.js";
import type { ChatTemplate, Tokenizer } from "./types.js";

/** The files a tokenizer is read from, those that make it first. */
const FILES = [
  "tokenizer.json",
  "vocab.json",
  "merges.txt",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "added_tokens.json",
  ...CHAT_FILES,
] as const;

/** Special tokens of the families whose older folders may come without any tokenizer config. */
const DEFAULTS: Record<string, Record<string, unknown>> = {
  opt: { add_bos_token: true, bos_token: "</s>", eos_token: "</s>", unk_token: "</s>", pad_token: "<pad>" },
  gpt2: { bos_token: "<|endoftext|>", eos_token: "<|endoftext|>", unk_token: "<|endoftext|>" },
};

/** SentencePiece's own format, which is not read. */
const SENTENCEPIECE = "tokenizer.model";

/**
 * Whether the folder has any of the files that make a tokenizer; without them a model still works with token ids. A
 * folder with `tokenizer.model` alone counts, so that it is refused by name.
 */
export async function hasTokenizer(dir: string): Promise<boolean> {
  const found = await Promise.all(
    ["tokenizer.json", "vocab.json", "merges.txt", SENTENCEPIECE].map((name) => isFile(join(dir, name))),
  );
  return found.includes(true);
}

/**
 * Reads the tokenizer of the model folder `dir`: `tokenizer.json`, or else `vocab.json` with `merges.txt` (byte-level
 * BPE, as GPT-2 and OPT have it). Throws `ZO2_ERR_TOKENIZER` naming the file that is missing or malformed.
 */
export async function loadTokenizer(dir: string): Promise<Tokenizer> {
  const config = await readConfig(dir);
  const path = join(dir, FILES[0]);
  const ready = await readJsonFile(path, "ZO2_ERR_TOKENIZER");
  if (ready !== undefined && !isRecord(ready)) throw new Zo2Error("ZO2_ERR_TOKENIZER", `${path}: not a JSON object`);
  const definition = ready ?? (await byteLevelTokenizer(dir, config));
  if (definition === undefined) {
    const only = join(dir, SENTENCEPIECE);
    if (await isFile(only)) {
      const save = "make one with transformers: AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR)";
      throw new Zo2Error(
        "ZO2_ERR_TOKENIZER",
        `${only}: SentencePiece files are not read; download the model's tokenizer.json, or ${save}`,
      );
    }
    throw new Zo2Error("ZO2_ERR_TOKENIZER", `${dir}: has no tokenizer.json, and no vocab.json with merges.txt`);
  }
  const from = ready === undefined ? join(dir, "vocab.json") : path;
  let library: Library;
  try {
    library = new Library(mended(from, definition), {
      ...config,
      clean_up_tokenization_spaces: cleansUp(definition, config),
    });
  } catch (error) {
    if (error instanceof Zo2Error) throw error;
    throw new Zo2Error("ZO2_ERR_TOKENIZER", `${from}: not a tokenizer that can be used: ${messageOf(error)}`, {
      cause: error,
    });
  }
  const files: string[] = [];
  for (const name of FILES) if (await isFile(join(dir, name))) files.push(join(dir, name));
  return new LibraryTokenizer(
    dir,
    files,
    from,
    library,
    config,
    textStreams(definition["decoder"]),
    await readChatTemplate(dir, config),
  );
}

/**
 * Whether blanks before punctuation are taken away when decoding. Transformers ignores that wish for BPE, whose blanks
 * are the text's.
 */
function cleansUp(definition: Record<string, unknown>, config: Record<string, unknown>): boolean {
  const model = definition["model"];
  return config["clean_up_tokenization_spaces"] === true && !(isRecord(model) && model["type"] === "BPE");
}

class LibraryTokenizer implements Tokenizer {
  readonly vocabSize: number;
  declare readonly bosId?: number;
  declare readonly eosId?: number;
  declare readonly padId?: number;
  declare readonly chatTemplate?: ChatTemplate;
  readonly specialTokens: Readonly<Record<string, string | readonly string[]>>;
  private readonly special: ReadonlySet<string>;

  constructor(
    readonly dir: string,
    readonly files: readonly string[],
    private readonly from: string,
    private readonly library: Library,
    config: Record<string, unknown>,
    private readonly streams: (() => TextStream) | undefined,
    chatTemplate: ChatTemplate | undefined,
  ) {
    if (chatTemplate !== undefined)
      Object.defineProperty(this, "chatTemplate", { value: chatTemplate, enumerable: true });
    this.specialTokens = specialTokens(config);
    const added = [...library.get_added_tokens_decoder().values()].filter((token) => token.special);
    this.special = new Set([...added.map((token) => token.content), ...Object.values(this.specialTokens).flat()]);
    let largest = -1;
    for (const [token, id] of library.get_vocab(true)) {
      // JSON may hold anything where a token should stand; undefined is a gap among the ids.
      if (token !== undefined && typeof token !== "string")
        throw new Zo2Error(
          "ZO2_ERR_TOKENIZER",
          `${from}: the token of id ${id} is ${JSON.stringify(token)}, which is no text`,
        );
      largest = Math.max(largest, id);
    }
    this.vocabSize = largest + 1;
    for (const [field, name] of [
      ["bosId", "bos_token"],
      ["eosId", "eos_token"],
      ["padId", "pad_token"],
    ] as const) {
      const token = tokenText(config[name]);
      const id = token === undefined ? undefined : library.token_to_id(token);
      if (id !== undefined) Object.defineProperty(this, field, { value: id, enumerable: true });
    }
  }

  encode(text: string, options?: { readonly addSpecialTokens?: boolean }): number[] {
    const { ids, tokens } = this.used(() =>
      this.library.encode(text, { add_special_tokens: options?.addSpecialTokens ?? true }),
    );
    for (const [i, id] of ids.entries()) {
      // The library lets a token without an id pass as undefined, and an unknown token's id as it stands in the file.
      if (!Number.isInteger(id) || id < 0 || id >= this.vocabSize)
        throw new Zo2Error(
          "ZO2_ERR_TOKENIZER",
          `${this.from}: has no id for ${JSON.stringify(tokens[i])}, and no unknown token`,
        );
    }
    return ids;
  }

  decode(ids: ArrayLike<number>, options?: { readonly skipSpecialTokens?: boolean }): string {
    const skip = options?.skipSpecialTokens ?? false;
    const stream = this.stream(options);
    if (stream !== undefined) return Array.from(ids, (id, i) => stream.push(id, `ids[${i}]`)).join("") + stream.end();
    const known = Array.from(ids).filter((id, i) => this.token(id, `ids[${i}]`) !== undefined);
    return known.length === 0 ? "" : this.used(() => this.library.decode(known, { skip_special_tokens: skip }));
  }

  /** What a malformed part of the file makes the library throw, as an error of the file. */
  private used<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      if (isZo2Error(error)) throw error;
      throw new Zo2Error("ZO2_ERR_TOKENIZER", `${this.from}: not a tokenizer that can be used: ${messageOf(error)}`, {
        cause: error,
      });
    }
  }

  stream(options?: {
    readonly skipSpecialTokens?: boolean;
  }): { push(id: number, place?: string): string; end(): string } | undefined {
    const text = this.streams?.();
    if (text === undefined) return undefined;
    const skip = options?.skipSpecialTokens ?? false;
    return {
      push: (id, place = "the id") => {
        const token = this.token(id, place);
        return token === undefined || (skip && this.special.has(token)) ? "" : text.push(token);
      },
      end: () => text.end(),
    };
  }

  /** The token of an id; a vocabulary may have gaps, and nothing stands for their ids. */
  private token(id: number, place: string): string | undefined {
    if (!Number.isInteger(id) || id < 0 || id >= this.vocabSize) {
      throw new Zo2Error(
        "ZO2_ERR_INVALID_ARGUMENT",
        `${place} is ${id}; this tokenizer has ids 0 to ${this.vocabSize - 1}`,
      );
    }
    return this.library.id_to_token(id);
  }
}

function specialTokens(config: Record<string, unknown>): Record<string, string | readonly string[]> {
  const named: Record<string, string | readonly string[]> = {};
  for (const name of SPECIAL_NAMES) {
    const text = tokenText(config[name]);
    if (text !== undefined && text !== "") named[name] = text;
  }
  const more = config["additional_special_tokens"];
  const texts = (Array.isArray(more) ? more : []).flatMap((token) => tokenText(token) || []);
  if (texts.length > 0) named["additional_special_tokens"] = texts;
  return named;
}

async function isFile(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isFile() ?? false;
}

/**
 * `tokenizer_config.json` over `special_tokens_map.json`. A folder with neither still says in `config.json` what it is.
 */
async function readConfig(dir: string): Promise<Record<string, unknown>> {
  const map = await readRecord(join(dir, "special_tokens_map.json"));
  const own = await readRecord(join(dir, "tokenizer_config.json"));
  if (map !== undefined || own !== undefined) return { ...map, ...own };
  const model = await readJsonFile(join(dir, "config.json"), "ZO2_ERR_TOKENIZER");
  const type = isRecord(model) ? model["model_type"] : undefined;
  return typeof type === "string" && Object.hasOwn(DEFAULTS, type) ? { ...DEFAULTS[type] } : {};
}

async function readRecord(path: string): Promise<Record<string, unknown> | undefined> {
  const value = await readJsonFile(path, "ZO2_ERR_TOKENIZER");
  if (value === undefined) return undefined;
  if (!isRecord(value)) throw new Zo2Error("ZO2_ERR_TOKENIZER", `${path}: not a JSON object`);
  // A null, as in "bos_token": null, says no more than a missing field.
  return Object.fromEntries(Object.entries(value).filter(([, field]) => field !== null));
}
