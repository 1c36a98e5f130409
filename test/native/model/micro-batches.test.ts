/** Results of several micro-batches, whose sizes fill memory to a multiple of nothing: each is that of its own pass. */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { readRun } from "../../../src/journal/read-run.js";
import { Trainer } from "../../../src/train/trainer.js";
import { examples, folder, OPTIONS, train } from "./runs.js";
import { packBatch, packPositions } from "../../../src/data/index.js";
import { fixtures, mezo, sessionOf, withModel } from "./helpers.js";

const sequence = (length: number, from: number) => Int32Array.from({ length }, (_, t) => (from + t * 31) % 208);
const lengths = [4, 34, 2, 11];
const scored = lengths.map((length, i) => {
  const ids = sequence(length, i * 17);
  return packBatch([{ kind: "tokens", ids, labels: ids }]);
});
const asked = lengths.map((length, i) => packPositions([{ ids: sequence(length, i * 17), positions: [length - 1] }]));

function expectClose(got: Float32Array, want: Float32Array): void {
  expect(got).toHaveLength(want.length);
  got.forEach((value, i) => expect(Math.abs(value - want[i])).toBeLessThan(1e-4));
}

it.each([
  ["log-probabilities", scored],
  ["logits", asked],
] as const)("%s, of a pass and of both probes of a step", (_, batch) =>
  withModel(path.join(fixtures, "models/llama"), { offload: { unitBytes: 20_000 } }, async (model) => {
    const session = sessionOf(model);
    const of = { seed: 3n, step: 0, eps: 1e-2, noise: "gaussian" } as const;
    const alone = { place: [] as Float32Array[], plus: [] as Float32Array[], minus: [] as Float32Array[] };
    for (const micro of batch) {
      alone.place.push(...(await session.forward([micro])));
      alone.plus.push(...(await session.forward([micro], { probe: { of, at: { direction: 0, sign: 1 } } })));
      alone.minus.push(...(await session.forward([micro], { probe: { of, at: { direction: 0, sign: -1 } } })));
    }
    const together = await session.forward(batch);
    together.forEach((values, i) => expectClose(values, alone.place[i]));
    const probes = await session.probe(batch, mezo({ ...of, learningRate: 1e-3, weightDecay: 0 }));
    probes[0].forEach((values, i) => expectClose(values, alone.plus[i]));
    probes[1].forEach((values, i) => expectClose(values, alone.minus[i]));
    expect(probes[0][1]).not.toEqual(probes[1][1]);
  }),
);

describe("where nobody says how many examples are on the device at once", () => {
  const offload = { to: "host", unitBytes: 100_000, slots: 1 } as const;
  const batch = { ...OPTIONS, batchSize: 6, steps: 3 };
  const bytesOf = (microBatchSize: number) =>
    withModel(folder("opt"), { offload }, async (model) => {
      for await (const _ of new Trainer(model, { ...batch, microBatchSize }).fit(examples)) break;
      return model.plan().deviceBytes;
    });
  let run: string;
  beforeEach(() => {
    run = path.join(fs.mkdtempSync(path.join(os.tmpdir(), "zo2-micro-")), "run");
  });
  afterEach(() => fs.rmSync(path.dirname(run), { recursive: true }));
  const noted = async () => (await readRun(run)).sessions.map(({ options }) => options["microBatchSize"]);

  it("it is half of the batch where that has room; it is written down, and stays when a run is resumed", async () => {
    const half = await bytesOf(3);
    expect(await bytesOf(6)).toBeGreaterThan(half);
    const options = { offload: { ...offload, deviceMemory: half } };
    await train(run, "opt", options, { ...batch, run }, 2);
    const resumed = await train(run, "opt", { offload }, { resume: { steps: 3 } }, 3);
    expect(await noted()).toEqual([3, 3]);
    expect(resumed).toEqual(await train(run, "opt", options, { ...batch, microBatchSize: 3 }, 3));
    await expect(train(run, "opt", options, { ...batch, microBatchSize: 6 }, 3)).rejects.toMatchObject({
      code: "ZO2_ERR_MEMORY_BUDGET",
    });
  });

  it("it is the whole batch where that has room, and single examples are refused as they were", async () => {
    const least = Math.min(...(await Promise.all([6, 3, 2, 1].map(bytesOf))));
    await train(run, "opt", { offload: { ...offload, deviceMemory: await bytesOf(6) } }, { ...batch, run }, 1);
    expect(await noted()).toEqual([undefined]);
    const options = { offload: { ...offload, deviceMemory: least - 1 } };
    await expect(train(run, "opt", options, batch, 1)).rejects.toMatchObject({ code: "ZO2_ERR_MEMORY_BUDGET" });
  });
});
