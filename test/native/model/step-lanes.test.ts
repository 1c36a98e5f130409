/** The lanes of a step in a run's folder: those of its commands, at no cost in bits. */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import type { ModelOptions } from "../../../src/config/model.js";
import type { TrainerOptions } from "../../../src/config/trainer.js";
import { LANES_FILE, readLanes, type RunLanes } from "../../../src/page/lanes-file.js";
import { writeReport } from "../../../src/page/report.js";
import type { Declared } from "../../../src/schedule/command.js";
import { Trainer } from "../../../src/train/trainer.js";
import { sameBits, sessionOf, some, weightBits, withModel } from "./helpers.js";
import { examples, folder, OPTIONS } from "./runs.js";

/** Whether the device passes for one whose figures are known. */
let known = false;
jest.mock("../../../src/simulate/hardware.js", () => {
  const real = jest.requireActual<typeof import("../../../src/simulate/hardware.js")>(
    "../../../src/simulate/hardware.js",
  );
  return { ...real, hardwareOf: (name: string) => (known ? real.hardwareNamed("h100") : real.hardwareOf(name)) };
});

let work: string;
beforeEach(() => {
  work = fs.mkdtempSync(path.join(os.tmpdir(), "zo2-step-lanes-"));
  fs.mkdirSync(path.join(work, "disk"));
});
afterEach(() => fs.rmSync(work, { recursive: true }));

const run = () => path.join(work, "run");
const kept = async () => {
  const lanes = await readLanes(path.join(run(), LANES_FILE));
  return "why" in lanes ? null : lanes;
};

/** Takes steps; resolves with the weights, the commands of every step, and the codes of what was warned of. */
async function train(model: ModelOptions, options: Partial<TrainerOptions>, resumes = false) {
  const steps: (readonly Declared[])[] = [];
  const onPass = (_: unknown, commands: readonly Declared[]) => {
    if (commands.some(({ work: { kind } }) => kind === "coefficients")) steps.push(commands);
  };
  const codes: string[] = [];
  const o = { onWarning: ({ code }: { code: string }) => codes.push(code) };
  return withModel(folder("llama"), { ...model, test: { ...model.test, onPass } }, async (loaded) => {
    const trainer = resumes
      ? await Trainer.resume(loaded, run(), options, o)
      : new Trainer(loaded, { ...OPTIONS, ...options });
    for await (const _ of trainer.fit(examples, o));
    return { steps, codes, weights: await weightBits(loaded), units: sessionOf(loaded).units.map(({ name }) => name) };
  });
}

const ARRANGEMENTS: Readonly<Record<string, () => ModelOptions>> = {
  host: () => ({ offload: { unitBytes: 20_000 } }),
  "host, prepared ahead": () => ({ offload: { unitBytes: 20_000, prepareAhead: "on", writeBackEvery: 2 } }),
  disk: () => ({ offload: { unitBytes: 20_000, to: "disk", diskPath: path.join(work, "disk") } }),
  device: () => ({ offload: { to: "device" } }),
  "no overlap": () => ({ offload: { overlap: false } }),
};

it.each(some(Object.keys(ARRANGEMENTS), 3))("are those of its commands, and change no bit: %s", async (name) => {
  const model = ARRANGEMENTS[name] as () => ModelOptions;
  const alone = await train(model(), { steps: 5 });
  const { steps, codes, weights, units } = await train(model(), { steps: 5, run: run() });
  expect(sameBits(weights, alone.weights)).toBe(true);
  expect(codes).toEqual([]);
  const { step, lanes, steps: pictures } = (await kept()) as RunLanes;
  expect(step).toBe(2);
  const measured = pictures.at(-1);
  expect(measured?.title).toBe("measured");
  const bars = measured?.bars ?? [];
  const commands = steps[2] ?? [];
  const laneOf = ({ lane }: Declared) => (model().offload?.overlap === false ? "compute" : lane);
  expect(bars.map(({ lane, what, unit }) => ({ lane, what, unit }))).toEqual(
    commands.map((command) => ({
      lane: laneOf(command),
      what: command.work.kind,
      unit: "unit" in command.work ? units[command.work.unit] : null,
    })),
  );
  expect(new Set(lanes)).toEqual(new Set(commands.map(laneOf)));
  // It ends with its last computation, and nothing of a lane runs at once with another of it.
  const ends = bars.filter(({ lane }) => lane === "compute").map(({ end }) => end);
  expect(Math.max(...ends)).toBeCloseTo(measured?.seconds ?? 0, 9);
  for (const lane of lanes)
    bars
      .filter((bar) => bar.lane === lane)
      .reduce((before, { begin, end }) => {
        expect(begin).toBeGreaterThanOrEqual(before);
        expect(end).toBeGreaterThanOrEqual(begin);
        return end;
      }, Number.NEGATIVE_INFINITY);
  expect(fs.readdirSync(run()).filter((file) => file.endsWith(".tmp"))).toEqual([]);

  const { out } = await writeReport(run());
  const page = fs.readFileSync(out, "utf8");
  expect(page.match(/<svg class="lanes"/g)).toHaveLength(1);
  expect(page).toContain("Step 2, on ");
});

it("are those of the newest session", async () => {
  await train({}, { steps: 5, run: run() });
  await train({}, { steps: 9 }, true);
  expect((await kept())?.step).toBe(7);
});

it("wait for steps that nothing comes between, and are left out where there are none", async () => {
  const evaluation = { data: examples.slice(0, 2), every: 2 };
  await train({}, { steps: 8, run: run(), evaluation });
  expect(await kept()).toBeNull();
  fs.rmSync(run(), { recursive: true });
  await train({}, { steps: 8, run: run(), evaluation: { ...evaluation, every: 4 } });
  expect((await kept())?.step).toBe(2);
  fs.rmSync(run(), { recursive: true });
  await train({}, { steps: 2, run: run() });
  expect(await kept()).toBeNull();
});

it("that cannot be written are warned of, and the run is whole", async () => {
  fs.mkdirSync(path.join(run(), LANES_FILE), { recursive: true });
  const { codes, weights } = await train({}, { steps: 5, run: run() });
  expect(codes).toEqual(["ZO2_WARN_LANES"]);
  expect(sameBits(weights, (await train({}, { steps: 5 })).weights)).toBe(true);
  expect(fs.readdirSync(run()).filter((file) => file.endsWith(".tmp"))).toEqual([]);
});

it("stand below what is predicted where the device's figures are known", async () => {
  known = true;
  try {
    const { steps } = await train({ offload: { unitBytes: 20_000 } }, { steps: 5, run: run() });
    const lanes = await kept();
    expect(lanes?.figures).toMatch(/^H100 SXM, /);
    expect(lanes?.steps.map(({ title }) => title)).toEqual(["predicted", "measured"]);
    const [predicted, measured] = lanes?.steps ?? [];
    const moved = (step = predicted) => step?.bars.reduce((sum, { bytes = 0 }) => sum + bytes, 0);
    expect(moved()).toBe(moved(measured));
    expect(moved()).toBeGreaterThan(0);
    expect(predicted?.bars.length).toBe(steps[2]?.length);
  } finally {
    known = false;
  }
});
