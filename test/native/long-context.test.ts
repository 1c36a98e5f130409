import { execFile } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import type { EncodedTokens } from "../../src/data/encoded.js";
import { packBatch } from "../../src/data/index.js";
import { loadModel } from "../../src/load.js";
import { deviceBytes } from "../../src/memory/plan.js";
import { AT_WEIGHTS } from "../../src/method/index.js";
import { Trainer } from "../../src/train/trainer.js";
import { DEVICE } from "./device.js";
import { fixtures, sessionOf, withModel } from "./model/helpers.js";

/**
 * Models of 131,072 positions under budgets that hold a few tokens of them: what a command does has to fit, and nothing
 * else.
 */
const root = path.join(__dirname, "../..");
const program = path.join(root, "dist/esm/cli/main.js");
const POSITIONS = 131_072;

let work: string;
beforeAll(() => {
  work = fs.mkdtempSync(path.join(os.tmpdir(), "zo2-long-"));
  for (const name of ["llama", "qwen3-bf16", "llama-classify"]) {
    const folder = path.join(work, name);
    fs.cpSync(path.join(fixtures, "models", name), folder, { recursive: true });
    const config = JSON.parse(fs.readFileSync(path.join(folder, "config.json"), "utf8"));
    fs.writeFileSync(
      path.join(folder, "config.json"),
      JSON.stringify({ ...config, max_position_embeddings: POSITIONS }),
    );
  }
  fs.writeFileSync(path.join(work, "five.jsonl"), '{"ids":[1,5,9,33,7]}\n');
});
afterAll(() => fs.rmSync(work, { recursive: true, force: true }));

function zo2(args: string[], input = ""): Promise<{ code: number; out: string; err: string }> {
  return new Promise((resolve) => {
    const child = execFile(process.execPath, [program, ...args], { cwd: work }, (error, out, err) => {
      resolve({ code: typeof error?.code === "number" ? error.code : 0, out, err });
    });
    child.stdin?.end(input);
  });
}

const TRAIN = [
  "train",
  "--data",
  "five.jsonl",
  "--steps",
  "2",
  "--learning-rate",
  "1e-6",
  "--out",
  "tuned",
  "--no-run",
];

/** Without a budget the same command answers the same. */
test.each<[string, string[], string]>([
  ["score", ["score", "--input", "five.jsonl"], "32MiB"],
  ["score under a budget of some kilobytes more than it takes", ["score", "--input", "five.jsonl"], "1900KiB"],
  ["eval", ["eval", "--data", "five.jsonl", "--json"], "32MiB"],
  ["eval of a length", ["eval", "--data", "five.jsonl", "--max-length", "64", "--json"], "32MiB"],
  ["eval of a length that does not fit", ["eval", "--data", "five.jsonl", "--max-length", "100000", "--json"], "32MiB"],
  ["eval where no step of training fits", ["eval", "--data", "five.jsonl", "--json"], "2MiB"],
  ["train", [...TRAIN, "--json"], "32MiB"],
  ["train of a length", [...TRAIN, "--max-length", "64", "--json"], "32MiB"],
  ["train of a length that does not fit", [...TRAIN, "--max-length", "100000", "--json"], "4MiB"],
  ["train with an evaluation", [...TRAIN, "--eval-data", "five.jsonl", "--eval-every", "1", "--json"], "3MiB"],
  ["generate", ["generate", "--jsonl", "--input", "five.jsonl", "--max-new-tokens", "4"], "32MiB"],
  ["generate in little", ["generate", "--jsonl", "--input", "five.jsonl", "--max-new-tokens", "4"], "2MiB"],
])("zo2 %s runs", async (_, [command = "", ...args], budget) => {
  const timeless = (out: string) => out.replace(/"(seconds|tokensPerSecond)":[\d.e-]+/g, "");
  const model = ["--model", "llama", "--device", "cpu", "--threads", "2"];
  const free = await zo2([command, ...model, ...args]);
  expect([free.code, free.err.includes("ZO2_ERR")]).toEqual([0, false]);
  const small = await zo2([command, ...model, "--device-memory", budget, ...args]);
  expect(small.err).toMatch(/llama: 275,072 parameters, .*(resident|streamed).*; .* device (at least )?[\d.]+ (K|M)iB/);
  expect([small.code, timeless(small.out)]).toEqual([0, timeless(free.out)]);
});

describe("zo2 info", () => {
  const memory = (out: string) => /^memory {4}device .* positions$/m.exec(out)?.[0] ?? out;

  test("plans for all positions, or for the longest sequence that a budget holds", async () => {
    const info = (...args: string[]) => zo2(["info", "--model", "llama", "--device", "cpu", ...args]);
    expect(memory((await info()).out)).toMatch(/a training step on one sequence of 131,072 of the model's 131,072/);
    const small = await info("--device-memory", "32MiB");
    expect(small.code).toBe(0);
    const tokens = Number(/of ([\d,]+) of the model's/.exec(memory(small.out))?.[1]?.replace(",", ""));
    expect(tokens).toBeGreaterThan(5000);
    // 32 tokens more do not fit.
    for (const [length, code] of [
      [tokens, 0],
      [tokens + 33, 1],
    ]) {
      const asked = await info("--device-memory", "32MiB", "--max-length", String(length));
      expect([asked.code, asked.err.includes("ZO2_ERR_MEMORY_BUDGET")]).toEqual([code, code === 1]);
    }
    expect(memory((await info("--device-memory", "500KiB")).out)).toMatch(/a forward pass \(none of training fits\)/);
    expect(memory((await info("--max-length", "64")).out)).toMatch(/on one sequence of 64 of/);
  });

  test("refuses a length past the positions, and a budget that nothing fits in", async () => {
    const info = (...args: string[]) => zo2(["info", "--model", "llama", "--device", "cpu", ...args]);
    const long = await info("--max-length", "131073");
    expect([long.code, long.err]).toEqual([1, expect.stringMatching(/ZO2_ERR_LENGTH: .*--max-length/)]);
    const none = await info("--device-memory", "300KiB");
    expect([none.code, none.err]).toEqual([1, expect.stringMatching(/ZO2_ERR_MEMORY_BUDGET: .*--device-memory/)]);
  });
});

describe("the library", () => {
  const offload = { deviceMemory: "4MiB", unitBytes: "300KiB" };

  test("loads, scores, trains, evaluates and generates in a budget far below a full context", () =>
    withModel(path.join(work, "qwen3-bf16"), { offload }, async (model) => {
      expect(model.maxPositions).toBe(POSITIONS);
      const plan = model.plan();
      expect(plan.deviceBytes).toBeLessThanOrEqual(4 * 2 ** 20);
      expect(plan.tokens).toBeGreaterThan(32);
      expect(() => model.plan(POSITIONS)).toThrow(expect.objectContaining({ code: "ZO2_ERR_MEMORY_BUDGET" }));
      const data = [{ ids: [1, 5, 9, 33, 7] }, { ids: [8, 4, 3] }];
      for await (const { logprobs } of model.score(data)) expect(logprobs[1]).toBeLessThan(0);
      const method = { name: "mezo-sgd", learningRate: 1e-6 } as const;
      for await (const { loss } of new Trainer(model, { method, steps: 2, batchSize: 2 }).fit(data))
        expect(loss).toBeGreaterThan(0);
      expect((await model.evaluate(data)).examples).toBe(2);
      expect((await model.generate({ ids: [1, 5] }, { maxNewTokens: 3, ignoreEos: true }).result()).ids).toHaveLength(
        3,
      );
    }));

  test("predicts in a budget far below a full context", () =>
    withModel(path.join(work, "llama-classify"), { offload }, async (model) => {
      expect(model.plan().tokens).toBeGreaterThan(32);
      for await (const p of model.predict([{ ids: [5, 17, 3] }])) expect(p.kind).toBe("labels");
    }));

  test("plans for the longest sequence that fits: one of 33 tokens more does not", () =>
    withModel(path.join(work, "llama"), { offload }, async (model) => {
      for (const training of [true, false]) {
        const { tokens, deviceBytes: bytes } = model.plan(undefined, { training });
        expect(model.plan(tokens, { training })).toMatchObject({ tokens, deviceBytes: bytes });
        expect(() => model.plan(tokens + 33, { training })).toThrow(
          expect.objectContaining({ code: "ZO2_ERR_MEMORY_BUDGET" }),
        );
      }
      expect(model.plan(undefined, { training: false }).tokens).toBeGreaterThan(model.plan().tokens);
    }));

  test("plans for all positions where nothing bounds them, and for a length that was asked for", () =>
    withModel(path.join(work, "llama"), {}, async (model) => {
      expect(model.plan().tokens).toBe(POSITIONS);
      expect(model.plan(POSITIONS)).toEqual(model.plan());
      expect(model.plan(64).tokens).toBe(64);
      expect(model.plan(64).deviceBytes).toBeLessThan(model.plan().deviceBytes / 100);
      expect(() => model.plan(POSITIONS + 1)).toThrow(expect.objectContaining({ code: "ZO2_ERR_LENGTH" }));
    }));

  test("runs batches that fit one by one though no plan holds them both", async () => {
    /** `labelled` of the tokens are predicted, the last ones. */
    const text = (length: number, labelled: number): EncodedTokens => {
      const ids = Int32Array.from({ length }, (_, i) => 3 + (i % 200));
      return { kind: "tokens", ids, labels: ids.map((id, t) => (t < length - labelled ? -100 : id)) };
    };
    const long = [packBatch([text(2049, 1)])];
    const many = [packBatch([text(1025, 1024)])];
    const [a, b] = await withModel(path.join(work, "llama"), {}, async (model) =>
      [long, many].map((batch) => deviceBytes(sessionOf(model).planForBatch(batch, [AT_WEIGHTS]))),
    );
    const deviceMemory = Math.max(a ?? 0, b ?? 0);
    const model = await loadModel(path.join(work, "llama"), { device: DEVICE, offload: { deviceMemory } });
    try {
      const session = sessionOf(model);
      const first = await session.forward(long);
      expect((await session.forward(many))[0]).toHaveLength(1024);
      expect(await session.forward(long)).toEqual(first);
    } finally {
      await model.dispose();
    }
  });
});
