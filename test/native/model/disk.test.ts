/**
 * Weights that rest on disk, all or some of them: whatever is done with a model has the bits of one whose weights rest
 * in host memory. The file is scratch, and nothing of it is left.
 */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import type { ModelOptions } from "../../../src/config/model.js";
import type { Tier } from "../../../src/memory/residence.js";
import type { Model } from "../../../src/model.js";
import type { Declared } from "../../../src/schedule/command.js";
import { Trainer } from "../../../src/train/trainer.js";
import { sameBits, sessionOf, some, weightBits, withModel } from "./helpers.js";
import { examples, folder, OPTIONS, STEPS, train } from "./runs.js";
import { drawing } from "../../support/drawing.js";

let work: string;
let disk: string;
beforeAll(() => {
  work = fs.mkdtempSync(path.join(os.tmpdir(), "zo2-disk-"));
  disk = path.join(work, "disk");
  fs.mkdirSync(disk);
});
afterAll(() => fs.rmSync(work, { recursive: true }));

type Offload = NonNullable<ModelOptions["offload"]>;

interface Outcome {
  readonly numbers: readonly number[];
  readonly weights: Uint32Array[];
  readonly tiers: readonly Tier[];
}

/** Steps, with evaluations between them that meet pending updates, and an evaluation at the end. */
function outcomeOf(name: string, options: ModelOptions, frozen: RegExp): Promise<Outcome> {
  return withModel(folder(name), options, async (model) => {
    const numbers: number[] = [];
    const freeze = model.parameters.map((parameter) => parameter.name).filter((own) => frozen.test(own));
    const trainer = new Trainer(model, { ...OPTIONS, freeze });
    for await (const step of trainer.fit(examples)) {
      numbers.push(step.lossPlus, step.lossMinus, step.projectedGradient);
      if (step.index === 3) numbers.push((await model.evaluate(examples.slice(0, 3))).loss);
    }
    numbers.push((await model.evaluate(examples)).loss);
    const weights = await weightBits(model);
    return { numbers, weights, tiers: model.plan().units.map(({ tier }) => tier) };
  });
}

// Tied, tied and prepared to be read, not tied at all, and two words of another family.
const NAMES = ["opt", "llama3-scaled-bf16", "llama", "gpt2"] as const;
/** Of parameters. */
const NONE = /^$/;
const TIERS: readonly Tier[] = ["disk", "host", "disk", "device"];

describe("random mixtures of tiers", () => {
  const references = new Map<string, Promise<Outcome>>();
  const reached = new Set<string>();

  it.each(
    some(
      Array.from({ length: 24 }, (_, seed) => seed),
      3,
    ),
  )("train and evaluate like weights in host memory (%d)", async (seed) => {
    const draw = drawing(seed);
    const pick = <T>(of: readonly T[]): T => of[draw(of.length)] as T;
    const name = NAMES[seed % NAMES.length] ?? "opt";
    const shared: Offload = { wire: pick(["stored", "fp32", "fp16", "bf16"]), unitBytes: pick([12_000, 30_000, 2e6]) };
    const rounding = pick(["nearest", "stochastic"] as const);
    const frozen = pick([NONE, NONE, /embed|wte/, /norm|ln_|mlp|fc1/]);
    const key = JSON.stringify([name, shared, rounding, frozen.source]);
    const reference = references.get(key) ?? outcomeOf(name, { rounding, offload: shared }, frozen);
    references.set(key, reference);
    const tiers = Array.from({ length: 256 }, () => pick(TIERS));
    const test = {
      ...{ tier: (unit: number) => tiers[unit] ?? "disk", poison: draw(2) === 0 },
      ...(draw(3) === 0 ? { delayMicroseconds: 200, delaySeed: seed } : {}),
    };
    const offload: Offload = {
      ...{ ...shared, diskPath: disk, slots: pick([1, 2, 3, 100]), writeBackEvery: pick([1, 1, 2, 7]) },
      ...{ overlap: draw(4) > 0, prepareAhead: pick(["on", "off"]) },
    };
    const mixed = await outcomeOf(name, { rounding, offload, test }, frozen);
    const expected = await reference;
    expect(mixed.numbers).toEqual(expected.numbers);
    expect(sameBits(mixed.weights, expected.weights)).toBe(true);
    expect(mixed.tiers).toEqual(mixed.tiers.map((_, unit) => tiers[unit]));
    for (const tier of mixed.tiers) reached.add(tier);
  });

  it("met all of them", () => {
    expect(reached).toEqual(new Set(["device", "host", "disk"]));
  });
});

describe.each(some(["opt", "llama"], 1))("%s with all of its weights on disk", (name) => {
  const offload = { unitBytes: 20_000, slots: 2 };
  const onDisk = (): ModelOptions => ({ offload: { ...offload, to: "disk", diskPath: disk }, test: { poison: true } });

  it("reads every unit once in a step, and writes those that it has changed", async () => {
    const passes: (readonly Declared[])[] = [];
    const test = { onPass: (_: unknown, commands: readonly Declared[]) => passes.push(commands) };
    const frozen = await outcomeOf(name, { ...onDisk(), test }, /fc1|mlp|embed/);
    const trained = passes.filter((commands) => commands.some(({ work }) => work.kind === "coefficients"));
    expect(trained).toHaveLength(STEPS);
    for (const [i, commands] of trained.entries()) {
      const unitsOf = (kind: string) =>
        commands.flatMap(({ work }) => (work.kind === kind && "unit" in work ? [work.unit] : []));
      expect(unitsOf("read").sort((a, b) => a - b)).toEqual([...frozen.tiers.keys()]);
      expect(unitsOf("write")).toEqual(unitsOf("offload"));
      expect(unitsOf("write").length > 0).toBe(i > 0);
      expect(unitsOf("write").length).toBeLessThan(frozen.tiers.length);
    }
    expect(new Set(frozen.tiers)).toEqual(new Set(["disk"]));
  });

  it("generates the same, with its cache in either place", async () => {
    const prompt = { ids: [5, 17, 3, 99, 42, 7] };
    const generated = (model: Model) =>
      Promise.all(
        (["host", "device"] as const).map(async (cache) => {
          const o = { maxNewTokens: 12, ignoreEos: true, temperature: 0.8, seed: 3, cache };
          return (await model.generate(prompt, o).result()).ids;
        }),
      );
    const after = async (model: Model) => {
      for await (const _ of new Trainer(model, { ...OPTIONS, steps: 2 }).fit(examples));
      return generated(model);
    };
    const inHost = await withModel(folder(name), { offload }, after);
    expect(await withModel(folder(name), onDisk(), after)).toEqual(inHost);
    expect(await withModel(folder(name), { offload }, generated)).not.toEqual(inHost);
  });

  it("saves the same files, from which it can be loaded", async () => {
    const saved = async (options: ModelOptions, out: string) => {
      await withModel(folder(name), options, async (model) => {
        for await (const _ of new Trainer(model, OPTIONS).fit(examples));
        await model.save(out);
      });
      return fs.readFileSync(path.join(out, "model.safetensors"));
    };
    const out = path.join(work, `${name}-disk`);
    const file = await saved(onDisk(), out);
    expect(file.equals(await saved({ offload }, path.join(work, `${name}-host`)))).toBe(true);
    const again = await withModel(out, onDisk(), weightBits);
    expect(sameBits(again, await withModel(out, { offload }, weightBits))).toBe(true);
  });

  it("freezes in each fit what that one says", async () => {
    const twice = (options: ModelOptions) =>
      withModel(folder(name), options, async (model) => {
        for (const [seed, freeze] of [["*norm*", "*embed*"], [], ["*layers.0.*"]].entries())
          for await (const _ of new Trainer(model, { ...OPTIONS, steps: 2, seed, freeze }).fit(examples));
        return weightBits(model);
      });
    expect(sameBits(await twice(onDisk()), await twice({ offload }))).toBe(true);
  });

  it("is resumed, replayed, taken up from snapshots, and switched between runs", async () => {
    const run = path.join(work, `${name}-run`);
    const whole = await train(run, name, { offload }, OPTIONS);
    await train(run, name, onDisk(), { ...OPTIONS, run, snapshots: { every: 2, keep: 2 } }, 3);
    expect(sameBits(await train(run, name, onDisk(), "resume", 5), whole)).toBe(false);
    expect(sameBits(await train(run, name, onDisk(), "resume"), whole)).toBe(true);
    const replayed = await withModel(folder(name), { ...onDisk(), journals: [run] }, weightBits);
    expect(sameBits(replayed, whole)).toBe(true);
    await withModel(folder(name), onDisk(), async (model) => {
      const base = await weightBits(model);
      expect(sameBits(await model.withRuns([run], weightBits), whole)).toBe(true);
      expect(sameBits(await model.withRuns([], weightBits), base)).toBe(true);
    });
  });
});

/** Files of this process that are, or were, in the folder. */
function openFiles(): string[] {
  return fs.readdirSync("/proc/self/fd").flatMap((fd) => {
    try {
      const file = fs.readlinkSync(path.join("/proc/self/fd", fd));
      return file.startsWith(disk) ? [file] : [];
    } catch {
      return [];
    }
  });
}

describe("the file", () => {
  const options = (): ModelOptions => ({ offload: { to: "disk", diskPath: disk, unitBytes: 20_000 } });

  it("has no name, has the plan's bytes once something is trained, and is gone with the model", async () => {
    await withModel(folder("gpt2"), options(), async (model) => {
      expect([openFiles(), model.deviceInfo().fileBytes]).toEqual([[], 0]);
      for await (const _ of new Trainer(model, { ...OPTIONS, steps: 2 }).fit(examples));
      expect(fs.readdirSync(disk)).toEqual([]);
      if (process.platform === "linux") expect(openFiles()).toEqual([expect.stringMatching(/ \(deleted\)$/)]);
      expect(model.plan().diskBytes).toBeGreaterThan(0);
      expect(model.deviceInfo().fileBytes).toBe(model.plan().diskBytes);
    });
    expect(fs.readdirSync(disk)).toEqual([]);
    if (process.platform === "linux") expect(openFiles()).toEqual([]);
  });

  it("is there from the beginning on for what is not stored as it rests", async () => {
    const { offload } = options();
    await withModel(folder("llama"), { offload: { ...offload, wire: "int8" } }, async (model) => {
      if (process.platform === "linux") expect(openFiles()).toHaveLength(1);
      const { arenas, bytes } = sessionOf(model).store.layout;
      expect(arenas[0]).toEqual({ tier: "disk", bytes: bytes.disk });
      expect(model.deviceInfo().fileBytes).toBe(bytes.disk);
      expect(bytes.disk).toBeGreaterThan(0);
    });
  });

  it("that may not be so large, or has no folder, is refused, and nothing is left", async () => {
    const { offload } = options();
    for (const [wrong, code, part] of [
      [{ diskMemory: 4096, wire: "bf16" }, "ZO2_ERR_MEMORY_BUDGET", '"offload.diskMemory"'],
      [{ diskPath: path.join(disk, "none") }, "ZO2_ERR_CONFIG", '"offload.diskPath"'],
    ] as const) {
      await expect(withModel(folder("gpt2"), { offload: { ...offload, ...wrong } }, weightBits)).rejects.toMatchObject({
        code,
        message: expect.stringContaining(part) as unknown,
      });
    }
    // By units alone, nobody has asked for a folder.
    await expect(withModel(folder("gpt2"), { test: { tier: () => "disk" } }, weightBits)).rejects.toMatchObject({
      code: "ZO2_ERR_CONFIG",
    });
    expect(fs.readdirSync(disk)).toEqual([]);
  });
});
