import { existsSync, readdirSync } from "node:fs";
import { copyFile, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openCheckpoint, type Checkpoint, type TensorEntry } from "../../../src/checkpoint/index.js";
import { cleanUp, failure, modelFolder } from "./support.js";

const FIXTURES = join(__dirname, "../../fixtures");
const BINS = join(FIXTURES, "bins");
const MODELS = join(FIXTURES, "models");
const good = readdirSync(BINS).filter((name) => name.endsWith(".bin"));
const bad = readdirSync(join(BINS, "bad"));

/** What a file that ran its code would have made, wherever it ran. */
const marks = () =>
  [process.cwd(), tmpdir(), BINS, join(BINS, "bad"), FIXTURES].filter((dir) => existsSync(join(dir, "zo2-was-here")));

async function folderOf(file: string, name: string): Promise<string> {
  const dir = await modelFolder({});
  await copyFile(file, join(dir, name));
  return dir;
}

async function read(checkpoint: Checkpoint, entry: TensorEntry, piece = 7): Promise<Buffer> {
  const into = Buffer.alloc(entry.bytes, 0xa5);
  for (let at = 0; at < entry.bytes; at += piece) await checkpoint.read(entry, at, into.subarray(at, at + piece));
  return into;
}

afterAll(cleanUp);
afterEach(() => expect(marks()).toEqual([]));

describe("a .bin file that torch.save wrote", () => {
  test("is among the fixtures in every form that is expected of it", () => {
    expect(good.map((name) => name.slice(0, -4))).toEqual([
      "attributes",
      "attributes4",
      "dtypes",
      "legacy",
      "nested",
      "parameters",
      "protocol4",
      "state_dict",
      "tied",
      "views",
    ]);
  });

  test.each(good)("%s has the names, dtypes, shapes and bytes that torch saw", async (name) => {
    await using ours = await openCheckpoint(await folderOf(join(BINS, name), "pytorch_model.bin"));
    await using theirs = await openCheckpoint(
      await folderOf(join(BINS, name.replace(".bin", ".expected.safetensors")), "model.safetensors"),
    );
    const outline = (checkpoint: Checkpoint) =>
      [...checkpoint.tensors]
        .map(([key, { dtype, shape }]) => ({ key, dtype, shape }))
        .sort((a, b) => (a.key < b.key ? -1 : 1));
    expect(outline(ours)).toEqual(outline(theirs));
    for (const [key, entry] of theirs.tensors) {
      const expected = await read(theirs, entry);
      for (const piece of [1, 7, 4096])
        expect((await read(ours, ours.tensors.get(key)!, piece)).equals(expected)).toBe(true);
    }
  });

  test("has strided entries for views, and equal places for tied tensors", async () => {
    await using views = await openCheckpoint(await folderOf(join(BINS, "views.bin"), "pytorch_model.bin"));
    const strides = Object.fromEntries([...views.tensors].map(([name, entry]) => [name, entry.strides]));
    expect(strides).toEqual({
      whole: undefined,
      rows: undefined,
      transposed: [1, 16],
      strided: [32, 3],
      scalar: undefined,
      empty: undefined,
    });
    await using tied = await openCheckpoint(await folderOf(join(BINS, "tied.bin"), "pytorch_model.bin"));
    const [a, b] = [...tied.tensors.values()];
    expect({ ...a, name: "" }).toEqual({ ...b, name: "" });
  });
});

describe("a .bin file that is damaged, or does more than hold tensors,", () => {
  const expected: Record<string, string[]> = {
    "os-system.bin": ['"posix.system"', "nothing was run"],
    "eval.bin": ['"__builtin__.eval"', "nothing was run"],
    "whole-module.bin": ['"torch.nn.modules.linear.Linear"'],
    "plain-pickle.bin": ["torch.save did not write"],
    "cut-pickle.bin": ["data.pkl", "it breaks off"],
    "empty.bin": ["its 0 bytes do not begin"],
    "html.bin": ["its 29 bytes do not begin"],
    "huge-shape.bin": ['tensor "whole"', "2147483647, 2147483647"],
    "missing-storage.bin": ['tensor "whole"', "views/data/0 is missing"],
    "no-pickle.bin": ["no data.pkl"],
    "short-storage.bin": ['tensor "whole"', "384 elements", "100 bytes"],
    "truncated.bin": ["do not end with a zip directory"],
  };

  test("is refused for a reason that is written down here", () => {
    expect(bad.sort()).toEqual(Object.keys(expected).sort());
  });

  test.each(bad)("%s is refused by name", async (name) => {
    const dir = await folderOf(join(BINS, "bad", name), "pytorch_model.bin");
    await expect(openCheckpoint(dir)).rejects.toThrow(
      failure("ZO2_ERR_CHECKPOINT", join(dir, "pytorch_model.bin"), ...(expected[name] ?? [])),
    );
  });

  test("is refused wherever a byte of its pickle is changed, by the checksum", async () => {
    const bytes = await readFile(join(BINS, "views.bin"));
    const at = bytes.indexOf("strided");
    for (const offset of [at - 20, at, at + 30]) {
      const changed = Buffer.from(bytes);
      changed[offset]! ^= 1;
      const dir = await modelFolder({ "pytorch_model.bin": changed });
      await expect(openCheckpoint(dir)).rejects.toThrow(failure("ZO2_ERR_CHECKPOINT", "data.pkl", "CRC-32"));
    }
  });

  test.each(["views.bin", "legacy.bin", "protocol4.bin"])(
    "is refused or opened, never anything else, wherever %s is cut",
    async (name) => {
      const bytes = await readFile(join(BINS, name));
      const dir = await modelFolder({});
      for (let length = 0; length < bytes.length; length += 13) {
        await writeFile(join(dir, "pytorch_model.bin"), bytes.subarray(0, length));
        await expect(openCheckpoint(dir)).rejects.toThrow(failure("ZO2_ERR_CHECKPOINT"));
      }
    },
  );
});

describe("a model folder with pickled weights", () => {
  interface OptConfig {
    hidden_size: number;
    ffn_dim: number;
    num_hidden_layers: number;
    vocab_size: number;
    word_embed_proj_dim: number;
    do_layer_norm_before: boolean;
    max_position_embeddings: number;
  }

  /** The tensors of an OPT decoder, from its config alone. */
  function shapes(config: OptConfig, prefix: string): Record<string, number[]> {
    const { hidden_size: d, ffn_dim: f, word_embed_proj_dim: e } = config;
    const all: Record<string, number[]> = {
      "embed_tokens.weight": [config.vocab_size, e],
      "embed_positions.weight": [config.max_position_embeddings + 2, d],
    };
    const linear = (name: string, out: number, inn: number) =>
      Object.assign(all, { [`${name}.weight`]: [out, inn], [`${name}.bias`]: [out] });
    const norm = (name: string) => Object.assign(all, { [`${name}.weight`]: [d], [`${name}.bias`]: [d] });
    if (e !== d) Object.assign(all, { "project_in.weight": [d, e], "project_out.weight": [e, d] });
    if (config.do_layer_norm_before) norm("final_layer_norm");
    for (let i = 0; i < config.num_hidden_layers; i++) {
      for (const name of ["q", "k", "v", "out"]) linear(`layers.${i}.self_attn.${name}_proj`, d, d);
      linear(`layers.${i}.fc1`, f, d);
      linear(`layers.${i}.fc2`, d, f);
      norm(`layers.${i}.self_attn_layer_norm`);
      norm(`layers.${i}.final_layer_norm`);
    }
    return Object.fromEntries(Object.entries(all).map(([name, shape]) => [prefix + name, shape]));
  }

  const models = [
    ["opt-350m-style-bin", "decoder.", "F16"],
    ["opt-bin-sharded-bf16", "model.decoder.", "BF16"],
  ] as const;
  test.each(models)("%s lists the tensors that its config implies", async (name, prefix, dtype) => {
    const dir = join(MODELS, name);
    await using checkpoint = await openCheckpoint(dir);
    const entries = [...checkpoint.tensors].filter(([key]) => key !== "lm_head.weight");
    const listed = Object.fromEntries(entries.map(([key, entry]) => [key, entry.shape]));
    expect(listed).toEqual(shapes(checkpoint.config as OptConfig, prefix));
    for (const entry of checkpoint.tensors.values()) {
      expect(entry.dtype).toBe(dtype);
      expect((await read(checkpoint, entry, 1 << 20)).some((byte) => byte !== 0)).toBe(true);
    }
  });

  test("has its tensors in the shards that the index names", async () => {
    const dir = join(MODELS, "opt-bin-sharded-bf16");
    await using checkpoint = await openCheckpoint(dir);
    const { weight_map } = JSON.parse(await readFile(join(dir, "pytorch_model.bin.index.json"), "utf8")) as {
      weight_map: Record<string, string>;
    };
    expect(Object.fromEntries([...checkpoint.tensors].map(([name, entry]) => [name, entry.file]))).toEqual(
      Object.fromEntries(Object.entries(weight_map).map(([name, file]) => [name, join(dir, file)])),
    );
  });

  test("is read from its safetensors where it has both", async () => {
    const dir = await folderOf(join(MODELS, "opt/model.safetensors"), "model.safetensors");
    await writeFile(join(dir, "pytorch_model.bin"), "not even a pickle");
    await using checkpoint = await openCheckpoint(dir);
    expect([...checkpoint.tensors.values()].every((entry) => entry.file.endsWith("model.safetensors"))).toBe(true);
  });

  test("whose index leaves the folder or names a missing shard is refused", async () => {
    const index = (shard: string) => ({ "pytorch_model.bin.index.json": JSON.stringify({ weight_map: { a: shard } }) });
    const outside = openCheckpoint(await modelFolder(index("../x.bin")));
    await expect(outside).rejects.toThrow(failure("ZO2_ERR_CHECKPOINT", '"../x.bin" is not the name of a file'));
    const missing = openCheckpoint(await modelFolder(index("x.bin")));
    await expect(missing).rejects.toThrow(failure("ZO2_ERR_CHECKPOINT", "x.bin, which is missing"));
    const dir = await modelFolder(index("x.bin"));
    await copyFile(join(BINS, "tied.bin"), join(dir, "x.bin"));
    await expect(openCheckpoint(dir)).rejects.toThrow(failure("ZO2_ERR_CHECKPOINT", 'tensor "a" is not in x.bin'));
  });
});
