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
