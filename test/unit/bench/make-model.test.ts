import { createHash } from "node:crypto";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openCheckpoint } from "../../../src/checkpoint/index.js";
import { defineModel } from "../../../src/models/index.js";
import { runScript } from "./modules.js";

const SHAPE = { layers: 2, hidden: 32, ffn: 96, heads: 4, vocab: 9000, maxpos: 50 };
const sizes = Object.entries(SHAPE).flatMap(([name, value]) => [`--${name}`, String(value)]);

let cache: string;
beforeEach(async () => (cache = await mkdtemp(join(tmpdir(), "zo2-bench-test-"))));
afterEach(() => rm(cache, { recursive: true, force: true }));

function make(...extra: string[]): string {
  const { status, out, err } = runScript("bench/peer/make-model.mjs", "--cache", cache, ...sizes, ...extra);
  expect([status, err]).toEqual([0, ""]);
  return out;
}

async function values(dir: string, name: string): Promise<Float32Array> {
  await using checkpoint = await openCheckpoint(dir);
  const entry = checkpoint.tensors.get(name)!;
  const bytes = new Uint8Array(entry.bytes);
  await checkpoint.read(entry, 0, bytes);
  return new Float32Array(bytes.buffer);
}

describe("the model that the bench and its peer load", () => {
  it("has the tensors of its config.json, in fp32, and no other", async () => {
    await using checkpoint = await openCheckpoint(make());
    const declared = defineModel(checkpoint.config as Record<string, unknown>).parameters;
    const found = [...checkpoint.tensors.values()].map((t) => [t.name, t.dtype, [...t.shape]]);
    expect(found.sort()).toEqual(declared.map((p) => [p.name, "F32", [...p.shape]]).sort());
  });

  it("has matrices N(0, 0.02), biases 0 and norm gains 1", async () => {
    const dir = make();
    // More than one chunk of the writer.
    const table = await values(dir, "model.decoder.embed_tokens.weight");
    const moment = (power: number) => table.reduce((sum, x) => sum + x ** power, 0) / table.length;
    // Five standard errors each.
    const error = 5 / Math.sqrt(table.length);
    expect(Math.abs(moment(1)) / 0.02).toBeLessThan(error);
    expect(Math.abs(moment(2) / 0.02 ** 2 - 1)).toBeLessThan(error * Math.sqrt(2));
    expect(Math.abs(moment(4) / 0.02 ** 4 - 3)).toBeLessThan(error * Math.sqrt(96));
    expect(new Set(table).size).toBeGreaterThan(0.9 * table.length);
    expect(new Set(await values(dir, "model.decoder.layers.1.fc1.bias"))).toEqual(new Set([0]));
    expect(new Set(await values(dir, "model.decoder.final_layer_norm.weight"))).toEqual(new Set([1]));
  });

  it("is the same for the same options, and another for another seed", async () => {
    const hash = async (dir: string) =>
      createHash("sha256")
        .update(await readFile(join(dir, "model.safetensors")))
        .digest("hex");
    const first = make();
    const before = await hash(first);
    await rm(first, { recursive: true });
    expect(await hash(make())).toBe(before);
    expect(await hash(make("--seed", "1"))).not.toBe(before);
    // Nothing half-made is left beside the two.
    expect(await readdir(cache)).toHaveLength(2);
  });

  it("is refused with one line when an option is unknown or no number", () => {
    expect(runScript("bench/peer/make-model.mjs", "--depth", "3")).toMatchObject({
      status: 1,
      err: expect.stringContaining("--depth"),
    });
    expect(runScript("bench/peer/make-model.mjs", "--layers", "two")).toEqual({
      status: 1,
      out: "",
      err: 'make-model: --layers is "two"; it has to be a number',
    });
  });
});
