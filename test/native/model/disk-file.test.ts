/**
 * The file of weights on disk, as a run keeps it: a run that ends anywhere goes on from the units that are there, with
 * the bits of one that never ended, whatever has become of the file.
 */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import type { Warning } from "../../../src/base/warnings.js";
import type { ModelOptions } from "../../../src/config/model.js";
import type { TrainerOptions } from "../../../src/config/trainer.js";
import { JournalWriter } from "../../../src/journal/writer.js";
import { PLACE_FILE } from "../../../src/run/kept-files.js";
import type { ReplayProgress } from "../../../src/run/replay.js";
import { Trainer } from "../../../src/train/trainer.js";
import { drawing } from "../../support/drawing.js";
import { sameBits, sessionOf, some, weightBits, withModel } from "./helpers.js";
import { examples, folder, OPTIONS, STEPS } from "./runs.js";

let work: string;
let disk: string;
beforeEach(() => {
  work = fs.mkdtempSync(path.join(os.tmpdir(), "zo2-kept-"));
  disk = path.join(work, "disk");
  fs.mkdirSync(disk);
});
afterEach(() => {
  jest.restoreAllMocks();
  fs.rmSync(work, { recursive: true });
});

const NAME = "opt";
type Offload = NonNullable<ModelOptions["offload"]>;
const onDisk = (offload: Offload = {}, rest: Partial<ModelOptions> = {}): ModelOptions => ({
  ...rest,
  offload: { to: "disk", diskPath: disk, unitBytes: 20_000, ...offload },
});
const runDir = () => path.join(work, "run");

/** Takes steps up to `until`, and leaves the loop. */
async function begin(model: ModelOptions, options: TrainerOptions, until: number): Promise<void> {
  await withModel(folder(NAME), model, async (loaded) => {
    for await (const step of new Trainer(loaded, { ...options, run: runDir() }).fit(examples))
      if (step.index + 1 >= until) return;
  });
}

interface Resumed {
  readonly weights: Uint32Array[];
  readonly warnings: readonly Warning[];
  /** Units that came from the file; undefined where there was none. */
  readonly unitsKept: number | undefined;
  /** Updates that were replayed, and the units of each pass of them. */
  readonly replayed: number;
  readonly flushed: readonly (readonly number[])[];
  readonly units: number;
}

/** Goes on to the end in another process's place. */
async function resume(model: ModelOptions, options: Partial<TrainerOptions> = {}): Promise<Resumed> {
  const warnings: Warning[] = [];
  const onWarning = (warning: Warning) => void warnings.push(warning);
  const progress: ReplayProgress[] = [];
  const flushed: number[][] = [];
  let resuming = true;
  const test: ModelOptions["test"] = {
    ...model.test,
    onPass: (pass, commands) => {
      if (!resuming || pass.probes.length > 0) return;
      flushed.push(commands.flatMap(({ work: w }) => (w.kind === "prepare" ? [w.unit] : [])));
    },
  };
  return withModel(folder(NAME), { ...model, test }, async (loaded) => {
    const o = { onWarning, onProgress: (p: ReplayProgress) => void progress.push(p) };
    const trainer = await Trainer.resume(loaded, runDir(), { steps: STEPS, ...options }, o);
    resuming = false;
    for await (const _ of trainer.fit(examples, { onWarning }));
    const last = progress.at(-1);
    return {
      ...{ weights: await weightBits(loaded), warnings, flushed, units: sessionOf(loaded).units.length },
      ...{ unitsKept: last?.unitsKept, replayed: last?.steps ?? 0 },
    };
  });
}

async function wholeRun(model: ModelOptions, options: TrainerOptions): Promise<Uint32Array[]> {
  return withModel(folder(NAME), model, async (loaded) => {
    for await (const _ of new Trainer(loaded, options).fit(examples));
    return weightBits(loaded);
  });
}

/** The only file of the run. */
const place = () => {
  const { files } = JSON.parse(fs.readFileSync(path.join(runDir(), PLACE_FILE), "utf8"));
  expect(files).toHaveLength(1);
  return files[0];
};
const disked = (warnings: readonly Warning[]) => warnings.filter(({ code }) => code === "ZO2_WARN_DISK");

describe.each(
  some(
    [
      ["fp32", { wire: "fp32" }, "nearest"],
      ["fp32, every third visit", { wire: "fp32", writeBackEvery: 3 }, "nearest"],
      ["fp16 stochastic", { wire: "fp16" }, "stochastic"],
      ["int8, every third visit, without overlap", { wire: "int8", writeBackEvery: 3, overlap: false }, "stochastic"],
    ] as const,
    2,
  ),
)("a run in %s", (_, offload, rounding) => {
  it("that is left goes on from its file, and replays nothing", async () => {
    const model = onDisk(offload, { rounding });
    const whole = await wholeRun(model, OPTIONS);
    await begin(model, OPTIONS, 5);
    const { path: file } = place();
    expect([path.dirname(file), fs.readdirSync(disk)]).toEqual([disk, [path.basename(file)]]);
    const { weights, warnings, unitsKept, replayed, units } = await resume(model);
    expect([unitsKept, replayed, disked(warnings)]).toEqual([units, 0, []]);
    expect(sameBits(weights, whole)).toBe(true);
    // The run is whole, and needs it no more.
    expect([fs.readdirSync(disk), fs.existsSync(path.join(runDir(), PLACE_FILE))]).toEqual([[], false]);
  });
});

describe("a unit", () => {
  const model = () => onDisk({ wire: "fp16" }, { rounding: "stochastic" });
  const damage = (change: (bytes: Buffer) => void) => {
    const { path: file } = place();
    const bytes = fs.readFileSync(file);
    change(bytes);
    fs.writeFileSync(file, bytes);
  };

  it.each(["its bytes", "its seal", "the seal of another"])(
    "that has a mistake in %s is rebuilt alone",
    async (what) => {
      const whole = await wholeRun(model(), OPTIONS);
      await begin(model(), OPTIONS, 5);
      const [, torn, other] = place().units;
      damage((bytes) => {
        if (what === "its bytes") bytes[torn.offset + (torn.bytes >> 1)]! ^= 4;
        else if (what === "its seal") bytes[torn.seal + 27]! ^= 1;
        else bytes.copy(bytes, torn.seal, other.seal, other.seal + 4096);
      });
      const { weights, warnings, unitsKept, replayed, flushed, units } = await resume(model());
      expect([unitsKept, replayed]).toEqual([units - 1, 5]);
      expect(flushed).toEqual([[torn.unit]]);
      expect(disked(warnings)).toEqual([
        { code: "ZO2_WARN_DISK", message: expect.stringMatching(`: 1 of the units .*; ${units - 1} were taken`) },
      ]);
      expect(sameBits(weights, whole)).toBe(true);
    },
  );

  it("that an earlier pass has written lacks the later updates alone", async () => {
    const whole = await wholeRun(model(), OPTIONS);
    await begin(model(), OPTIONS, 3);
    const { path: file, units: places } = place();
    const earlier = fs.readFileSync(file);
    const count = await withModel(folder(NAME), model(), async (loaded) => {
      const trainer = await Trainer.resume(loaded, runDir(), {});
      for await (const step of trainer.fit(examples)) if (step.index + 1 >= 6) break;
      return sessionOf(loaded).units.length;
    });
    const stale = places.slice(1, 3);
    damage((bytes) => {
      for (const { seal, offset, bytes: count } of stale) earlier.copy(bytes, seal, seal, offset + count);
    });
    const { weights, warnings, unitsKept, replayed, flushed } = await resume(model());
    expect([unitsKept, replayed, disked(warnings)]).toEqual([count, 3, []]);
    expect(flushed).toEqual([stale.map(({ unit }: { unit: number }) => unit)]);
    expect(sameBits(weights, whole)).toBe(true);
  });
});

describe("a file", () => {
  const model = () => onDisk({ wire: "fp16" }, { rounding: "stochastic" });

  it.each(some([1, 2, 3, 4, 5, 6, 7, 8], 2))(
    "that is damaged anywhere costs a replay, and no bit (%d)",
    async (seed) => {
      const draw = drawing(seed);
      const whole = await wholeRun(model(), OPTIONS);
      await begin(model(), OPTIONS, 5);
      const { path: file } = place();
      const bytes = fs.readFileSync(file);
      const way = seed % 4;
      if (way === 0) fs.writeFileSync(file, bytes.subarray(0, draw(bytes.length)));
      else if (way === 1) for (let i = 0; i < 20; i++) bytes[draw(bytes.length)]! ^= 1 + draw(255);
      else if (way === 2) bytes.fill(0xff, draw(bytes.length));
      else bytes[draw(32)]! ^= 1;
      if (way !== 0) fs.writeFileSync(file, bytes);
      const { weights, warnings } = await resume(model());
      expect(sameBits(weights, whole)).toBe(true);
      expect(disked(warnings).length).toBe(1);
    },
  );

  it.each(["gone", "of another run", "of units that are cut otherwise", "named by a note that says nothing"])(
    "that is %s is not used",
    async (what) => {
      const whole = await wholeRun(model(), OPTIONS);
      await begin(model(), OPTIONS, 5);
      const { path: file } = place();
      let other = model();
      if (what === "gone") fs.rmSync(file);
      else if (what === "of another run") {
        const [own, note] = [
          fs.readFileSync(path.join(runDir(), "run.zo2")),
          fs.readFileSync(path.join(runDir(), PLACE_FILE)),
        ];
        fs.rmSync(runDir(), { recursive: true });
        await begin(model(), { ...OPTIONS, seed: 3n }, 5);
        fs.copyFileSync(place().path, file);
        fs.writeFileSync(path.join(runDir(), "run.zo2"), own);
        fs.writeFileSync(path.join(runDir(), PLACE_FILE), note);
      } else if (what.startsWith("of units"))
        other = onDisk({ wire: "fp16", unitBytes: 30_000 }, { rounding: "stochastic" });
      else fs.writeFileSync(path.join(runDir(), PLACE_FILE), "{}");
      const { weights, warnings, unitsKept } = await resume(other);
      expect([unitsKept, disked(warnings).length]).toEqual([undefined, 1]);
      if (!what.startsWith("of units")) expect(sameBits(weights, whole)).toBe(true);
    },
  );

  it("is taken by weights that rest elsewhere then, and goes when the run is whole", async () => {
    const whole = await wholeRun(model(), OPTIONS);
    await begin(model(), OPTIONS, 5);
    const { path: file } = place();
    const other = { ...model(), offload: { ...model().offload, to: "host" } } as ModelOptions;
    const { weights, unitsKept, replayed, units } = await resume(other);
    expect([unitsKept, replayed, fs.existsSync(file)]).toEqual([units, 0, false]);
    expect(sameBits(weights, whole)).toBe(true);
  });

  it("that had a name in an earlier run of the model gets no other, and the warning says what to do", async () => {
    const warnings: Warning[][] = [[], []];
    await withModel(folder(NAME), model(), async (loaded) => {
      for (const [i, told] of warnings.entries()) {
        const run = path.join(work, `run-${i}`);
        const options = { onWarning: (warning: Warning) => void told.push(warning) };
        for await (const _ of new Trainer(loaded, { ...OPTIONS, steps: 2, run }).fit(examples, options));
      }
    });
    expect(warnings.map(disked)).toEqual([
      [],
      [{ code: "ZO2_WARN_DISK", message: expect.stringMatching(/name of an earlier run.*load the model anew/) }],
    ]);
  });

  it("that cannot be given a name is scratch, and says so", async () => {
    const warnings: Warning[] = [];
    await withModel(folder(NAME), model(), async (loaded) => {
      const { store } = sessionOf(loaded);
      const link = () => Promise.reject(Object.assign(new Error("no such names here"), { code: "EOPNOTSUPP" }));
      jest.spyOn(store, "scratchFiles", "get").mockReturnValue([{ units: [], writeHead: async () => {}, link }]);
      const trainer = new Trainer(loaded, { ...OPTIONS, run: runDir() });
      for await (const step of trainer.fit(examples, { onWarning: (w) => void warnings.push(w) }))
        if (step.index === 2) break;
    });
    expect(disked(warnings)).toEqual([
      { code: "ZO2_WARN_DISK", message: expect.stringMatching(/not kept: no such names here; a crash costs/) },
    ]);
    expect([fs.readdirSync(disk), fs.existsSync(path.join(runDir(), PLACE_FILE))]).toEqual([[], false]);
  });
});

describe("steps that were dropped", () => {
  const wrong = { projectedGradient: (step: number) => (step === 4 ? Number.NaN : 0.25 * (step + 1)) };

  it("are in no unit that the run goes on from", async () => {
    const model = onDisk({ wire: "fp32" });
    const options = { ...OPTIONS, onDivergence: "rollback:2" as const, test: wrong };
    const quiet = { onWarning: () => undefined };
    const run = path.join(work, "whole");
    const whole = await withModel(folder(NAME), model, async (loaded) => {
      for await (const _ of new Trainer(loaded, { ...options, run }).fit(examples, quiet));
      return weightBits(loaded);
    });
    await withModel(folder(NAME), model, async (loaded) => {
      for await (const step of new Trainer(loaded, { ...options, run: runDir() }).fit(examples, quiet))
        if (step.index === 5) break;
    });
    const { weights, unitsKept, replayed, units } = await resume(model, { test: wrong });
    expect([unitsKept, replayed]).toEqual([units, 0]);
    expect(sameBits(weights, whole)).toBe(true);
  });
});

describe("what stands between steps", () => {
  it.each(
    some(
      [
        [{ deferredUpdate: false }, {}],
        [{ deferredUpdate: false, durability: "step" }, { overlap: false }],
        [{ durability: "never" }, { writeBackEvery: 3, slots: 1 }],
        [{}, { writeBackEvery: 2, overlap: false }],
      ] as const,
      2,
    ),
  )("waits for no record that does not come (%j, %j)", async (changed, offload) => {
    const model = onDisk({ wire: "fp32", ...offload });
    const options = { ...OPTIONS, ...changed, evaluation: { data: examples.slice(0, 2), every: 1 } };
    const whole = await wholeRun(onDisk({ wire: "fp32" }), OPTIONS);
    await withModel(folder(NAME), model, async (loaded) => {
      const trainer = new Trainer(loaded, { ...options, run: runDir(), snapshots: { every: 2, keep: 1 } });
      for (const until of [3, 5]) {
        // Two loops on one model: the second goes on behind the first.
        for await (const step of trainer.fit(examples)) {
          if (step.index % 2 === 1) await loaded.evaluate(examples.slice(0, 1));
          else await loaded.save(path.join(work, "saved"));
          if (step.index + 1 >= until) break;
        }
      }
    });
    const { weights, warnings, unitsKept, replayed, units } = await resume(model, options);
    expect([unitsKept, replayed, disked(warnings)]).toEqual([units, 0, []]);
    expect(sameBits(weights, whole)).toBe(true);
  });

  it("leaves one model's file to the run that trains it now", async () => {
    const run = (n: number) => path.join(work, `run-${n}`);
    await withModel(folder(NAME), onDisk({ wire: "fp32" }), async (loaded) => {
      for (const n of [1, 2]) {
        const trainer = new Trainer(loaded, { ...OPTIONS, seed: n, run: run(n) });
        for await (const step of trainer.fit(examples)) if (step.index === 1) break;
        const [{ path: file }] = JSON.parse(fs.readFileSync(path.join(run(n), PLACE_FILE), "utf8")).files;
        expect(fs.readdirSync(disk)).toEqual([path.basename(file)]);
      }
    });
  });
});

describe("a record that is not on the disk", () => {
  it("keeps units with its update from being written, and nothing else", async () => {
    let hold: (() => void) | null = null;
    let syncs = 0;
    const { sync } = JournalWriter.prototype;
    jest.spyOn(JournalWriter.prototype, "sync").mockImplementation(async function (this: JournalWriter) {
      syncs++;
      await new Promise<void>((resolve) => (hold = resolve));
      return sync.call(this);
    });
    await withModel(folder(NAME), onDisk({ wire: "fp32" }), async (loaded) => {
      const trainer = new Trainer(loaded, { ...OPTIONS, run: runDir() });
      const steps = trainer.fit(examples);
      await steps.next();
      // The pass of the second step has the first one's update to store.
      for (let i = 0; i < 50 && syncs === 0; i++) await new Promise((resolve) => setTimeout(resolve, 10));
      const { path: file, units } = place();
      const sealed = () => {
        const bytes = fs.readFileSync(file);
        return units.filter(({ seal }: { seal: number }) => bytes[seal] !== 0).length;
      };
      await new Promise((resolve) => setTimeout(resolve, 200));
      expect([syncs, sealed()]).toEqual([1, 0]);
      hold!();
      for (let i = 0; i < 500 && sealed() === 0; i++) await new Promise((resolve) => setTimeout(resolve, 10));
      expect(sealed()).toBeGreaterThan(0);
      jest.restoreAllMocks();
      await steps.return();
      expect(sealed()).toBe(units.length);
    });
  });

  it("because that failed ends the run, and nothing waits for it", async () => {
    jest.spyOn(JournalWriter.prototype, "sync").mockRejectedValue(new Error("the disk is full"));
    await withModel(folder(NAME), onDisk({ wire: "fp32" }), async (loaded) => {
      const trainer = new Trainer(loaded, { ...OPTIONS, run: runDir() });
      const taken = async () => {
        for await (const _ of trainer.fit(examples));
      };
      await expect(taken()).rejects.toThrow("the disk is full");
    });
    jest.restoreAllMocks();
    const { weights } = await resume(onDisk({ wire: "fp32" }));
    expect(sameBits(weights, await wholeRun(onDisk({ wire: "fp32" }), OPTIONS))).toBe(true);
  });
});
