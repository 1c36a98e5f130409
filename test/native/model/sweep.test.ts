/** Sweeps: each trial to the bits of the same run alone, whatever was trained before it on the same model. */
import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import type { ModelOptions } from "../../../src/config/model.js";
import { readRun } from "../../../src/journal/read-run.js";
import { sweep, type SweepHooks, type SweepOptions, type SweepResult } from "../../../src/sweep/sweep.js";
import { sameBits, some, weightBits, withModel } from "./helpers.js";
import { examples, folder, train } from "./runs.js";

let work: string;
let dir: string;
beforeEach(async () => {
  work = await fs.mkdtemp(path.join(os.tmpdir(), "zo2-sweep-"));
  dir = path.join(work, "rates");
});
afterEach(() => fs.rm(work, { recursive: true, force: true }));

const STEPS = 4;
const held = examples.slice(0, 3);
const common = {
  ...{ steps: STEPS, batchSize: 2, seed: 2n ** 63n + 5n },
  method: { name: "mezo-sgd", learningRate: 1e-2, weightDecay: 0.1 },
  evaluation: { data: held, every: 2 },
};
const grid = { learningRate: [1e-2, 3e-3], method: ["mezo-sgd", { name: "fzoo", directions: [2, 3] }] };
const asked = (more: Partial<SweepOptions> = {}): SweepOptions => ({
  dir,
  data: examples,
  trainer: common,
  grid,
  ...more,
});

const swept = (model: ModelOptions, options: SweepOptions, hooks: SweepHooks = {}): Promise<SweepResult> =>
  withModel(folder("gpt2"), model, (loaded) => sweep(loaded, options, hooks));

/** The records of a run, but for when and where it was written. */
async function recordsOf(run: string) {
  const { header, steps, evaluations } = await readRun(run);
  return { header: { ...header, created: "" }, steps, evaluations };
}

describe.each(
  some<readonly [string, () => Promise<ModelOptions> | ModelOptions]>(
    [
      ["fp16, stochastic, streamed", () => ({ rounding: "stochastic", offload: { wire: "fp16", unitBytes: 20_000 } })],
      ["resident", () => ({ offload: { to: "device" } })],
      [
        "on disk",
        () => ({ offload: { to: "disk", diskPath: path.join(work, "disk"), wire: "fp32", unitBytes: 20_000 } }),
      ],
    ],
    1,
  ),
)("a sweep (%s)", (_, modelOf) => {
  beforeEach(() => fs.mkdir(path.join(work, "disk")));

  it("makes of each trial what the same run makes alone, and leaves the base", async () => {
    const model = await modelOf();
    const base = await withModel(folder("gpt2"), model, weightBits);
    const { trials, after } = await withModel(folder("gpt2"), model, async (loaded) => {
      const result = await sweep(loaded, asked());
      return { ...result, after: await weightBits(loaded) };
    });
    expect(sameBits(after, base)).toBe(true);
    expect(trials.map(({ name }) => name).sort()).toEqual([
      ...["01-learningRate-0.01-method-mezo-sgd", "02-learningRate-0.01-method-fzoo-directions-2"],
      ...["03-learningRate-0.01-method-fzoo-directions-3", "04-learningRate-3e-3-method-mezo-sgd"],
      ...["05-learningRate-3e-3-method-fzoo-directions-2", "06-learningRate-3e-3-method-fzoo-directions-3"],
    ]);
    for (const { name, dir: run, options, steps } of trials) {
      expect(steps).toBe(STEPS);
      const alone = path.join(work, name);
      const weights = await train(alone, "gpt2", model, { ...options, run: alone }, STEPS + 1);
      expect(await recordsOf(run)).toEqual(await recordsOf(alone));
      const replayed = await withModel(folder("gpt2"), { ...model, journals: [run] }, weightBits);
      expect(sameBits(replayed, weights)).toBe(true);
      expect(sameBits(replayed, base)).toBe(false);
    }
    const losses = trials.map(({ evaluation }) => evaluation?.loss ?? NaN);
    expect(losses).toEqual([...losses].sort((a, b) => a - b));
  });

  it("that is stopped goes on where it was, to the same bits", async () => {
    const model = await modelOf();
    const whole = await swept(model, asked());
    const parts = path.join(work, "parts");
    const stop = new AbortController();
    let taken = 0;
    const stopped = swept(model, asked({ dir: parts }), {
      signal: stop.signal,
      onStep: () => {
        if (++taken === STEPS + 2) stop.abort();
      },
    });
    await expect(stopped).rejects.toMatchObject({ code: "ZO2_ERR_ABORTED" });
    const trained: [string, boolean][] = [];
    const steps: number[] = [];
    const again = await swept(model, asked({ dir: parts }), {
      onTrial: ({ name, resumed }) => trained.push([name.slice(0, 2), resumed]),
      onStep: ({ index }) => steps.push(index),
    });
    expect(trained).toEqual([["02", true], ...["03", "04", "05", "06"].map((name) => [name, false])]);
    expect(steps.slice(0, STEPS - 1)).toEqual([2, 3, 0]);
    expect(again.trials.filter(({ reused }) => reused).map(({ name }) => name.slice(0, 2))).toEqual(["01"]);
    expect(again.trials.map(({ name, evaluation }) => [name, evaluation])).toEqual(
      whole.trials.map(({ name, evaluation }) => [name, evaluation]),
    );
    for (const { name } of whole.trials)
      expect((await recordsOf(path.join(parts, name))).steps).toEqual((await recordsOf(path.join(dir, name))).steps);
  });
});

describe("a sweep", () => {
  const model: ModelOptions = { offload: { wire: "fp32" } };

  it("takes trials that its folder keeps, whatever else is asked for, and writes down all of them", async () => {
    await swept(model, asked({ grid: { learningRate: [1e-2, 3e-3] } }));
    const trained: string[] = [];
    const more = asked({ grid: { learningRate: [1e-3, 3e-3], seed: common.seed }, trials: [{ eps: 1e-2 }] });
    const { trials, report } = await swept(model, more, { onTrial: ({ name }) => trained.push(name) });
    expect(trained).toEqual(["03-learningRate-1e-3-seed-9223372036854775813", "04-eps-0.01"]);
    const reused = trials.filter((trial) => trial.reused);
    expect(reused.map(({ name }) => name)).toEqual(["02-learningRate-3e-3"]);
    const written = JSON.parse(await fs.readFile(path.join(dir, "sweep.json"), "utf8"));
    expect(written.trials.map(({ name }: { name: string }) => name)).toEqual(trials.map(({ name }) => name));
    expect(report).toBe(path.join(dir, "report.html"));
    for (const { name } of trials) expect(await fs.readFile(String(report), "utf8")).toContain(name);
    const metrics = await fs.readFile(path.join(dir, "04-eps-0.01", "metrics.jsonl"), "utf8");
    expect(metrics.trim().split("\n")).toHaveLength(STEPS + 2);
  });

  it("ends a trial that diverges, trains the next from the base, and does not train it again", async () => {
    // Weights of 1e30 have losses that are not finite.
    const diverging = asked({ grid: { learningRate: [1e30, 1e-2] } });
    const { trials } = await swept(model, diverging);
    expect(trials.map(({ name, state }) => [name.slice(0, 2), state])).toEqual([
      ["02", "done"],
      ["01", "diverged"],
    ]);
    expect(trials[1]?.message).toContain("not a finite number");
    const alone = path.join(work, "alone");
    await train(alone, "gpt2", model, { ...trials[0]!.options, run: alone }, STEPS + 1);
    expect(await recordsOf(trials[0]!.dir)).toEqual(await recordsOf(alone));
    const trained: string[] = [];
    const again = await swept(model, diverging, { onTrial: ({ name }) => trained.push(name) });
    expect(trained).toEqual([]);
    expect(again.trials.map(({ state, message }) => [state, message])).toEqual(
      trials.map(({ state, message }) => [state, message]),
    );
  });

  it("refuses a folder whose trials began with other data or another base, before it trains any", async () => {
    await swept(model, asked({ grid: { seed: [1] } }));
    const onTrial = () => {
      throw new Error("was begun");
    };
    const others = swept(model, asked({ data: examples.slice(1), grid: { seed: [2, 1] } }), { onTrial });
    await expect(others).rejects.toMatchObject({ code: "ZO2_ERR_JOURNAL" });
    const wire = swept({ offload: { wire: "fp16" } }, asked({ grid: { seed: [2, 1] } }), { onTrial });
    await expect(wire).rejects.toThrow(/trained as fp32 and is loaded as fp16/);
  });

  it("begins nothing where any trial's options are wrong, or nothing tells trials apart", async () => {
    const wrong = swept(model, asked({ grid: { eps: [1e-3, -1], freeze: [["no such *"]] } }));
    await expect(wrong).rejects.toThrow('grid.eps[1]: option "method.eps" is -1; must be more than 0');
    await expect(swept(model, asked({ grid: { freeze: [["no such *"]] } }))).rejects.toThrow(/no such/);
    const { evaluation: _, ...without } = common;
    await expect(swept(model, asked({ trainer: without }))).rejects.toThrow('"trainer.evaluation" is missing');
    await expect(fs.readdir(dir)).rejects.toMatchObject({ code: "ENOENT" });
  });
});
