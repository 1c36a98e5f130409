/** Cutting recordings of a few ops. */
import { cutUnits } from "../../../src/memory/units.js";
import { numberParameters, type ParameterSpec } from "../../../src/ops/parameter.js";
import { createRecorder, type Recorder } from "../../../src/ops/record.js";
import type { Value } from "../../../src/ops/value.js";

const WIDTH = 16;
const ROW_BYTES = WIDTH * 4;

/** An embedding, what `body` makes of it, and a head of `rows` rows. */
function recordingOf(rows: number, body: (r: Recorder, x: Value) => Value) {
  const parameter = (name: string, extent: number): ParameterSpec => ({ name, shape: [extent, WIDTH], decay: true });
  const r = createRecorder(
    numberParameters([parameter("embed", 24), parameter("linear", WIDTH), parameter("head", rows)]),
  );
  const embedded = r.block("embedding", "embedding", () =>
    r.embed({ table: r.parameter("embed"), index: r.inputs.tokens }),
  );
  const x = r.block("layers.0", "layer", () => body(r, embedded));
  r.block("head", "head", () => r.head({ x, weight: r.parameter("head") }));
  return r.finish();
}
const linear = (r: Recorder, x: Value) => r.linear({ x, weight: r.parameter("linear") });
const options = { wire: "fp32", compute: "fp32" } as const;

const slicesOf = (rows: number) =>
  cutUnits(recordingOf(rows, linear), { ...options, unitBytes: 8 * ROW_BYTES }).flatMap(({ ops }) =>
    ops.flatMap(({ op, slice }) => (op.name === "head" ? [slice] : [])),
  );

test.each([
  [16, [8, 8]],
  [17, [6, 6, 5]],
  [25, [7, 7, 7, 4]],
])("a head of %d rows, of which a unit holds 8, is cut into %j, which know the first and the last", (rows, counts) => {
  let start = 0;
  const want = counts.map((count, i) => {
    const slice = { start, count, first: i === 0, last: i === counts.length - 1 };
    start += count;
    return slice;
  });
  expect(slicesOf(rows)).toEqual(want);
});

test("a head that fits is not cut", () => {
  expect(slicesOf(8)).toEqual([null]);
});

test("a row is never cut", () => {
  const units = cutUnits(recordingOf(3, linear), { ...options, unitBytes: 1 });
  const head = units.filter(({ name }) => name.startsWith("head"));
  expect(head.map(({ wireBytes }) => wireBytes)).toEqual([ROW_BYTES, ROW_BYTES, ROW_BYTES]);
});

test("a weight that two products use is a mistake of the model's definition, and named", () => {
  const twice = (r: Recorder, x: Value) => linear(r, linear(r, x));
  expect(() => cutUnits(recordingOf(8, twice), options)).toThrow(
    "linear is used twice, and its first use (linear) cannot gather rows",
  );
});

describe.each(["int8", "e4m3"] as const)("matrices in %s", (wire) => {
  const recording = recordingOf(100, linear);

  it.each([40, 200, 1000, undefined])(
    "have their elements and their scales in places of their own (%d)",
    (unitBytes) => {
      const units = cutUnits(recording, { wire, compute: "fp32", unitBytes });
      for (const { tensors, wireBytes } of units) {
        // One byte an element, and one for each row of 16, which is a block.
        const places = tensors.flatMap(({ count, rowCount, wireOffset, scaleOffset }) => [
          { begin: wireOffset, end: wireOffset + count },
          { begin: scaleOffset, end: scaleOffset + rowCount },
        ]);
        let free = 0;
        for (const { begin, end } of places) {
          expect(begin).toBe(free);
          free = Math.ceil(end / 64) * 64;
        }
        expect(wireBytes).toBe(free);
      }
      const rows = units.flatMap(({ tensors }) => tensors.map(({ rowCount }) => rowCount));
      expect(rows.reduce((sum, count) => sum + count, 0)).toBe(24 + 16 + 100);
    },
  );

  it("are cut into units as large as they may be, but for what fills up a place", () => {
    const units = cutUnits(recording, { wire, compute: "fp32", unitBytes: 340 });
    expect(Math.max(...units.map(({ wireBytes }) => wireBytes))).toBeLessThan(340 + 128);
    const head = units.filter(({ name }) => name.startsWith("head"));
    expect(head.map(({ tensors }) => tensors[0]?.rowCount)).toEqual([20, 20, 20, 20, 20]);
  });
});
