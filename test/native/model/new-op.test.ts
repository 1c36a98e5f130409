/**
 * What a new op takes: a row of the table. `cast` (ZO2_OP_CAST) is in the contract and in no model; here it joins a
 * copy of the table, and is recorded, cut, planned, encoded and run by what is there.
 */
import { loadNative } from "zo2/native";
import { packBatch } from "../../../src/data/index.js";
import { Session } from "../../../src/device/session.js";
import { cutUnits } from "../../../src/memory/units.js";
import { numberParameters, type ParameterSpec } from "../../../src/ops/parameter.js";
import { createRecorder, type Recording } from "../../../src/ops/record.js";
import type { OpTable } from "../../../src/ops/row.js";
import { OPS } from "../../../src/ops/table.js";
import { SESSION_OPTIONS } from "../../support/session.js";
import { DEVICE } from "../device.js";
import { random } from "../support.js";

const WITH_CAST = {
  ...OPS,
  cast: {
    code: 10,
    operands: { out: { role: "out", shape: (of) => of.value("x") }, x: { role: "in" } },
    attributes: {},
  },
} as const satisfies OpTable;

const [VOCABULARY, WIDTH] = [24, 16];
const specs: ParameterSpec[] = [
  { name: "embed", shape: [VOCABULARY, WIDTH], decay: true },
  { name: "linear", shape: [WIDTH, WIDTH], decay: true },
  { name: "head", shape: [VOCABULARY, WIDTH], decay: true },
];

function recordingOf(cast: boolean): Recording {
  const r = createRecorder(numberParameters(specs), WITH_CAST);
  const embedded = r.block("embedding", "embedding", () =>
    r.embed({ table: r.parameter("embed"), index: r.inputs.tokens }),
  );
  const x = r.block("layers.0", "layer", () => {
    const h = r.linear({ x: embedded, weight: r.parameter("linear"), residual: embedded });
    return cast ? r.cast({ x: h }) : h;
  });
  r.block("head", "head", () =>
    r.head({ x: r.gatherRows({ x, index: r.inputs.headRows }), weight: r.parameter("head") }),
  );
  return r.finish();
}

/** Loss and weights after a step, and how often the op runs in a pass. */
async function stepOf(cast: boolean) {
  const recording = recordingOf(cast);
  const units = cutUnits(recording, { wire: "fp32", compute: "fp32", unitBytes: WIDTH * WIDTH * 4 });
  const device = await loadNative().openDevice(DEVICE, { threads: 1 });
  const session = await Session.create(device, recording, units, { ...SESSION_OPTIONS, poison: true });
  try {
    const next = random(7);
    for (const unit of units) {
      await session.store.write(unit.index, async ({ buffer, offset }) => {
        const weights = Float32Array.from({ length: unit.wireBytes / 4 }, () => next() - 0.5);
        buffer.write(offset, new Uint8Array(weights.buffer));
      });
    }
    const ids = Int32Array.of(3, 1, 20, 7, 7, 11);
    const batch = [packBatch([{ kind: "tokens", ids, labels: ids }])];
    const { result } = await session.step(batch, {
      ...{ seed: 1n, step: 0, noise: "gaussian", eps: 1e-2, learningRate: 1e-2, weightDecay: 0 },
      probes: [
        { direction: 0, sign: 1 },
        { direction: 0, sign: -1 },
      ],
      rule: { differences: [{ minuend: 0, subtrahend: 1 }], divisor: 2e-2, shaping: "none", normalised: false },
    });
    const { losses } = await result;
    session.commit();
    await session.flush();
    const weights: number[] = [];
    for (const unit of units)
      await session.store.read(unit.index, async ({ buffer, offset }) => {
        const bytes = new Uint8Array(unit.wireBytes);
        buffer.read(offset, bytes);
        weights.push(...new Uint32Array(bytes.buffer));
      });
    return { losses, weights, runs: units.flatMap(({ ops }) => ops).filter(({ op }) => op.name === "cast").length };
  } finally {
    await session.dispose();
  }
}

it("an op that joins the table is recorded, cut, planned, encoded and run by what is there", async () => {
  const without = await stepOf(false);
  const withCast = await stepOf(true);
  expect([without.runs, withCast.runs]).toEqual([0, 1]);
  expect(new Set(without.losses).size).toBe(2);
  // From fp32 to fp32 a cast changes nothing.
  expect(withCast).toEqual({ ...without, runs: 1 });
});
