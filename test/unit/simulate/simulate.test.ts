/** Predicted steps against schedules that can be worked out by hand. */
import { type Choice, choosePlan } from "../../../src/planner/choose.js";
import type { Hardware } from "../../../src/simulate/hardware.js";
import { HARDWARE_NAMES, hardwareNamed } from "../../../src/simulate/hardware.js";
import { schedulePlan } from "../../../src/memory/schedule-plan.js";
import { type Lane, LANES } from "../../../src/schedule/command.js";
import type { Pass } from "../../../src/schedule/facts.js";
import { planMemory } from "../../../src/memory/plan.js";
import { residencesOf } from "../../../src/memory/residence.js";
import { passCommands } from "../../../src/schedule/pass.js";
import { Timeline } from "../../../src/schedule/timeline.js";
import { busiestLane, type SimulateOptions, simulateStep } from "../../../src/simulate/simulate.js";
import { choiceOptions, recordOpt } from "../planner/support.js";

const NOTHING = Number.POSITIVE_INFINITY;
/** Takes no time for anything. */
const INSTANT: Hardware = {
  ...{ name: "instant", source: "a test", upload: NOTHING, offload: NOTHING, memory: NOTHING },
  disk: { read: NOTHING, write: NOTHING },
  flops: { fp32: NOTHING, fp16: NOTHING, bf16: NOTHING },
  attention: { fp32: NOTHING, fp16: NOTHING, bf16: NOTHING },
  noise: { gaussian: NOTHING, rademacher: NOTHING },
  ...{ command: 0, op: 0, overlaps: true, threads: 1, deviceBytes: NOTHING },
};
const RATE = 1e9;
const LIKE_A_GPU: Hardware = {
  ...{ ...INSTANT, upload: 3 * RATE, offload: 2 * RATE, memory: 40 * RATE, command: 1e-6 },
  flops: { fp32: 3000 * RATE, fp16: 3000 * RATE, bf16: 3000 * RATE },
  noise: { gaussian: 5 * RATE, rademacher: 9 * RATE },
};

const model = recordOpt({ layers: 5, hidden: 64, vocab: 300 });
const { recording } = model;
const planned = (slots: number, prepareAhead = true): Choice =>
  choosePlan(recording, choiceOptions(model, { pinned: { tierOf: () => "host", slots, prepareAhead } }));
const streamed = planned(3);

function simulate(hardware: Hardware, { plan }: Choice = streamed, o: Partial<SimulateOptions> = {}) {
  const { probes, step } = choiceOptions(model);
  const options = { ...step, probes, microBatches: 1, overlap: true, ...o };
  return simulateStep(plan, recording.inputs, hardware, options);
}

const bytes = streamed.units.reduce((sum, { wireBytes }) => sum + wireBytes, 0);
/** Rows of the tied embedding that 64 tokens touch, or all but the last of them. */
const gathered = choiceOptions(model).step.symbols.tableRows * 64 * 4;
const sum = (busy: object) => Object.values(busy).reduce((a: number, b: number) => a + b, 0);

test("where uploads alone take time, a step takes that of all weights and of the rows that are gathered", () => {
  const { seconds, busy } = simulate({ ...INSTANT, upload: RATE });
  const least = (bytes + gathered) / RATE;
  expect(seconds).toBeCloseTo(least, 12);
  const nothing = Object.fromEntries(LANES.map((lane) => [lane, 0]));
  expect(busy).toEqual({ ...nothing, upload: expect.closeTo(least, 12) });
});

test("where offloads alone take time, a step takes that of all weights", () => {
  expect(simulate({ ...INSTANT, offload: RATE }).seconds).toBeCloseTo(bytes / RATE, 12);
});

test("where reading or writing a disk alone takes time, a step takes that of all weights that rest there", () => {
  const tierOf = (unit: number) => (unit % 3 === 1 ? "host" : "disk");
  const residences = residencesOf(streamed.units, tierOf, new Set());
  const choice = { ...streamed, plan: planMemory(streamed.units, { ...streamed.plan.options, residences }) };
  const onDisk = streamed.units.reduce((sum, { index, wireBytes }) => sum + (index % 3 === 1 ? 0 : wireBytes), 0);
  for (const way of ["read", "write"] as const) {
    const disk = { ...INSTANT.disk, [way]: RATE };
    const { seconds, busy } = simulate({ ...INSTANT, disk }, choice);
    expect(seconds).toBeCloseTo(onDisk / RATE, 12);
    expect(busy[way]).toBeCloseTo(onDisk / RATE, 12);
    expect(sum(busy)).toBeCloseTo(busy[way], 12);
  }
});

test("where each command takes a second, a step of one lane takes as many as there are", () => {
  const { seconds, spans } = simulate({ ...INSTANT, command: 1 }, streamed, { overlap: false, spans: true });
  expect(seconds).toBe(spans.length);
  // Whatever else: a unit comes, is prepared, runs for two probes, and goes.
  for (const what of ["upload", "prepare", "run", "offload"] as const) {
    const units = spans.filter((span) => span.what === what).map(({ unit }) => unit);
    expect(new Set(units)).toEqual(new Set(streamed.units.keys()));
  }
  expect(spans.filter(({ what }) => what === "run")).toHaveLength(2 * streamed.units.length);
});

/** The begin of each command of the third step, as the waits and records that are submitted have it. */
function beginsBySubmission({ plan }: Choice, secondsOf: ReadonlyMap<string, number>): number[] {
  const { probes } = choiceOptions(model);
  const timeline = new Timeline(true);
  const schedule = schedulePlan(plan, new Set(), false);
  const states = plan.options.control.states.length;
  const free = new Map<Lane, number>();
  const recorded: number[] = [];
  let begins: number[] = [];
  for (let step = 0; step < 3; step++) {
    begins = [];
    const pass: Pass = {
      ...{ probes, microBatches: 1, pending: [(step + states - 1) % states], stores: true, yields: "coefficients" },
      ...{ injects: false, state: step % states, ring: step % 2, cache: null },
    };
    for (const command of timeline.order(passCommands(schedule, pass)).commands) {
      const begin = free.get(command.lane) ?? 0;
      if (command.kind === "record") recorded[command.event] = begin;
      else if (command.kind === "wait") free.set(command.lane, Math.max(begin, recorded[command.event] ?? 0));
      else {
        begins.push(begin);
        const unit = "unit" in command.work ? command.work.unit : -1;
        free.set(command.lane, begin + (secondsOf.get(`${command.work.kind} ${unit}`) ?? Number.NaN));
      }
    }
  }
  return begins;
}

test("commands begin when the waits that are submitted let them", () => {
  for (const slots of [1, 2, 3, 4])
    for (const ahead of [true, false])
      for (const upload of [0.2, 1, 5]) {
        const choice = planned(slots, ahead);
        const hardware = { ...LIKE_A_GPU, upload: upload * LIKE_A_GPU.upload };
        const { spans } = simulate(hardware, choice, { spans: true });
        const seconds = new Map(spans.map(({ what, unit, begin, end }) => [`${what} ${unit ?? -1}`, end - begin]));
        const begins = beginsBySubmission(choice, seconds);
        expect(begins).toHaveLength(spans.length);
        const [first, origin] = [spans[0]?.begin ?? 0, begins[0] ?? 0];
        for (const [i, { begin }] of spans.entries()) expect(begins[i]).toBeCloseTo(begin - first + origin, 12);
      }
});

test("without overlap a step takes the sum of what lanes do", () => {
  const apart = simulate(LIKE_A_GPU, streamed, { overlap: false });
  expect(apart.seconds).toBeCloseTo(sum(apart.busy), 12);
  expect(simulate(LIKE_A_GPU).seconds).toBeLessThan(apart.seconds);
});

test("lanes that share one core take what they take one after another, and those of more at most that", () => {
  const apart = simulate(LIKE_A_GPU, streamed, { overlap: false }).seconds;
  const cores = (threads: number) => simulate({ ...LIKE_A_GPU, overlaps: false, threads });
  // Up to what a step leaves to the next one.
  expect(Math.abs(cores(1).seconds / apart - 1)).toBeLessThan(0.002);
  // A transfer has one thread of them: what it leaves of the cores others use.
  const { upload, offload } = simulate(LIKE_A_GPU, streamed, { overlap: true }).busy;
  const [four, eight] = [cores(4).seconds, cores(8).seconds];
  expect(four).toBeGreaterThanOrEqual(apart - (3 / 4) * (upload + offload) * 1.01);
  expect(four).toBeLessThan(apart);
  expect(eight).toBeLessThan(four);
});

test("a command that waited says for what, and one whose lane was at work does not", () => {
  const slow = { ...LIKE_A_GPU, upload: LIKE_A_GPU.upload / 50 };
  for (const hardware of [slow, { ...slow, overlaps: false, threads: 2 }]) {
    const { spans } = simulate(hardware, planned(3, false), { spans: true });
    const runs = spans.filter(({ what }) => what === "run");
    // Uploads take longest: a unit is prepared when it has come.
    const prepared = spans.filter(({ what }) => what === "prepare");
    for (const { cause, unit } of prepared.slice(1)) expect(cause).toEqual({ lane: "upload", what: "upload", unit });
    expect(runs.map(({ cause }) => cause)).toEqual(runs.map(() => null));
  }
});

test.each([2, 3, 5])("with %d slots, is never shorter than the busiest lane", (slots) => {
  for (const ahead of [true, false]) {
    const step = simulate(LIKE_A_GPU, planned(slots, ahead));
    expect(step.seconds).toBeGreaterThanOrEqual(step.busy[busiestLane(step)] * (1 - 1e-9));
  }
});

test("a step that need not be known well has the time of its busiest lane, and is known where that is within", () => {
  const step = simulate(LIKE_A_GPU);
  const longest = step.busy[busiestLane(step)];
  const given = simulate(LIKE_A_GPU, streamed, { enough: longest / 2 });
  expect(given.seconds).toBeCloseTo(longest, 12);
  for (const lane of LANES) expect(given.busy[lane]).toBeCloseTo(step.busy[lane], 12);
  expect(simulate(LIKE_A_GPU, streamed, { enough: longest })).toEqual(step);
});

test("more of anything is never slower", () => {
  for (const more of ["upload", "offload", "memory"] as const) {
    const seconds = [0.1, 0.3, 1, 3, 10, 100].map(
      (factor) => simulate({ ...LIKE_A_GPU, [more]: factor * LIKE_A_GPU[more] }).seconds,
    );
    for (const [i, longer] of seconds.entries()) expect(seconds[i + 1] ?? 0).toBeLessThanOrEqual(longer * (1 + 1e-9));
    expect(seconds[5]).toBeLessThan(seconds[0] ?? 0);
  }
  expect(simulate(LIKE_A_GPU, planned(3)).seconds).toBeLessThanOrEqual(simulate(LIKE_A_GPU, planned(2)).seconds);
});

test("micro-batches run one behind the other in one visit", () => {
  const one = simulate({ ...INSTANT, upload: RATE, flops: { fp32: RATE, fp16: 1, bf16: 1 } });
  const two = simulate(
    { ...INSTANT, upload: RATE, flops: { fp32: RATE, fp16: 1, bf16: 1 } },
    choosePlan(
      recording,
      choiceOptions(model, { pinned: { tierOf: () => "host" }, batch: { batchSize: 2, microBatchSize: 1 } }),
    ),
    { microBatches: 2 },
  );
  expect(two.busy.compute).toBeCloseTo(2 * one.busy.compute, 9);
  expect(two.busy.upload).toBeCloseTo(one.busy.upload, 12);
});

test("activations in host memory come and go for each run, and take the time of their bytes", () => {
  const choice = choosePlan(
    recording,
    choiceOptions(model, {
      // A layer in each unit.
      pinned: { tierOf: () => "host", slots: 3, prepareAhead: true, activations: "host", unitBytes: 2 ** 20 },
      batch: { batchSize: 3, microBatchSize: 1 },
    }),
  );
  const o = { microBatches: 3 };
  // The hidden state of all tokens but the last passes to the next unit, for two probes of three micro-batches.
  const passed = (choice.units.length - 1) * 2 * 3 * 63 * 64 * 4;
  const { upload } = simulate({ ...INSTANT, upload: RATE }, choice, o).busy;
  expect(upload).toBeCloseTo((bytes + gathered + passed) / RATE, 12);
  expect(simulate({ ...INSTANT, offload: RATE }, choice, o).busy.offload).toBeCloseTo((bytes + passed) / RATE, 12);
  const { plan } = choice;
  const atRest = { ...choice, plan: planMemory(choice.units, { ...plan.options, activations: "device" }) };
  expect(simulate({ ...INSTANT, offload: RATE }, atRest, o).busy.offload).toBeCloseTo(bytes / RATE, 12);
});

test("hardware has names, figures that are finite, and a source", () => {
  expect(HARDWARE_NAMES).toContain("rtx-4090");
  for (const name of HARDWARE_NAMES) {
    const hardware = hardwareNamed(name) as Hardware;
    const { upload, offload, disk, memory, flops, attention, noise, deviceBytes } = hardware;
    const rates: unknown[] = [disk, flops, attention, noise].flatMap(Object.values);
    for (const figure of [upload, offload, memory, ...rates, deviceBytes])
      expect(typeof figure === "number" && figure > 1e9 && Number.isFinite(figure)).toBe(true);
    expect(hardware.source).toMatch(/NVIDIA .* (data sheet|whitepaper), 70 %/);
    // Faster in 16 bits, and within the device than over its link.
    expect(Number(flops.fp16)).toBeGreaterThan(Number(flops.fp32));
    expect(memory).toBeGreaterThan(upload);
  }
  expect(hardwareNamed("toaster")).toBeUndefined();
  expect(hardwareNamed("toString")).toBeUndefined();
});
