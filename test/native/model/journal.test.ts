/**
 * Runs that are written down: resumed and replayed to the bits of one that was never interrupted. The loaded models of
 * a case share nothing but the folder of the run.
 */
import { spawn } from "node:child_process";
import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import type { ModelOptions } from "../../../src/config/model.js";
import type { TrainerOptions } from "../../../src/config/trainer.js";
import { readRun } from "../../../src/journal/read-run.js";
import { Trainer } from "../../../src/train/trainer.js";
import { DEVICE } from "../device.js";
import { sameBits, sessionOf, some, weightBits, withModel } from "./helpers.js";
import * as RUNS from "./runs.js";

const { folder, examples, STEPS, OPTIONS } = RUNS;

let work: string;
let run: string;
beforeEach(async () => {
  work = await fs.mkdtemp(path.join(os.tmpdir(), "zo2-run-"));
  run = path.join(work, "run");
});
afterEach(() => fs.rm(work, { recursive: true, force: true }));

const train = (name: string, model: ModelOptions, options: TrainerOptions | "resume", until?: number) =>
  RUNS.train(run, name, model, options, until);

const CASES: readonly (readonly [string, string, ModelOptions, Partial<TrainerOptions>])[] = [
  ["fp16, stochastic", "gpt2", { rounding: "stochastic", offload: { wire: "fp16", unitBytes: 20_000 } }, {}],
  ["frozen", "opt", { offload: { unitBytes: 20_000 } }, { freeze: ["*embed*", "*fc1*"] }],
  ["resident, bf16", "gpt2", { rounding: "stochastic", offload: { wire: "bf16", to: "device" } }, {}],
  ["rademacher, written back every third visit", "gpt2", { offload: { writeBackEvery: 3, unitBytes: 20_000 } }, {}],
  ["bf16, nearest", "gpt2", { offload: { wire: "bf16" } }, {}],
];

describe.each(some(CASES, 2))("a run (%s)", (_, name, model, more) => {
  const options = { ...OPTIONS, ...more };

  it("goes on where it was left, and is replayed, to the bits of one that nobody interrupted", async () => {
    const whole = await train(name, model, options);
    await train(name, model, { ...options, run }, 3);
    expect((await readRun(run)).steps).toHaveLength(3);
    expect(sameBits(await train(name, model, "resume", 5), whole)).toBe(false);
    expect(sameBits(await train(name, model, "resume"), whole)).toBe(true);
    const journal = await readRun(run);
    expect([journal.steps.length, journal.sessions.map(({ from }) => from)]).toEqual([STEPS, [0, 3, 5]]);
    for (const { plan, runtime } of journal.sessions) {
      expect(plan?.parts.reduce((sum, { bytes }) => sum + bytes, 0)).toBeLessThanOrEqual(plan?.deviceBytes ?? 0);
      expect(plan?.hostBytes).toBeGreaterThan(0);
      expect(runtime).toBe(`Node ${process.versions.node}`);
    }
    // On other tiers and units, and in two parts.
    const { offload } = model;
    const elsewhere: ModelOptions = { ...model, offload: { wire: offload?.wire, unitBytes: 50_000, slots: 2 } };
    const replayed = await withModel(folder(name), { ...elsewhere, journals: [run] }, weightBits);
    expect(sameBits(replayed, whole)).toBe(true);
    const first = await withModel(folder(name), { ...model, journals: [{ run, steps: 3 }] }, weightBits);
    expect(sameBits(first, whole)).toBe(false);
  });
});

describe("a run", () => {
  const model: ModelOptions = { offload: { wire: "fp32" } };

  it("on weights that another run has left is replayed behind that, and nowhere else", async () => {
    const second = path.join(work, "second");
    const tuned = await withModel(folder("gpt2"), model, async (loaded) => {
      for await (const _ of new Trainer(loaded, { ...OPTIONS, run }).fit(examples));
      for await (const _ of new Trainer(loaded, { ...OPTIONS, seed: 2, run: second }).fit(examples));
      return weightBits(loaded);
    });
    const both = await withModel(folder("gpt2"), { ...model, journals: [run, second] }, weightBits);
    expect(sameBits(both, tuned)).toBe(true);
    for (const journals of [[second], [second, run], [run, run]]) {
      await expect(withModel(folder("gpt2"), { ...model, journals }, weightBits)).rejects.toMatchObject({
        code: "ZO2_ERR_JOURNAL",
        message: expect.stringMatching(
          /tensor "[\w.]+" of .*gpt2 has other values than the base of the run/,
        ) as unknown,
      });
    }
  });

  it("is refused by name with another base, other numbers, other options and other data", async () => {
    await train("gpt2", model, { ...OPTIONS, run }, 3);
    const resume = (name: string, loading: ModelOptions, o: Partial<TrainerOptions>, data = examples) =>
      withModel(folder(name), loading, async (loaded) => {
        const trainer = await Trainer.resume(loaded, run, { steps: STEPS, ...o });
        for await (const _ of trainer.fit(data));
      });
    const { method } = OPTIONS;
    for (const [attempt, message] of [
      [() => resume("opt", model, {}), "load"],
      [() => resume("gpt2", { offload: { wire: "fp16" } }, {}), '"offload.wire" = "fp32"'],
      [() => resume("gpt2", { ...model, rounding: "stochastic" }, {}), 'option "rounding" is "stochastic" now'],
      [() => resume("gpt2", model, { batchSize: 3 }), 'option "batchSize" is 3 now and was 2'],
      [() => resume("gpt2", model, { method: { ...method, eps: 1e-2 } }), 'option "method"'],
      [() => resume("gpt2", model, { seed: 1 }), 'option "seed" is "1" now'],
      [() => resume("gpt2", model, {}, examples.slice(1)), "a run goes on with the same data"],
      [() => resume("gpt2", model, {}, [...examples.slice(1), { ids: [1, 2, 3] }]), "a run goes on with the same data"],
      [() => train("gpt2", model, { ...OPTIONS, run }), "holds a run of 3 steps; resume it"],
    ] as const) {
      await expect(attempt()).rejects.toMatchObject({
        code: "ZO2_ERR_JOURNAL",
        message: expect.stringContaining(message) as unknown,
      });
    }
    // Nothing of that has touched it; what changes no weight may be given anew.
    const whole = await train("gpt2", model, OPTIONS);
    expect(await resume("gpt2", { ...model, threads: 1 }, { deferredUpdate: false })).toBeUndefined();
    const replayed = await withModel(folder("gpt2"), { ...model, journals: [run] }, weightBits);
    expect(sameBits(replayed, whole)).toBe(true);
  });

  it("says where its steps may be rounded differently from here on", async () => {
    await train("gpt2", model, { ...OPTIONS, run }, 2);
    const warned = (loading: ModelOptions, o: Partial<TrainerOptions>) =>
      withModel(folder("gpt2"), loading, async (loaded) => {
        const codes: string[] = [];
        const trainer = await Trainer.resume(loaded, run, { steps: STEPS, ...o });
        for await (const _ of trainer.fit(examples, { onWarning: ({ code }) => codes.push(code) })) break;
        return codes;
      });
    expect(await warned(model, {})).toEqual([]);
    expect(await warned(model, { microBatchSize: 1 })).toEqual(["ZO2_WARN_ROUNDING"]);
    expect(await warned(model, { microBatchSize: 1 })).toEqual([]);
    expect(await warned({ offload: { ...model.offload, unitBytes: 20_000 } }, {})).toEqual(["ZO2_WARN_ROUNDING"]);
  });

  it("is not taken up on weights that a replay has left half way, nor by one that was never taken", async () => {
    await train("gpt2", model, { ...OPTIONS, run }, 2);
    await withModel(folder("gpt2"), model, async (loaded) => {
      const session = sessionOf(loaded);
      // A step that nobody has seen leaves nothing behind.
      const running = new Trainer(loaded, OPTIONS).fit(examples, { signal: AbortSignal.abort() });
      await expect(running.next()).rejects.toMatchObject({ code: "ZO2_ERR_ABORTED" });
      expect(session.untouched).toBe(true);
      const update = { seed: 1n, noise: "gaussian", coefficients: [1], learningRate: 1e-3, weightDecay: 0 } as const;
      const stop = new AbortController();
      const updates = Array.from({ length: 300 }, (_, step) => ({ ...update, step }));
      const o = { signal: stop.signal, onProgress: () => stop.abort() };
      await expect(session.replay(updates, o)).rejects.toMatchObject({ code: "ZO2_ERR_ABORTED" });
      expect(session.untouched).toBe(false);
      await expect(Trainer.resume(loaded, run)).rejects.toMatchObject({
        code: "ZO2_ERR_JOURNAL",
        message: expect.stringContaining("has other values than the base of the run") as unknown,
      });
    });
  });

  it("is not kept of noise that no journal holds", async () => {
    const test = { noise: () => new Float32Array(0) };
    await expect(train("gpt2", model, { ...OPTIONS, run, test })).rejects.toMatchObject({
      code: "ZO2_ERR_CONFIG",
      message: expect.stringContaining("test.noise, which no journal holds") as unknown,
    });
  });

  it("is written by one trainer at a time", async () => {
    await withModel(folder("gpt2"), model, async (first) => {
      const running = new Trainer(first, { ...OPTIONS, run }).fit(examples);
      await running.next();
      await expect(train("gpt2", model, { ...OPTIONS, run })).rejects.toMatchObject({ code: "ZO2_ERR_BUSY" });
      await running.return();
    });
    await train("gpt2", model, "resume");
  });
});

(DEVICE === "cuda" ? describe.skip : describe)("zo2 train", () => {
  const root = path.join(__dirname, "../../..");
  const program = path.join(root, "dist/esm/cli/main.js");
  const tiny = path.join(root, "docs/demo/tiny-opt");

  /** Runs `zo2`, and kills it once the journal has grown to `bytes`. Resolves with the exit code; null: killed. */
  function zo2(args: readonly string[], bytes = Number.POSITIVE_INFINITY): Promise<number | null> {
    return new Promise((resolve) => {
      const child = spawn(process.execPath, [program, ...args, "--quiet"], { stdio: "ignore" });
      const watch = setInterval(() => {
        void fs.stat(path.join(run, "run.zo2")).then(
          ({ size }) => size >= bytes && child.kill("SIGKILL"),
          () => undefined,
        );
      }, 5);
      child.on("close", (code) => {
        clearInterval(watch);
        resolve(code);
      });
    });
  }

  it("killed over and over goes on to the same file", async () => {
    const data = path.join(root, "docs/demo/reviews/train.jsonl");
    const begin = [
      ...["train", "--model", tiny, "--data", data, "--steps", "60", "--learning-rate", "1e-4", "--batch-size", "2"],
      ...["--prompt", "{text} It was", "--choices", " bad", " good", "--rounding", "stochastic", "--device", "cpu"],
    ];
    expect(await zo2([...begin, "--out", path.join(work, "whole"), "--no-run"])).toBe(0);
    const out = path.join(work, "tuned");
    expect(await zo2([...begin, "--out", out, "--run", run], 10_600)).toBeNull();
    let killed = 0;
    // A session takes 800 bytes and a step 46: some ten steps more each time.
    for (let bytes = 11_900; ; bytes += 1300) {
      const code = await zo2(["train", "--resume", run], bytes);
      if (code !== null) {
        expect(code).toBe(0);
        break;
      }
      killed++;
    }
    expect(killed).toBeGreaterThan(0);
    const again = path.join(work, "replayed");
    expect(await zo2(["replay", tiny, run, "--out", again])).toBe(0);
    const [whole, resumed, replayed] = await Promise.all(
      [path.join(work, "whole"), out, again].map((dir) => fs.readFile(path.join(dir, "model.safetensors"))),
    );
    expect([whole?.equals(resumed as Buffer), whole?.equals(replayed as Buffer)]).toEqual([true, true]);
  });
});
