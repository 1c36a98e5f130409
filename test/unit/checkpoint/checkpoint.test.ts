import { open, readFile, symlink, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import {
  type Checkpoint,
  openCheckpoint,
  requireTensor,
  resolveTensor,
  storedNames,
  unusedTensors,
} from "../../../src/checkpoint/index.js";
import { cleanUp, failure, fileBytes, modelFolder, temporaryFolder } from "./support.js";

const MODELS = join(__dirname, "../../fixtures/models");
const u8 = (bytes: number, begin = 0) => ({ dtype: "U8", shape: [bytes], data_offsets: [begin, begin + bytes] });
const index = (weight_map: unknown) => JSON.stringify({ metadata: {}, weight_map });

afterAll(cleanUp);

describe("a checkpoint", () => {
  test("of one file gives every tensor's bytes, in pieces of any size", async () => {
    const dir = join(MODELS, "opt");
    await using checkpoint = await openCheckpoint(dir);
    const whole = await readFile(join(dir, "model.safetensors"));
    const length = Number(whole.readBigUInt64LE());
    const header = JSON.parse(whole.subarray(8, 8 + length).toString()) as Record<
      string,
      { data_offsets: [number, number]; dtype: string }
    >;
    delete header["__metadata__"];
    expect([...checkpoint.tensors.keys()].sort()).toEqual(Object.keys(header).sort());
    for (const [
      name,
      {
        data_offsets: [begin, end],
      },
    ] of Object.entries(header)) {
      const entry = checkpoint.tensors.get(name)!;
      const into = new Uint8Array(entry.bytes);
      const piece = 1000;
      const reads = [];
      for (let at = 0; at < entry.bytes; at += piece)
        reads.push(checkpoint.read(entry, at, into.subarray(at, at + piece)));
      await Promise.all(reads);
      expect(Buffer.compare(into, whole.subarray(8 + length + begin, 8 + length + end))).toBe(0);
    }
    expect(checkpoint.config).toMatchObject({ model_type: "opt" });
  });

  test("in shards gives each tensor from the file that the index names", async () => {
    const dir = join(MODELS, "opt-sharded-fp16");
    await using checkpoint = await openCheckpoint(dir);
    const { weight_map } = JSON.parse(await readFile(join(dir, "model.safetensors.index.json"), "utf8")) as {
      weight_map: Record<string, string>;
    };
    expect(Object.fromEntries([...checkpoint.tensors].map(([name, entry]) => [name, entry.file]))).toEqual(
      Object.fromEntries(Object.entries(weight_map).map(([name, file]) => [name, join(dir, file)])),
    );
    expect(new Set([...checkpoint.tensors.values()].map((entry) => entry.dtype))).toEqual(new Set(["F16"]));
    for (const entry of checkpoint.tensors.values()) {
      const into = new Uint8Array(entry.bytes);
      await checkpoint.read(entry, 0, into);
    }
  });

  test("reads beyond 4 GiB without reading what lies before", async () => {
    const bytes = 2 ** 32 + 10;
    const dir = await modelFolder({ "model.safetensors": fileBytes({ a: u8(bytes) }, 0) });
    const path = join(dir, "model.safetensors");
    const header = (await readFile(path)).byteLength;
    await truncate(path, header + bytes);
    const file = await open(path, "r+");
    await file.write(Buffer.from("the end!"), 0, 8, header + bytes - 8);
    await file.close();
    await using checkpoint = await openCheckpoint(dir);
    const into = new Uint8Array(8);
    await checkpoint.read(checkpoint.tensors.get("a")!, bytes - 8, into);
    expect(Buffer.from(into).toString()).toBe("the end!");
  });

  test("may be made of symbolic links, as the Hub's cache is", async () => {
    const dir = await temporaryFolder();
    for (const name of ["config.json", "model.safetensors"]) await symlink(join(MODELS, "opt", name), join(dir, name));
    await using checkpoint = await openCheckpoint(dir);
    expect(checkpoint.tensors.size).toBeGreaterThan(10);
  });

  test("refuses ranges outside the tensor, and entries of another checkpoint", async () => {
    const dir = await modelFolder({ "model.safetensors": fileBytes({ a: u8(4), b: u8(4, 4) }, 8) });
    await using checkpoint = await openCheckpoint(dir);
    const a = checkpoint.tensors.get("a")!;
    for (const [offset, length] of [
      [1, 4],
      [-1, 2],
      [5, 0],
      [0.5, 1],
      [Number.NaN, 1],
    ] as const) {
      await expect(checkpoint.read(a, offset, new Uint8Array(length))).rejects.toThrow(
        failure("ZO2_ERR_INVALID_ARGUMENT", 'tensor "a"'),
      );
    }
    await expect(checkpoint.read({ ...a }, 0, new Uint8Array(1))).rejects.toThrow(
      failure("ZO2_ERR_INVALID_ARGUMENT", "not an entry"),
    );
    await checkpoint.read(a, 4, new Uint8Array(0));
  });

  test("says that a file became shorter after it was opened", async () => {
    const dir = await modelFolder({ "model.safetensors": fileBytes({ a: u8(100) }, 100) });
    await using checkpoint = await openCheckpoint(dir);
    const entry = checkpoint.tensors.get("a")!;
    await truncate(join(dir, "model.safetensors"), entry.offset + 60);
    await expect(checkpoint.read(entry, 50, new Uint8Array(50))).rejects.toThrow(
      failure("ZO2_ERR_CHECKPOINT", "40 bytes early"),
    );
  });

  test("cannot be read after it was closed, and closes twice without harm", async () => {
    const dir = await modelFolder({ "model.safetensors": fileBytes({ a: u8(4) }, 4) });
    const checkpoint = await openCheckpoint(dir);
    await checkpoint.close();
    await checkpoint.close();
    await expect(checkpoint.read(checkpoint.tensors.get("a")!, 0, new Uint8Array(1))).rejects.toThrow(
      failure("ZO2_ERR_DISPOSED"),
    );
  });

  test("is closed at the end of the block that uses it", async () => {
    const dir = await modelFolder({ "model.safetensors": fileBytes({ a: u8(4) }, 4) });
    let outside: Checkpoint;
    {
      await using checkpoint = await openCheckpoint(dir);
      outside = checkpoint;
    }
    await expect(outside.read(outside.tensors.get("a")!, 0, new Uint8Array(1))).rejects.toThrow(
      failure("ZO2_ERR_DISPOSED"),
    );
  });

  const shard = fileBytes({ a: u8(4) }, 4);
  const refused: [string, Record<string, string | Uint8Array>, string[]][] = [
    ["without weights", {}, ["has no model.safetensors", "pytorch_model.bin.index.json"]],
    ["with a pickled file that is none", { "pytorch_model.bin": "x" }, ["pytorch_model.bin: its 1 bytes do not begin"]],
    [
      "with a config.json that is not JSON",
      { "config.json": "{", "model.safetensors": shard },
      ["config.json: not JSON"],
    ],
    [
      "with a config.json that is a list",
      { "config.json": "[]", "model.safetensors": shard },
      ["config.json: not a JSON object"],
    ],
    [
      "whose weights are truncated",
      { "model.safetensors": shard.subarray(0, -1) },
      ['model.safetensors: tensor "a"', "past the end"],
    ],
    ["whose index is not JSON", { "model.safetensors.index.json": "no" }, ["index.json: not JSON"]],
    ["whose index has no weight_map", { "model.safetensors.index.json": "{}" }, ["weight_map is missing"]],
    [
      "whose index names a missing file",
      { "model.safetensors.index.json": index({ a: "m1.safetensors" }) },
      ['tensor "a"', "m1.safetensors, which is missing"],
    ],
    [
      "whose index names nothing of what its file has",
      { "model.safetensors.index.json": index({ b: "m1" }), m1: shard },
      ['tensor "b" is not in m1'],
    ],
    [
      "whose index leaves the folder",
      { "model.safetensors.index.json": index({ a: "../m1" }) },
      ['"../m1" is not the name of a file in this folder'],
    ],
    [
      "whose index has an absolute path",
      { "model.safetensors.index.json": index({ a: "/etc/passwd" }) },
      ['"/etc/passwd" is not the name'],
    ],
    ["whose index names a number", { "model.safetensors.index.json": index({ a: 3 }) }, ["its file is not a string"]],
  ];
  test.each(refused)("%s is refused", async (_, files, parts) => {
    await expect(openCheckpoint(await modelFolder(files))).rejects.toThrow(failure("ZO2_ERR_CHECKPOINT", ...parts));
  });

  test("says what its index names and no shard has, and what a shard has and the index does not name", async () => {
    const map = { a: "m2", gone: "m0", b: "m1", x: "m1" };
    const files = {
      "model.safetensors.index.json": index(map),
      m1: fileBytes({ b: u8(4), c: u8(4, 4), d: u8(2, 8), a: u8(1, 10) }, 11),
      m2: fileBytes({ d: u8(4), a: u8(2, 4) }, 6),
    };
    await using checkpoint = await openCheckpoint(await modelFolder(files));
    expect(checkpoint.index).toMatchObject({ unnamed: ["c", "d"] });
    expect(Object.fromEntries(checkpoint.index?.absent ?? [])).toEqual({
      gone: "should be in m0, which is missing; download it",
      x: "is not in m1, where the index says it is",
    });
    // The index says where `a` is; of two shards with `d`, which it does not name, the last counts.
    const places = [...checkpoint.tensors].map(([name, { file, bytes }]) => [name, file.slice(-2), bytes]);
    expect(places).toEqual([
      ["a", "m2", 2],
      ["b", "m1", 4],
      ["c", "m1", 4],
      ["d", "m2", 4],
    ]);
    expect(() => requireTensor(checkpoint, "gone", [""])).toThrow(
      failure("ZO2_ERR_CHECKPOINT", "index.json", '"gone" should be in m0, which is missing'),
    );
    expect(() => requireTensor(checkpoint, "x", [""])).toThrow(failure("ZO2_ERR_CHECKPOINT", '"x" is not in m1'));
    expect(() => requireTensor(checkpoint, "y", [""])).toThrow(failure("ZO2_ERR_CHECKPOINT", '"y" is missing from'));
  });

  test("that is no folder, has no config.json, or is not there, is refused by name", async () => {
    const dir = await temporaryFolder();
    await expect(openCheckpoint(dir)).rejects.toThrow(failure("ZO2_ERR_CHECKPOINT", "has no config.json"));
    await expect(openCheckpoint(join(dir, "no"))).rejects.toThrow(
      failure("ZO2_ERR_CHECKPOINT", "there is no such folder"),
    );
    await writeFile(join(dir, "file"), "");
    await expect(openCheckpoint(join(dir, "file"))).rejects.toThrow(failure("ZO2_ERR_CHECKPOINT", "not a folder"));
  });
});

describe("a tensor's name", () => {
  const entry = (name: string) => ({ name, dtype: "F32" as const, shape: [1], file: "f", offset: 0, bytes: 4 });
  const stored = (...names: string[]) => ({ dir: "d", tensors: new Map(names.map((name) => [name, entry(name)])) });
  const prefixes = ["model.decoder.", "decoder.", ""];

  test("is found under each prefix of its family, the canonical one first", () => {
    expect(storedNames("model.decoder.x.weight", prefixes)).toEqual([
      "model.decoder.x.weight",
      "decoder.x.weight",
      "x.weight",
      "model.model.decoder.x.weight",
      "model.x.weight",
    ]);
    for (const name of ["model.decoder.x", "decoder.x", "x", "model.model.decoder.x"])
      expect(resolveTensor(stored(name), "model.decoder.x", prefixes)?.name).toBe(name);
    expect(resolveTensor(stored("x", "decoder.x", "model.decoder.x"), "model.decoder.x", prefixes)?.name).toBe(
      "model.decoder.x",
    );
    expect(resolveTensor(stored("other.x"), "model.decoder.x", prefixes)).toBeUndefined();
  });

  test("that is nowhere is an error with the names that were tried", () => {
    expect(() => requireTensor(stored("y"), "decoder.x", prefixes)).toThrow(
      failure("ZO2_ERR_CHECKPOINT", '"decoder.x" is missing from its 1 tensors', "model.decoder.x, x"),
    );
  });

  test("may be that of a tensor tied to it, in any of its forms, after its own", () => {
    const aliases = new Map([["model.decoder.embed", ["lm_head"]]]);
    for (const name of ["lm_head", "model.lm_head", "decoder.embed"]) {
      expect(resolveTensor(stored(name), "model.decoder.embed", prefixes, aliases)?.name).toBe(name);
    }
    expect(resolveTensor(stored("lm_head", "embed"), "model.decoder.embed", prefixes, aliases)?.name).toBe("embed");
    expect(resolveTensor(stored("lm_head"), "model.decoder.embed", prefixes)).toBeUndefined();
    expect(() => requireTensor(stored("y"), "model.decoder.embed", prefixes, aliases)).toThrow(
      failure("ZO2_ERR_CHECKPOINT", "tried", "lm_head"),
    );
  });

  test("is unused unless it was read, is tied to what was, or is known not to be needed", () => {
    const place = (name: string, offset: number) => ({ ...entry(name), offset });
    const all = [
      place("decoder.embed", 0),
      place("copy", 0),
      place("lm_head", 8),
      place("h.0.attn.bias", 16),
      place("other", 24),
    ];
    const tensors = new Map(all.map((e) => [e.name, e]));
    const used = new Map([["model.decoder.embed", all[0]!]]);
    const aliases = new Map([["model.decoder.embed", ["lm_head"]]]);
    expect(unusedTensors({ tensors }, used, { prefixes, aliases, ignored: [/\.attn\.bias$/] })).toEqual(["other"]);
    expect(unusedTensors({ tensors }, used, { prefixes })).toEqual(["lm_head", "h.0.attn.bias", "other"]);
    expect(unusedTensors({ tensors }, new Map(), { prefixes })).toHaveLength(5);
  });
});
