/**
 * An allocation that is refused, each in turn, wherever weights rest and whatever is done with the model: an error that
 * says how much was asked for and what to change, nothing left behind, and a model that goes on with the bits of one
 * that never met it.
 */
import { createHash } from "node:crypto";
import { setTimeout } from "node:timers/promises";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import type { ModelOptions } from "../../../src/config/model.js";
import type { TrainerOptions } from "../../../src/config/trainer.js";
import { readRun } from "../../../src/journal/read-run.js";
import { loadModel } from "../../../src/load.js";
import type { CacheTier } from "../../../src/memory/plan.js";
import type { Tier } from "../../../src/memory/residence.js";
import type { Model } from "../../../src/model.js";
import { Trainer } from "../../../src/train/trainer.js";
import { DEVICE } from "../device.js";
import { openFilesIn } from "../support.js";
import { sessionOf, weightBits } from "./helpers.js";
import { examples, folder, OPTIONS } from "./runs.js";

let work: string;
beforeEach(() => {
  work = fs.mkdtempSync(path.join(os.tmpdir(), "zo2-shortage-"));
});
afterEach(() => fs.rmSync(work, { recursive: true }));

const units = { wire: "bf16", unitBytes: 150_000, slots: 2 } as const;
const onDisk = () => ({ diskPath: path.join(work, "disk") });
/** By where weights rest; `auto`: they are moved when a plan is made, for there is not room for all. */
const ARRANGEMENTS: Readonly<Record<string, () => ModelOptions>> = {
  resident: () => ({ offload: { ...units, to: "device" }, rounding: "stochastic" }),
  host: () => ({ offload: { ...units, to: "host", writeBackEvery: 2 } }),
  disk: () => ({ offload: { ...units, ...onDisk(), to: "disk" } }),
  mixed: () => {
    const tiers: readonly Tier[] = ["disk", "host", "device"];
    return {
      offload: { ...units, ...onDisk(), prepareAhead: "on", writeBackEvery: 3 },
      test: { tier: (unit) => tiers[unit % 3] ?? "host" },
    };
  },
  auto: () => ({ offload: { ...units, to: "auto", slots: undefined, deviceMemory: 1_500_000 } }),
};

const method = { name: "mezo-sgd", learningRate: 1e-3, eps: 1e-2 } as const;
const ofText: TrainerOptions = {
  ...{ method, steps: 1, batchSize: 2 },
  objective: {
    from: "text",
    loss: (outputs, { branch }) => outputs.reduce((sum, { generated }) => sum + (generated[0] ?? 0), 0) + branch.length,
    generate: { maxNewTokens: 2, ignoreEos: true, cache: "host" },
  },
};

/** Of all files, by their paths. */
function filesIn(dir: string): Readonly<Record<string, string>> {
  if (!fs.existsSync(dir)) return {};
  const files = fs.readdirSync(dir, { recursive: true, encoding: "utf8" }).sort();
  return Object.fromEntries(
    files.flatMap((file) => {
      const full = path.join(dir, file);
      if (!fs.statSync(full).isFile()) return [];
      return [[file, createHash("sha256").update(fs.readFileSync(full)).digest("hex")]];
    }),
  );
}

/** What was asked for, and an option that asks for less. */
const REFUSED = new RegExp(
  [
    String.raw`^.*(\d+ bytes\) (of (device|host) memory|in the folder /.*): .*\d+ bytes of (device|host|file) memory`,
    "|memory of the device: .*memory for a (layout|program|stream)).* the test mode refuses (it|them)",
    '.*option.* "[a-zA-Z.]+"',
  ].join(""),
  "s",
);

function expectRefusal(error: unknown): void {
  expect(error).toMatchObject({
    name: "Zo2Error",
    code: "ZO2_ERR_OUT_OF_MEMORY",
    message: expect.stringMatching(REFUSED) as unknown,
  });
}

async function weightsOf(model: Model): Promise<string> {
  const hash = createHash("sha256");
  for (const bits of await weightBits(model)) hash.update(bits);
  return hash.digest("hex");
}

interface Life {
  /** Of everything that was done. */
  readonly outcome: readonly unknown[];
  readonly allocations: number;
  /** What was refused; null: nothing. */
  readonly error: unknown;
  /** What was being done then. */
  readonly during: string | null;
}

/** What is done with a model. */
interface Doing {
  readonly model: Model;
  /** Does it, and once more where memory is refused; what is there then has passed `check`. */
  readonly does: (name: string, body: () => Promise<unknown>, check?: () => void) => Promise<void>;
}

/** Waits for what was given up: nothing is allocated but the plan in force, and of that no cache. */
async function expectPlanned(model: Model): Promise<void> {
  const { deviceBytes: device, hostBytes: host, diskBytes: disk } = model.plan();
  const { cache, options } = sessionOf(model).plan ?? {};
  const given = (tier: CacheTier) => (options?.cache?.tier === tier ? (cache?.bytes ?? 0) : 0);
  const planned = [device - given("device"), host - given("host"), disk];
  const allocated = () => {
    const { deviceBytes, hostBytes, fileBytes } = model.deviceInfo();
    return [deviceBytes, hostBytes, fileBytes];
  };
  for (let waited = 0; waited < 2000 && allocated().join() !== planned.join(); waited++) await setTimeout(1);
  expect(allocated()).toEqual(planned);
}

/** What was being done cannot be done again with this model. */
class Ended extends Error {}

/** A model from its loading to its end, with the `refused`-th allocation refused. */
async function live(
  arrangement: () => ModelOptions,
  body: (doing: Doing) => Promise<void>,
  refused?: number,
): Promise<Life> {
  const disk = path.join(work, "disk");
  fs.mkdirSync(disk, { recursive: true });
  const { test, ...options } = arrangement();
  const gone = () => {
    expect(fs.readdirSync(disk)).toEqual([]);
    expect(openFilesIn(work)).toBe(0);
  };
  let model: Model;
  try {
    const o = { device: DEVICE, threads: 2, ...options, test: { ...test, refuseAllocation: refused } };
    model = await loadModel(folder("opt"), o);
  } catch (error) {
    gone();
    return { outcome: [], allocations: 0, error, during: "load" };
  }
  const outcome: unknown[] = [];
  let error: unknown = null;
  let during: string | null = null;
  const does: Doing["does"] = async (name, work, check) => {
    let result: unknown;
    try {
      result = await work();
    } catch (caught) {
      if (error !== null) throw caught;
      error = caught;
      during = name;
      check?.();
      result = await work();
    }
    await expectPlanned(model);
    outcome.push({ name, result });
  };
  try {
    await body({ model, does });
    return { outcome, allocations: model.deviceInfo().allocations, error, during };
  } catch (ended) {
    if (!(ended instanceof Ended)) throw ended;
    return { outcome: [], allocations: 0, error: ended.cause, during: ended.message };
  } finally {
    await model.dispose();
    gone();
  }
}

async function trains({ does }: Doing, name: string, trainer: Trainer, data: readonly object[]): Promise<void> {
  const steps: number[] = [];
  await does(name, async () => {
    for await (const { lossPlus, lossMinus, projectedGradient } of trainer.fit(data))
      steps.push(lossPlus, lossMinus, projectedGradient);
    return [...steps];
  });
}

async function saves({ model, does }: Doing, name: string, out: string): Promise<void> {
  const before = filesIn(out);
  const beside = fs.readdirSync(work);
  const save = async () => {
    await model.save(out, { dtype: "fp32" });
    return filesIn(out);
  };
  await does(name, save, () => {
    expect(filesIn(out)).toEqual(before);
    expect(fs.readdirSync(work)).toEqual(beside);
  });
}

const KEPT = { ...OPTIONS, steps: 3, snapshots: { every: 2, keep: 1 } };

/** All that allocates but what begins with a run. */
async function everything(doing: Doing): Promise<void> {
  const { model, does } = doing;
  const [run, out] = [path.join(work, "run"), path.join(work, "out")];
  for (const dir of [run, out]) fs.rmSync(dir, { recursive: true, force: true });
  await does("evaluate", async () => (await model.evaluate(examples.slice(0, 2))).loss);
  await trains(doing, "fit", new Trainer(model, { ...KEPT, run }), examples);
  await does("evaluate all", async () => (await model.evaluate(examples)).loss);
  for (const cache of ["host", "device"] as const)
    await does(`generate, cache ${cache}`, async () => {
      const o = { maxNewTokens: 3, ignoreEos: true, cache };
      return (await model.generate({ ids: [5, 17, 3, 99] }, o).result()).ids;
    });
  await saves(doing, "save", out);
  await does("read the run", async () => (await readRun(run)).steps.length);
  await trains(doing, "fit an objective over text", new Trainer(model, ofText), examples);
  await saves(doing, "save in its place", out);
  await does("weights", () => weightsOf(model));
}

/** A model that goes on with a run, which is unchanged while that fails; then it has to be loaded again. */
const goesOn = (run: string) => async (doing: Doing) => {
  const { model, does } = doing;
  const before = filesIn(run);
  const lossOf = async () => (await model.evaluate(examples.slice(0, 2))).loss;
  await does("switch", () => model.withRuns([run], lossOf));
  await does("switch back", () => model.withRuns([], lossOf));
  let trainer: Trainer;
  try {
    trainer = await Trainer.resume(model, run, { steps: 4 });
  } catch (error) {
    expect(filesIn(run)).toEqual(before);
    throw new Ended("resume", { cause: error });
  }
  await trains(doing, "fit the rest", trainer, examples);
  await does("evaluate", lossOf);
};

/**
 * Of so many allocations one is refused: each in turn where ZO2_TEST_ALL is set, which takes minutes; else the most
 * where weights rest in all places, which has every kind of allocation, and the fewest where an emulated device takes a
 * second for a life.
 */
function strideOf(name: string): number {
  if (process.env["ZO2_TEST_ALL"] !== undefined) return 1;
  return DEVICE !== "cuda" && name === "mixed" ? 5 : 17;
}

/** Lives with each allocation refused in turn; returns how often what was being done then. */
async function refuseEach(
  arrangement: () => ModelOptions,
  stride: number,
  body: (doing: Doing) => Promise<void>,
): Promise<ReadonlyMap<string, number>> {
  const whole = await live(arrangement, body);
  expect(whole.error).toBeNull();
  const met = new Map<string, number>();
  for (let refused = 1; refused <= whole.allocations; refused += stride) {
    const { outcome, error, during } = await live(arrangement, body, refused);
    if (outcome.length > 0) expect({ refused, outcome }).toEqual({ refused, outcome: whole.outcome });
    if (error !== null) expectRefusal(error);
    const when = during ?? "another way was taken";
    met.set(when, (met.get(when) ?? 0) + 1);
  }
  return met;
}

const NAMES = Object.keys(ARRANGEMENTS).filter((name) => DEVICE === "cpu" || strideOf(name) === 1 || name === "mixed");

describe.each(NAMES)("%s", (name) => {
  const arrangement = ARRANGEMENTS[name] as () => ModelOptions;
  const stride = strideOf(name);

  it("trains, generates and is saved after whatever allocation is refused", async () => {
    const met = await refuseEach(arrangement, stride, everything);
    const refused = ["fit", ...(stride > 5 ? [] : ["load", "evaluate", "generate, cache host"])];
    for (const during of refused) expect(met.get(during)).toBeGreaterThan(0);
  }, 600_000);

  it("goes on with a run, or leaves it as it is", async () => {
    const run = path.join(work, "run");
    await live(arrangement, async ({ model }) => {
      for await (const _ of new Trainer(model, { ...KEPT, run }).fit(examples));
    });
    const copy = path.join(work, "copy");
    const met = await refuseEach(arrangement, stride, async (doing) => {
      fs.rmSync(copy, { recursive: true, force: true });
      fs.cpSync(run, copy, { recursive: true });
      await goesOn(copy)(doing);
    });
    // To resume takes two allocations.
    const refused = ["switch", ...(stride > 5 ? [] : ["load", "fit the rest"]), ...(stride === 1 ? ["resume"] : [])];
    for (const during of refused) expect(met.get(during)).toBeGreaterThan(0);
  }, 600_000);
});
