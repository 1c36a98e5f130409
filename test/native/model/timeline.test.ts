import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { measureHardware } from "../../../src/measure/measure.js";
import { batchOfShape, takeSteps } from "../../../src/measure/steps.js";
import { loadedOf } from "../../../src/loaded.js";
import type { Model } from "../../../src/model.js";
import { METHODS } from "../../../src/method/index.js";
import type { LaneStep } from "../../../src/page/lanes.js";
import { recordSteps } from "../../../src/timeline/record.js";
import { DEVICE } from "../device.js";
import { fixtures, sameBits, sessionOf, weightBits, withModel } from "./helpers.js";

const dir = join(fixtures, "models", "llama");
const shape = { layers: 1, hidden: 32, heads: 2, ffn: 64, vocab: 64, positions: 64 };
const sizes = { model: shape, tiny: shape, repeats: 1, batches: [{ microBatches: [1], length: 9 }] };

const method = METHODS["mezo-sgd"].step({ eps: 1e-3, directions: 1 });

async function record(model: Model, microBatches: readonly number[], overlap: boolean) {
  const hardware = await measureHardware({ device: DEVICE, threads: 2 }, { sizes });
  const { definition, session } = loadedOf(model);
  const batch = batchOfShape(definition.head, definition.vocabSize, { microBatches, length: 8 });
  return {
    ...(await recordSteps(session, batch, { method, noise: "gaussian", overlap, hardware })),
    units: session.units,
  };
}

const named = ({ bars }: LaneStep, what: string) => bars.filter((bar) => bar.what === what);
const bytesOf = (step: LaneStep, what: string) => named(step, what).reduce((sum, { bytes = 0 }) => sum + bytes, 0);

test.each([true, false])("a step is predicted and measured command by command (overlap %s)", async (overlap) => {
  await withModel(dir, { offload: { overlap } }, async (model) => {
    const { predicted, measured, units } = await record(model, [2, 2], overlap);
    const list = ({ bars }: LaneStep) => bars.map(({ lane, what, unit }) => `${lane} ${what} ${unit ?? ""}`);
    // The same commands on the same lanes, in the same order.
    expect(list(predicted)).toEqual(list(measured));
    const wire = units.reduce((sum, { wireBytes }) => sum + wireBytes, 0);
    for (const step of [predicted, measured]) {
      expect([bytesOf(step, "upload"), bytesOf(step, "offload")]).toEqual([wire, wire]);
      // Two probes of two micro-batches.
      expect(named(step, "run")).toHaveLength(4 * units.length);
      // Each weight is drawn for twice: its update and its perturbation.
      const elements = units.flatMap(({ tensors }) => tensors).reduce((sum, { count }) => sum + count, 0);
      expect(named(step, "prepare").reduce((sum, { draws = 0 }) => sum + draws, 0)).toBe(2 * elements);
      for (const { begin, end } of step.bars) expect(end).toBeGreaterThanOrEqual(begin);
      // On one lane one command comes after the other.
      for (const lane of new Set(step.bars.map((bar) => bar.lane))) {
        const bars = step.bars.filter((bar) => bar.lane === lane);
        for (const [i, bar] of bars.slice(1).entries())
          expect(bar.begin).toBeGreaterThanOrEqual((bars[i]?.end ?? 0) - 1e-9);
      }
      const compute = step.bars.filter(({ lane }) => lane === "compute");
      expect(Math.max(...compute.map(({ end }) => end))).toBeCloseTo(step.seconds, 9);
      expect(new Set(step.bars.map(({ lane }) => lane)).size > 1).toBe(overlap);
      // What waits on another lane says for which command: one that there is.
      const commands = new Set(step.bars.map(({ what, unit }) => `${what} ${unit ?? ""}`));
      for (const { cause } of step.bars)
        if (cause !== null) expect(commands).toContain(`${cause.what} ${cause.unit ?? ""}`);
    }
  });
});

test("steps that are taken for their time are those of a trainer, stored at once where that is asked", async () => {
  const bits: Uint32Array[][] = [];
  for (const flushes of [false, true]) {
    await withModel(dir, {}, async (model) => {
      const { definition, session } = loadedOf(model);
      const batch = batchOfShape(definition.head, definition.vocabSize, { microBatches: [2], length: 8 });
      const options = { noise: "rademacher", eps: 1e-3, learningRate: 1e-3, first: 0, count: 3, flushes } as const;
      const seconds = await takeSteps(session, batch, options);
      expect(seconds).toHaveLength(3);
      expect(sessionOf(model).waits).toBe(0);
      bits.push(await weightBits(model));
    });
  }
  const [deferred = [], atOnce = []] = bits;
  expect(sameBits(deferred, atOnce)).toBe(true);
});

test("a page is written of a folder, with the machine's figures from its cache", async () => {
  const scratch = await mkdtemp(join(tmpdir(), "zo2-timeline-"));
  const before = process.env["XDG_CACHE_HOME"];
  process.env["XDG_CACHE_HOME"] = scratch;
  try {
    const { thisMachine } = await import("../../../src/measure/this-machine.js");
    const { writeTimeline } = await import("../../../src/timeline/write.js");
    await thisMachine({ device: DEVICE, threads: 2 }, { sizes });
    const out = join(scratch, "step.html");
    const asked: string[] = [];
    const model = { device: DEVICE, threads: 2 } as const;
    const written = await writeTimeline(dir, out, { model, maxLength: 8 }, { onMeasure: (name) => asked.push(name) });
    expect(asked).toEqual([]);
    const page = await readFile(out, "utf8");
    expect(written).toMatchObject({ out, bytes: Buffer.byteLength(page) });
    expect(page).toMatch(/predicted: [\s\S]*measured: /);
    // How the plan in force holds the weights, whatever the options leave open.
    expect(page).toMatch(/units<\/th><td class="text">\d+, resident on the device, overlap on/);
    const missing = join(scratch, "nowhere", "step.html");
    await expect(writeTimeline(dir, missing, { model, maxLength: 8 })).rejects.toMatchObject({ code: "ZO2_ERR_IO" });
    await expect(writeTimeline(dir, out, { model, maxLength: 10 ** 6 })).rejects.toMatchObject({
      code: "ZO2_ERR_LENGTH",
    });
  } finally {
    if (before === undefined) delete process.env["XDG_CACHE_HOME"];
    else process.env["XDG_CACHE_HOME"] = before;
    await rm(scratch, { recursive: true, force: true });
  }
});
