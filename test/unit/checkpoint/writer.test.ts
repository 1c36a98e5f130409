import { execFile } from "node:child_process";
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { openCheckpoint, writeCheckpoint, type TensorDtype, type TensorSource } from "../../../src/checkpoint/index.js";
import { compiledPackage } from "../compiled.js";
import { cleanUp, failure, temporaryFolder } from "./support.js";

const ROOT = join(__dirname, "../../..");
const TINY = join(ROOT, "docs/demo/tiny-opt");

function source(name: string, dtype: TensorDtype, shape: number[], content: Uint8Array): TensorSource {
  return {
    name,
    dtype,
    shape,
    bytes: content.byteLength,
    read: async (offset, into) => into.set(content.subarray(offset, offset + into.byteLength)),
  };
}

const pattern = (bytes: number, seed: number) => Uint8Array.from({ length: bytes }, (_, i) => (i * 31 + seed) & 255);
const CONFIG = { model_type: "opt", hidden_size: 4 };
const tensors = () => [
  source("model.decoder.a", "F16", [3, 5], pattern(30, 1)),
  source("model.decoder.b", "F32", [7], pattern(28, 2)),
  source("model.decoder.c", "BF16", [10], pattern(20, 3)),
  source("none", "F32", [0], pattern(0, 4)),
];

async function contents(dir: string) {
  await using checkpoint = await openCheckpoint(dir);
  const all: Record<string, unknown> = {};
  for (const entry of checkpoint.tensors.values()) {
    const into = new Uint8Array(entry.bytes);
    await checkpoint.read(entry, 0, into);
    all[entry.name] = [entry.dtype, entry.shape, into];
  }
  return all;
}
const expected = Object.fromEntries([
  ["model.decoder.a", ["F16", [3, 5], pattern(30, 1)]],
  ["model.decoder.b", ["F32", [7], pattern(28, 2)]],
  ["model.decoder.c", ["BF16", [10], pattern(20, 3)]],
  ["none", ["F32", [0], pattern(0, 4)]],
]);

afterAll(cleanUp);

/** Bytes of the tensors of each shard that tensors of these sizes are cut into. */
async function shardsOf(bytes: readonly number[], maxShardBytes: number): Promise<number[][]> {
  const dir = join(await temporaryFolder(), "out");
  const tensors = bytes.map((count, i) => source(`t${i}`, "U8", [count], pattern(count, i)));
  await writeCheckpoint(dir, { tensors, config: CONFIG, maxShardBytes });
  const files = (await readdir(dir)).filter((name) => name.endsWith(".safetensors")).sort();
  return Promise.all(
    files.map(async (name) => {
      const file = await readFile(join(dir, name));
      const { __metadata__: _, ...entries } = JSON.parse(
        file.subarray(8, 8 + Number(file.readBigUInt64LE())).toString(),
      );
      return Object.values<{ data_offsets: [number, number] }>(entries).map(({ data_offsets: [a, b] }) => b - a);
    }),
  );
}

describe("a written checkpoint", () => {
  test("in one file is the safetensors form, byte by byte", async () => {
    const dir = join(await temporaryFolder(), "out");
    await writeCheckpoint(dir, { tensors: tensors(), config: CONFIG });
    expect((await readdir(dir)).sort()).toEqual(["config.json", "model.safetensors"]);
    const file = await readFile(join(dir, "model.safetensors"));
    const length = Number(file.readBigUInt64LE());
    expect(length % 8).toBe(0);
    // Spaces up to the next multiple of 8, and no more of them.
    expect(file.subarray(8, 8 + length).toString()).toMatch(/\} {0,7}$/);
    expect(JSON.parse(file.subarray(8, 8 + length).toString())).toEqual({
      __metadata__: { format: "pt" },
      "model.decoder.a": { dtype: "F16", shape: [3, 5], data_offsets: [0, 30] },
      "model.decoder.b": { dtype: "F32", shape: [7], data_offsets: [30, 58] },
      "model.decoder.c": { dtype: "BF16", shape: [10], data_offsets: [58, 78] },
      none: { dtype: "F32", shape: [0], data_offsets: [78, 78] },
    });
    expect(
      Buffer.compare(file.subarray(8 + length), Buffer.concat([pattern(30, 1), pattern(28, 2), pattern(20, 3)])),
    ).toBe(0);
    expect(JSON.parse(await readFile(join(dir, "config.json"), "utf8"))).toEqual(CONFIG);
    expect(await contents(dir)).toEqual(expected);
  });

  test("past the shard limit is cut between tensors, with an index that says where each is", async () => {
    const dir = join(await temporaryFolder(), "deep/er/out");
    await writeCheckpoint(dir, { tensors: tensors(), config: CONFIG, maxShardBytes: 50 });
    const index = JSON.parse(await readFile(join(dir, "model.safetensors.index.json"), "utf8")) as unknown;
    const names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
    expect(index).toEqual({
      metadata: { total_size: 78 },
      weight_map: {
        "model.decoder.a": names[0],
        "model.decoder.b": names[1],
        "model.decoder.c": names[1],
        none: names[1],
      },
    });
    expect((await readdir(dir)).sort()).toEqual(["config.json", ...names, "model.safetensors.index.json"]);
    expect(await contents(dir)).toEqual(expected);
  });

  test("fills a shard to the limit, and no further; a tensor that is larger has one of its own", async () => {
    const sizes = (maxShardBytes: number) => shardsOf([30, 28, 20, 0], maxShardBytes);
    expect(await sizes(58)).toEqual([
      [30, 28],
      [20, 0],
    ]);
    expect(await sizes(57)).toEqual([[30], [28, 20, 0]]);
    expect(await sizes(78)).toEqual([[30, 28, 20, 0]]);
    expect(await sizes(77)).toEqual([
      [30, 28],
      [20, 0],
    ]);
    expect(await sizes(30)).toEqual([[30], [28], [20, 0]]);
    expect(await sizes(29)).toEqual([[30], [28], [20, 0]]);
    expect(await sizes(1)).toEqual([[30], [28], [20], [0]]);
    expect(await shardsOf([4, 90, 4], 10)).toEqual([[4], [90], [4]]);
  });

  test("is streamed: a tensor of many pieces is asked for piece by piece, in order, and written whole", async () => {
    const dir = join(await temporaryFolder(), "out");
    const bytes = 20 * 2 ** 20 + 2;
    const asked: [number, number][] = [];
    const big: TensorSource = {
      name: "big",
      dtype: "F16",
      shape: [bytes / 2],
      bytes,
      read: async (offset, into) => {
        asked.push([offset, into.byteLength]);
        for (let i = 0; i < into.byteLength; i++) into[i] = ((offset + i) / 4099) & 255;
      },
    };
    await writeCheckpoint(dir, {
      tensors: (async function* () {
        yield big;
      })(),
      config: CONFIG,
    });
    expect(Math.max(...asked.map(([, length]) => length))).toBeLessThanOrEqual(8 * 2 ** 20);
    expect(asked.reduce((end, [offset, length]) => (offset === end ? end + length : Number.NaN), 0)).toBe(bytes);
    const file = await readFile(join(dir, "model.safetensors"));
    const data = file.subarray(file.byteLength - bytes);
    let wrong = 0;
    for (let i = 0; i < bytes; i++) if (data[i] !== ((i / 4099) & 255)) wrong++;
    expect(wrong).toBe(0);
  });

  test("carries the tokenizer's files of its source, and none of its weights", async () => {
    const dir = join(await temporaryFolder(), "out");
    await writeCheckpoint(dir, { tensors: tensors(), config: CONFIG, copyFrom: TINY });
    const copied = ["merges.txt", "special_tokens_map.json", "tokenizer_config.json", "vocab.json"];
    expect((await readdir(dir)).sort()).toEqual([...copied, "config.json", "model.safetensors"].sort());
    for (const name of copied) expect(await readFile(join(dir, name))).toEqual(await readFile(join(TINY, name)));
    await expect(
      writeCheckpoint(dir, { tensors: tensors(), config: CONFIG, copyFrom: join(dir, "no") }),
    ).rejects.toThrow(failure("ZO2_ERR_IO", "no such folder to copy"));
  });

  test("can be saved over the folder that it is read from", async () => {
    const dir = join(await temporaryFolder(), "out");
    await writeCheckpoint(dir, { tensors: tensors(), config: CONFIG, copyFrom: TINY });
    await using old = await openCheckpoint(dir);
    const again = [...old.tensors.values()].map(
      (entry): TensorSource => ({ ...entry, read: (offset, into) => old.read(entry, offset, into) }),
    );
    await writeCheckpoint(dir, { tensors: again, config: CONFIG, copyFrom: dir, maxShardBytes: 40 });
    expect(await contents(dir)).toEqual(expected);
    expect(await readdir(dir)).toContain("merges.txt");
    expect(await readdir(dir)).not.toContain("model.safetensors");
  });
});

describe("saving over an older folder", () => {
  async function older() {
    const parent = await temporaryFolder();
    const dir = join(parent, "out");
    await writeCheckpoint(dir, { tensors: [source("old", "U8", [3], pattern(3, 9))], config: CONFIG, copyFrom: TINY });
    await writeFile(join(dir, "metrics.jsonl"), "mine");
    return { parent, dir };
  }

  async function expectUntouched(parent: string, dir: string) {
    expect(await contents(dir)).toEqual({ old: ["U8", [3], pattern(3, 9)] });
    expect(await readFile(join(dir, "metrics.jsonl"), "utf8")).toBe("mine");
    expect(await readdir(parent)).toEqual(["out"]);
  }

  test("replaces the model, keeps the files that are not a model's, and leaves nothing beside it", async () => {
    const { parent, dir } = await older();
    await writeCheckpoint(dir, { tensors: tensors(), config: CONFIG });
    expect(await contents(dir)).toEqual(expected);
    expect((await readdir(dir)).sort()).toEqual(["config.json", "metrics.jsonl", "model.safetensors"]);
    expect(await readdir(parent)).toEqual(["out"]);
  });

  test("leaves it as it was when a tensor cannot be read", async () => {
    const { parent, dir } = await older();
    const bad: TensorSource = {
      name: "z",
      dtype: "U8",
      shape: [2],
      bytes: 2,
      read: () => Promise.reject(new Error("gone")),
    };
    await expect(writeCheckpoint(dir, { tensors: [...tensors(), bad], config: CONFIG })).rejects.toThrow("gone");
    await expectUntouched(parent, dir);
  });

  test("leaves it as it was when the work is aborted half way", async () => {
    const { parent, dir } = await older();
    const controller = new AbortController();
    const reason = new Error("enough");
    const stopping: TensorSource = {
      name: "z",
      dtype: "U8",
      shape: [2],
      bytes: 2,
      read: async () => controller.abort(reason),
    };
    const saved = writeCheckpoint(dir, { tensors: [stopping], config: CONFIG, signal: controller.signal });
    await expect(saved).rejects.toThrow(failure("ZO2_ERR_ABORTED", "stopped"));
    await expect(saved).rejects.toMatchObject({ cause: reason });
    await expectUntouched(parent, dir);
  });

  test("leaves it as it was, and names the bytes needed, when the disk is full", async () => {
    const { parent, dir } = await older();
    const pkg = await compiledPackage();
    const main = join(pkg, "dist/esm/main.mjs");
    const program = `
      import { writeCheckpoint } from "./checkpoint/writer.js";
      const bytes = 1 << 20;
      const tensor = { name: "big", dtype: "U8", shape: [bytes], bytes, read: async () => {} };
      writeCheckpoint(process.argv[2], { tensors: [tensor], config: {} }).then(
        () => console.log("saved"),
        (error) => console.log(error.code + ": " + error.message));
    `;
    await writeFile(main, program);
    // A limit on the size of one file fails a write just as a full disk does, and needs no rights.
    const { stdout } = await promisify(execFile)("sh", [
      "-c",
      'ulimit -f 200; exec "$0" "$@"',
      process.execPath,
      main,
      dir,
    ]);
    await rm(pkg, { recursive: true, force: true });
    expect(stdout).toMatch(
      /^ZO2_ERR_IO: disk full: 1048576 bytes needed in .*; free space or choose another folder\n$/,
    );
    expect(stdout).toContain(parent);
    await expectUntouched(parent, dir);
  });

  test("is refused for a folder that is not a model's, for a file, and for another program's config.json", async () => {
    const parent = await temporaryFolder();
    const dir = join(parent, "notes");
    await mkdir(dir);
    await writeFile(join(dir, "diary.txt"), "dear");
    const save = (to: string) => writeCheckpoint(to, { tensors: tensors(), config: CONFIG });
    await expect(save(dir)).rejects.toThrow(failure("ZO2_ERR_IO", "is not the folder of a model"));
    await writeFile(join(dir, "config.json"), '{"port": 80}');
    await expect(save(dir)).rejects.toThrow(failure("ZO2_ERR_IO", "is not the folder of a model"));
    await expect(save(join(dir, "diary.txt"))).rejects.toThrow(failure("ZO2_ERR_IO", "is a file"));
    expect((await readdir(dir)).sort()).toEqual(["config.json", "diary.txt"]);
    expect(await readdir(parent)).toEqual(["notes"]);
  });

  test("is allowed for an empty folder, and for a model that has lost its weights", async () => {
    const dir = join(await temporaryFolder(), "out");
    await mkdir(dir);
    await writeCheckpoint(dir, { tensors: tensors(), config: CONFIG });
    expect(await contents(dir)).toEqual(expected);
    await rename(join(dir, "model.safetensors"), join(dirname(dir), "elsewhere"));
    await writeCheckpoint(dir, { tensors: tensors(), config: CONFIG });
    expect((await stat(join(dir, "model.safetensors"))).size).toBeGreaterThan(78);
  });

  test.each([
    [
      "a tensor given twice",
      [source("a", "U8", [1], pattern(1, 0)), source("a", "U8", [1], pattern(1, 0))],
      '"a": given twice',
    ],
    [
      "bytes that do not fit the shape",
      [source("a", "F32", [2], pattern(4, 0))],
      "4 bytes were given for shape [2] of F32, which needs 8",
    ],
    ["a reserved name", [source("__metadata__", "U8", [1], pattern(1, 0))], "cannot be written"],
  ])("%s is refused before anything is written", async (_, bad, message) => {
    const { parent, dir } = await older();
    await expect(writeCheckpoint(dir, { tensors: bad, config: CONFIG })).rejects.toThrow(
      failure("ZO2_ERR_INVALID_ARGUMENT", message),
    );
    await expectUntouched(parent, dir);
  });
});
