/**
 * Weights of runs that are taken up from snapshots, rebuilt without steps that went wrong, and switched between: each
 * to the bits of something that did without.
 */
import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import type { ModelOptions } from "../../../src/config/model.js";
import type { TrainerOptions } from "../../../src/config/trainer.js";
import { packBatch } from "../../../src/data/index.js";
import { readRun } from "../../../src/journal/read-run.js";
import { writeCompact } from "../../../src/journal/writer.js";
import type { Model } from "../../../src/model.js";
import { Trainer } from "../../../src/train/trainer.js";
import { DEVICE } from "../device.js";
import { sameBits, sessionOf, some, takeStep, weightBits, withModel } from "./helpers.js";
import { examples, folder, OPTIONS, STEPS, train } from "./runs.js";

let work: string;
let run: string;
beforeEach(async () => {
  work = await fs.mkdtemp(path.join(os.tmpdir(), "zo2-run-"));
  run = path.join(work, "run");
});
afterEach(() => fs.rm(work, { recursive: true, force: true }));

/** Changes one byte in the middle of a file. */
async function damage(file: string): Promise<void> {
  const bytes = await fs.readFile(file);
  const middle = bytes.byteLength >> 1;
  bytes[middle] = (bytes[middle] ?? 0) ^ 0x10;
  await fs.writeFile(file, bytes);
}

const SNAPSHOTS = { every: 1, keep: 2 };

describe.each(
  some<readonly [string, ModelOptions, Partial<TrainerOptions>]>(
    [
      ["fp16, stochastic", { rounding: "stochastic", offload: { wire: "fp16", unitBytes: 20_000 } }, {}],
      ["frozen, resident", { offload: { to: "device" } }, { freeze: ["*ln*", "*wte*"] }],
      ["bf16, written back every third visit", { offload: { wire: "bf16", writeBackEvery: 3 } }, {}],
    ],
    1,
  ),
)("snapshots (%s)", (_, model, more) => {
  const options = { ...OPTIONS, ...more };
  const begin = (until: number) => train(run, "gpt2", model, { ...options, run, snapshots: SNAPSHOTS }, until);
  const snapshots = async () => (await fs.readdir(path.join(run, "snapshots"))).sort();

  it("are models, the newest ones, and change nothing", async () => {
    const whole = await train(run, "gpt2", model, options);
    const kept = await begin(STEPS);
    expect(sameBits(kept, whole)).toBe(true);
    expect(await snapshots()).toEqual([`step-${STEPS - 2}`, `step-${STEPS - 1}`]);
    const seventh = path.join(run, "snapshots", `step-${STEPS - 1}`);
    const loaded = await withModel(seventh, model, weightBits);
    const replayed = await withModel(folder("gpt2"), { ...model, journals: [{ run, steps: STEPS - 1 }] }, weightBits);
    expect(sameBits(loaded, replayed)).toBe(true);
  });

  it("are what a run is taken up from: the newest that is whole, then the base", async () => {
    const whole = await train(run, "gpt2", model, options);
    await begin(STEPS - 1);
    expect(await snapshots()).toEqual([`step-${STEPS - 3}`, `step-${STEPS - 2}`]);
    // What a process that was killed amid one has left.
    await fs.mkdir(path.join(run, "snapshots", ".step-7.0a.tmp"));
    const kept = path.join(work, "kept");
    for (const { damaged, replays, warnings } of [
      { damaged: [], replays: 1, warnings: 0 },
      { damaged: [STEPS - 2], replays: 2, warnings: 1 },
      { damaged: [STEPS - 2, STEPS - 3], replays: STEPS - 1, warnings: 2 },
    ]) {
      await fs.rm(kept, { recursive: true, force: true });
      await fs.cp(run, kept, { recursive: true });
      for (const step of damaged) await damage(path.join(kept, "snapshots", `step-${step}`, "model.safetensors"));
      await withModel(folder("gpt2"), model, async (loaded) => {
        const codes: string[] = [];
        let steps = 0;
        const trainer = await Trainer.resume(
          loaded,
          kept,
          { steps: STEPS },
          { onWarning: ({ code }) => codes.push(code), onProgress: (progress) => (steps = progress.steps) },
        );
        // A GPU replays a few steps sooner than it reads a snapshot.
        if (DEVICE !== "cuda") {
          expect(codes).toEqual(Array.from({ length: warnings }, () => "ZO2_WARN_SNAPSHOT"));
          expect(steps).toBe(replays);
        }
        for await (const _step of trainer.fit(examples));
        expect(sameBits(await weightBits(loaded), whole)).toBe(true);
      });
      expect((await fs.readdir(path.join(kept, "snapshots"))).filter((name) => name.startsWith("."))).toEqual([]);
    }
  });
});

describe("a snapshot", () => {
  it("has the updates before it and no part of the step in flight, however late that writes", async () => {
    const test = { delayMicroseconds: 3000, delaySeed: 3 };
    const slow: ModelOptions = { offload: { wire: "fp32", unitBytes: 20_000, slots: 2 }, test };
    await train(run, "gpt2", slow, { ...OPTIONS, run, snapshots: { every: 1, keep: STEPS } });
    for (let steps = 1; steps < STEPS; steps++) {
      const { offload } = slow;
      const kept = await withModel(path.join(run, "snapshots", `step-${steps}`), { offload }, weightBits);
      const made = await withModel(folder("gpt2"), { offload, journals: [{ run, steps }] }, weightBits);
      expect([steps, sameBits(kept, made)]).toEqual([steps, true]);
    }
  });

  const model: ModelOptions = { offload: { wire: "fp32" } };

  it("of another run, or without its place, is none", async () => {
    const other = path.join(work, "other");
    const snapshots = { every: 5 };
    await train(other, "gpt2", model, { ...OPTIONS, seed: 5, run: other, snapshots }, 6);
    const whole = await train(run, "gpt2", model, OPTIONS);
    await train(run, "gpt2", model, { ...OPTIONS, run, snapshots }, 6);
    const five = path.join("snapshots", "step-5");
    await fs.rm(path.join(run, five), { recursive: true });
    await fs.cp(path.join(other, five), path.join(run, five), { recursive: true });
    await fs.cp(path.join(other, five), path.join(run, "snapshots", "step-4"), { recursive: true });
    await fs.rm(path.join(run, "snapshots", "step-4", "snapshot.json"));
    const codes: string[] = [];
    const weights = await train(run, "gpt2", model, "resume", STEPS, { onWarning: ({ code }) => codes.push(code) });
    expect(sameBits(weights, whole)).toBe(true);
    expect(codes).toEqual(DEVICE === "cuda" ? [] : ["ZO2_WARN_SNAPSHOT"]);
  });

  (DEVICE === "cuda" ? it.skip : it)("stands for a base that is no checkpoint, and nothing else does", async () => {
    const first = path.join(work, "first");
    await train(first, "gpt2", model, { ...OPTIONS, run: first });
    const behind: ModelOptions = { ...model, journals: [first] };
    const whole = await train(run, "gpt2", behind, { ...OPTIONS, seed: 4 });
    await train(run, "gpt2", behind, { ...OPTIONS, seed: 4, run, snapshots: { every: 5 } }, 6);
    const kept = path.join(work, "kept");
    await fs.cp(run, kept, { recursive: true });
    expect(sameBits(await train(run, "gpt2", behind, "resume"), whole)).toBe(true);
    await damage(path.join(kept, "snapshots", "step-5", "model.safetensors"));
    await expect(train(kept, "gpt2", behind, "resume", STEPS, { onWarning: () => undefined })).rejects.toMatchObject({
      code: "ZO2_ERR_JOURNAL",
      message: expect.stringContaining("has other values than the base of the run") as unknown,
    });
  });

  it("that cannot be written ends no run", async () => {
    await fs.mkdir(run);
    await fs.writeFile(path.join(run, "snapshots"), "in the way");
    const codes: string[] = [];
    const whole = await train(run, "gpt2", model, OPTIONS);
    const options = { ...OPTIONS, run, snapshots: { every: 4 } };
    const weights = await train(run, "gpt2", model, options, STEPS + 1, { onWarning: ({ code }) => codes.push(code) });
    expect(sameBits(weights, whole)).toBe(true);
    expect(codes).toEqual(["ZO2_WARN_SNAPSHOT", "ZO2_WARN_SNAPSHOT"]);
  });
});

describe("a step that goes wrong", () => {
  const g = (step: number) => 0.5 + step / 8;
  /** Coefficients of all steps but some. */
  const wrongAt = (wrong: readonly number[], value: number) => ({
    projectedGradient: (step: number) => (wrong.includes(step) ? value : g(step)),
  });

  /** The weights after these steps, taken one by one without a trainer. */
  async function madeOf(model: ModelOptions, steps: readonly number[]): Promise<Uint32Array[]> {
    return withModel(folder("gpt2"), model, async (loaded) => {
      const batch = packBatch([
        { kind: "tokens", ids: Int32Array.from([1, 2, 3]), labels: Int32Array.from([-100, 2, 3]) },
      ]);
      for (const step of steps) {
        const request = { seed: 7n, step, noise: "gaussian", eps: 1e-3, learningRate: 1e-2, weightDecay: 0.1 } as const;
        await takeStep(loaded, [batch], { ...request, projectedGradient: g(step) });
        sessionOf(loaded).commit();
      }
      return weightBits(loaded);
    });
  }

  const method = { name: "mezo-sgd", learningRate: 1e-2, weightDecay: 0.1 } as const;
  const options = (onDivergence: TrainerOptions["onDivergence"], test: TrainerOptions["test"]): TrainerOptions => ({
    ...{ method, steps: STEPS, batchSize: 2, seed: 7, run, onDivergence, test },
  });
  const fp32: ModelOptions = { offload: { wire: "fp32" } };
  const fp16: ModelOptions = { rounding: "stochastic", offload: { wire: "fp16", unitBytes: 20_000 } };

  it.each(
    some<readonly [TrainerOptions["onDivergence"], ModelOptions, number, readonly number[]]>(
      [
        // An update that overflows is seen by the step behind it, which is dropped with it.
        ["skip", fp16, 1e9, [0, 1, 2, 5, 6, 7]],
        ["skip", fp32, Number.NaN, [0, 1, 2, 4, 5, 6, 7]],
        ["rollback:2", fp32, Number.POSITIVE_INFINITY, [0, 1, 4, 5, 6, 7]],
        ["rollback:50", fp32, Number.NaN, [4, 5, 6, 7]],
      ],
      2,
    ),
  )("has never been (%s)", async (action, model, value, left) => {
    const expected = await madeOf(model, left);
    const yielded: number[] = [];
    const codes: string[] = [];
    const weights = await withModel(folder("gpt2"), model, async (loaded) => {
      const trainer = new Trainer(loaded, options(action, wrongAt([3], value)));
      const o = { onWarning: ({ code }: { code: string }) => codes.push(code) };
      for await (const { index } of trainer.fit(examples, o)) yielded.push(index);
      expect(trainer.stepsTaken).toBe(STEPS);
      return weightBits(loaded);
    });
    expect(sameBits(weights, expected)).toBe(true);
    expect(codes).toEqual(["ZO2_WARN_DIVERGED"]);
    expect(yielded).toHaveLength(STEPS - 1);
    const journal = await readRun(run);
    expect([journal.steps.length, journal.dropped.length]).toEqual([STEPS, 1]);
    expect(sameBits(await withModel(folder("gpt2"), { ...model, journals: [run] }, weightBits), expected)).toBe(true);
    const short = path.join(work, "short.zo2");
    await writeCompact(short, journal);
    expect(sameBits(await withModel(folder("gpt2"), { ...model, journals: [short] }, weightBits), expected)).toBe(true);
    // Before the guard spoke nothing had been dropped.
    const three = { ...model, journals: [{ run, steps: 3 }] };
    expect(sameBits(await withModel(folder("gpt2"), three, weightBits), await madeOf(model, [0, 1, 2]))).toBe(true);
  });

  it("is dropped alike by runs that are interrupted, with snapshots of weights that count no more", async () => {
    const test = wrongAt([3], Number.NaN);
    const snapshots = { every: 1, keep: 9 };
    for (const until of [3, 5, 6]) {
      const o = until === 3 ? { ...options("rollback:2", test), snapshots } : { resume: { test } };
      await train(run, "gpt2", fp32, o, until);
    }
    const weights = await train(run, "gpt2", fp32, { resume: { test } });
    expect(sameBits(weights, await madeOf(fp32, [0, 1, 4, 5, 6, 7]))).toBe(true);
  });

  it("leaves every later step the batch that it has without", async () => {
    // The others have the gradients of their own losses.
    const test = { projectedGradient: (step: number) => (step === 3 ? Number.NaN : undefined) as number };
    const whole = await train(run, "gpt2", fp32, options("skip", test));
    const { steps } = await readRun(run);
    await fs.rm(run, { recursive: true });
    await train(run, "gpt2", fp32, options("skip", test), 5);
    expect(sameBits(await train(run, "gpt2", fp32, { resume: { test } }), whole)).toBe(true);
    expect((await readRun(run)).steps).toEqual(steps);
  });

  it("is followed by the evaluation that its place has", async () => {
    const evaluated: number[] = [];
    const evaluation = { data: examples, every: 4 };
    const skipping = { ...options("skip", wrongAt([3, 7], Number.NaN)), evaluation };
    await train(run, "gpt2", fp32, skipping, STEPS, { onEvaluation: ({ step }) => void evaluated.push(step) });
    expect(evaluated).toEqual([4, 8]);
  });

  it("ends the run by default, which goes on without it when that is asked for", async () => {
    const test = wrongAt([3], Number.NaN);
    await expect(train(run, "gpt2", fp32, options(undefined, test))).rejects.toMatchObject({
      code: "ZO2_ERR_NOT_FINITE",
      message: expect.stringContaining("step 3: the projected gradient is not a finite number") as unknown,
    });
    expect((await readRun(run)).steps).toHaveLength(3);
    await expect(train(run, "gpt2", fp32, { resume: { test } })).rejects.toMatchObject({ code: "ZO2_ERR_NOT_FINITE" });
    const weights = await train(run, "gpt2", fp32, { resume: { test, onDivergence: "skip" } });
    expect(sameBits(weights, await madeOf(fp32, [0, 1, 2, 4, 5, 6, 7]))).toBe(true);
  });

  it("that made a weight overflow as the run ended is dropped when that is taken up", async () => {
    const test = wrongAt([3], 1e9);
    await train(run, "gpt2", fp16, options("stop", test), 4);
    await expect(train(run, "gpt2", fp16, { resume: { test } })).rejects.toMatchObject({
      code: "ZO2_ERR_NOT_FINITE",
      message: expect.stringContaining("step 3: an updated weight does not fit in fp16") as unknown,
    });
    expect((await readRun(run)).dropped).toEqual([]);
    const codes: string[] = [];
    const weights = await train(run, "gpt2", fp16, { resume: { test, onDivergence: "rollback:2" } }, STEPS, {
      onWarning: ({ code }) => codes.push(code),
    });
    expect(codes).toEqual(["ZO2_WARN_DIVERGED"]);
    expect((await readRun(run)).dropped).toEqual([{ step: 3, count: 2, guard: "not-finite" }]);
    const expected = await madeOf(fp16, [0, 1, 4, 5, 6, 7]);
    expect(sameBits(weights, expected)).toBe(true);
    const short = path.join(work, "short.zo2");
    await writeCompact(short, await readRun(run));
    for (const journal of [run, short])
      expect(sameBits(await withModel(folder("gpt2"), { ...fp16, journals: [journal] }, weightBits), expected)).toBe(
        true,
      );
  });

  it("ends a run in which all steps do so", async () => {
    const failing = { ...options("skip", { projectedGradient: () => Number.NaN }), steps: 40 };
    await expect(train(run, "gpt2", fp32, failing, 40)).rejects.toMatchObject({
      code: "ZO2_ERR_NOT_FINITE",
      message: expect.stringContaining("dropping steps again and again does not help") as unknown,
    });
    expect((await readRun(run)).dropped).toHaveLength(8);
  });

  it("is seen by its size, and leaves a model that says so", async () => {
    const test = { projectedGradient: (step: number) => (step === 70 ? 1000 : g(step % 8)) };
    const long = { ...options("stop", test), steps: 72 };
    await withModel(folder("gpt2"), fp32, async (loaded) => {
      const trainer = new Trainer(loaded, long);
      const all = async () => {
        for await (const _ of trainer.fit(examples));
      };
      const refusal = {
        code: "ZO2_ERR_DIVERGED",
        message: expect.stringMatching(/step 70: the projected gradient is 1000, \d+ times/) as unknown,
      };
      await expect(all()).rejects.toMatchObject(refusal);
      await expect(all()).rejects.toMatchObject(refusal);
    });
    expect((await readRun(run)).steps).toHaveLength(70);
    const taken = await train(run, "gpt2", fp32, { resume: { test, steps: 72, onDivergence: "ignore" } }, 72);
    await fs.rm(run, { recursive: true });
    const ignoring = await train(run, "gpt2", fp32, { ...long, onDivergence: "ignore" }, 72);
    expect(sameBits(taken, ignoring)).toBe(true);
  });

  it("can be one of an objective in TypeScript", async () => {
    const loss = (wrong: boolean, step: number) => (wrong && step === 3 ? Number.NaN : 1);
    const objective = (wrong: boolean): TrainerOptions["objective"] => ({
      from: "logits",
      loss: (_, { step }) => loss(wrong, step),
    });
    const prompts = examples.map(({ ids }) => ({ ids: ids.slice(0, 6) }));
    const once = (o: TrainerOptions) =>
      withModel(folder("gpt2"), fp32, async (loaded: Model) => {
        for await (const _ of new Trainer(loaded, o).fit(prompts));
        return weightBits(loaded);
      });
    const weights = await once({ ...options("skip", undefined), objective: objective(true) });
    expect((await readRun(run)).dropped).toEqual([{ step: 3, count: 1, guard: "not-finite" }]);
    expect(sameBits(weights, await withModel(folder("gpt2"), { ...fp32, journals: [run] }, weightBits))).toBe(true);
  });
});

describe("model.withRuns", () => {
  const model: ModelOptions = { rounding: "stochastic", offload: { wire: "fp16", unitBytes: 20_000 } };

  it("switches between runs of one base, and back, to the bits of models loaded for each", async () => {
    const [a, b] = ["a", "b"].map((name) => path.join(work, name)) as [string, string];
    const behind = path.join(work, "behind");
    const ofA = await train(a, "gpt2", model, { ...OPTIONS, run: a });
    const ofB = await train(b, "gpt2", model, { ...OPTIONS, run: b, seed: 3 });
    const base = await withModel(folder("gpt2"), model, weightBits);
    const ofBehind = await withModel(folder("gpt2"), { ...model, journals: [a] }, async (loaded) => {
      for await (const _ of new Trainer(loaded, { ...OPTIONS, seed: 9, run: behind }).fit(examples));
      return weightBits(loaded);
    });
    await withModel(folder("gpt2"), model, async (loaded) => {
      const session = sessionOf(loaded);
      const uses: readonly { readonly runs: readonly string[]; readonly bits: Uint32Array[] }[] = [
        { runs: [], bits: base },
        { runs: [a], bits: ofA },
        { runs: [a], bits: ofA },
        { runs: [b], bits: ofB },
        { runs: [a, behind], bits: ofBehind },
        { runs: [a], bits: ofA },
        { runs: [a, behind], bits: ofBehind },
        { runs: [], bits: base },
      ];
      // All asked for at once: each waits for its turn.
      const revisions: number[] = [];
      const found = await Promise.all(
        uses.map(({ runs }) =>
          loaded.withRuns(runs, async (same) => {
            expect(same).toBe(loaded);
            revisions.push(session.revision);
            return weightBits(loaded);
          }),
        ),
      );
      expect(found.map((bits, i) => sameBits(bits, uses[i].bits))).toEqual(uses.map(() => true));
      // Where the weights stand already nothing is done; where a part of them does, the rest is replayed.
      expect(revisions[2]).toBe(revisions[1]);
      expect(revisions[6]).toBe(revisions[5] + 1);
      // Whatever else has changed them, the base is read again.
      const taken = new Trainer(loaded, { ...OPTIONS, steps: 2 });
      for await (const _ of taken.fit(examples));
      expect(sameBits(await loaded.withRuns([a], weightBits), ofA)).toBe(true);
      const three = await loaded.withRuns([{ run: a, steps: 3 }], weightBits);
      const expected = await withModel(folder("gpt2"), { ...model, journals: [{ run: a, steps: 3 }] }, weightBits);
      expect(sameBits(three, expected)).toBe(true);
    });
  });

  it("refuses runs of another base, and a model that is being trained, and goes on afterwards", async () => {
    const other = path.join(work, "other");
    await train(other, "opt", model, { ...OPTIONS, run: other }, 2);
    await train(run, "gpt2", model, { ...OPTIONS, run }, 2);
    await withModel(folder("gpt2"), model, async (loaded) => {
      const base = await weightBits(loaded);
      await expect(loaded.withRuns([other], weightBits)).rejects.toMatchObject({ code: "ZO2_ERR_JOURNAL" });
      await expect(loaded.withRuns([run, run], weightBits)).rejects.toMatchObject({ code: "ZO2_ERR_JOURNAL" });
      await expect(loaded.withRuns([path.join(work, "none")], weightBits)).rejects.toMatchObject({
        code: "ZO2_ERR_IO",
      });
      await expect(loaded.withRuns([{ run, steps: -1 }], weightBits)).rejects.toMatchObject({ code: "ZO2_ERR_CONFIG" });
      await expect(loaded.withRuns([], () => Promise.reject(new Error("its own")))).rejects.toThrow("its own");
      expect(sameBits(await loaded.withRuns([], weightBits), base)).toBe(true);
      const running = new Trainer(loaded, OPTIONS).fit(examples);
      await running.next();
      await expect(loaded.withRuns([run], weightBits)).rejects.toMatchObject({ code: "ZO2_ERR_BUSY" });
      await running.return();
      expect(sameBits(await loaded.withRuns([], weightBits), base)).toBe(true);
    });
  });
});
