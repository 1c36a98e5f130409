/** Results of several micro-batches, whose sizes fill memory to a multiple of nothing: each is that of its own pass. */
import path from "node:path";
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
