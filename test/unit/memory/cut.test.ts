import { defineModel } from "../../../src/models/index.js";
import { numberParameters } from "../../../src/ops/parameter.js";
import { createRecorder } from "../../../src/ops/record.js";
import type { Slice } from "../../../src/ops/row.js";
import { cutUnits } from "../../../src/memory/units.js";
import { parameterOf } from "./ops.js";

const WIDE = { model_type: "opt", vocab_size: 5003, hidden_size: 1536, num_attention_heads: 12, ffn_dim: 6000 };
const NARROW = { model_type: "opt", vocab_size: 1000, hidden_size: 96, num_attention_heads: 4, ffn_dim: 1111 };
const LLAMA = {
  ...{ model_type: "llama", vocab_size: 3000, hidden_size: 512, num_attention_heads: 8, num_key_value_heads: 2 },
  ...{ intermediate_size: 1408, max_position_embeddings: 64, rms_norm_eps: 1e-5, tie_word_embeddings: false },
};
const KIB = 1024;
const CASES: [string, object, number][] = [
  ...[64, 200, 600, 789, 1000, 2500, 4000, 9000].map((k): [string, object, number] => ["wide OPT", WIDE, k * KIB]),
  ...[1, 5, 13, 29, 50, 64, 111, 190].map((k): [string, object, number] => ["narrow OPT", NARROW, k * KIB]),
  ...[3, 70, 150, 280, 500, 1100].map((k): [string, object, number] => ["Llama", LLAMA, k * KIB]),
];
/** A tensor on the wire ends at a multiple of this many bytes. */
const PADDING = 64;

/** The units, and for every op that was cut the bytes of a row with its bias, its rows and its slices. */
function cut(config: object, unitBytes: number) {
  const definition = defineModel({ num_hidden_layers: 2, max_position_embeddings: 64, ...config });
  const recorder = createRecorder(numberParameters(definition.parameters));
  definition.record(recorder);
  const units = cutUnits(recorder.finish(), { wire: "fp16", compute: "fp16", unitBytes });
  const all = units.flatMap(({ ops }) => ops).filter(({ slice }) => slice !== null);
  const ops = [...new Set(all.map(({ op }) => op))].map((op) => {
    const [rows, width] = parameterOf(op, op.name === "embed" ? "table" : "weight").shape;
    const bias = (op.operands["bias"] ?? null) === null ? 0 : 4;
    const slices = all.flatMap((part): Slice[] => (part.op === op && part.slice !== null ? [part.slice] : []));
    return { name: op.name, rows, rowBytes: 2 * width + bias, slices };
  });
  return { units, ops };
}

describe.each(CASES)("%s, cut (case %#)", (_name, config, unitBytes) => {
  const { units, ops } = cut(config, unitBytes);

  it("every row is in one slice, all but the last are equal, and no unit has two of one weight", () => {
    for (const { rows, slices } of ops) {
      expect(slices.length).toBeGreaterThan(1);
      const starts = slices.map(({ start }) => start);
      expect(starts).toEqual(slices.map((_, i) => i * slices[0].count));
      expect(slices.at(-1)?.count).toBe(rows - (starts.at(-1) ?? 0));
      expect(slices.map(({ first, last }) => [first, last])).toEqual(
        slices.map((_, i) => [i === 0, i === slices.length - 1]),
      );
    }
    for (const { tensors } of units) {
      const parameters = tensors.map(({ parameter }) => parameter);
      expect(new Set(parameters).size).toBe(parameters.length);
    }
  });

  it("a linear is cut at multiples of 256 rows, or of 128 or 64 where a unit has no room for more", () => {
    for (const { name, rows, rowBytes, slices } of ops) {
      const fits = (count: number) => count * rowBytes <= unitBytes;
      const multiple = name !== "linear" ? 1 : fits(256) ? 256 : fits(128) ? 128 : fits(64) ? 64 : 1;
      expect([name, rowBytes, slices.map(({ start }) => start % multiple)]).toEqual([
        name,
        rowBytes,
        slices.map(() => 0),
      ]);
      // No fewer slices would do: the last of them ends where the weight does, the others at a multiple.
      let most = multiple;
      while (fits(most + multiple)) most += multiple;
      let last = 1;
      while (fits(last + 1)) last++;
      expect([name, rowBytes, (slices.length - 2) * most + last < rows]).toEqual([name, rowBytes, true]);
      // As equal as multiples allow, so that the largest slice does not ask for a slot of its own.
      const even = Math.ceil(rows / slices.length / multiple) * multiple;
      expect([name, rowBytes, slices[0].count]).toEqual([name, rowBytes, Math.min(even, most)]);
    }
  });

  it("no unit is larger than it may be, but for one row and the padding of its tensors", () => {
    for (const { wireBytes, tensors, ops: parts } of units) {
      const [only] = parts;
      // What cannot be cut any further: norms with what they read, and a single row.
      if (parts.length === 1 && (only.slice?.count ?? 1) === 1) continue;
      const padding = parts.length === 1 ? PADDING * tensors.length : 0;
      expect(wireBytes).toBeLessThanOrEqual(unitBytes + padding);
    }
  });
});

it("the cases meet every multiple, and linears that are cut to an odd number of rows", () => {
  const multiples = new Set<number>();
  for (const [, config, unitBytes] of CASES) {
    for (const { name, slices } of cut(config, unitBytes).ops) {
      if (name !== "linear") continue;
      for (const multiple of [256, 128, 64, 1]) {
        if (slices[0].count % multiple !== 0) continue;
        multiples.add(multiple);
        break;
      }
    }
  }
  expect([...multiples].sort((a, b) => a - b)).toEqual([1, 64, 128, 256]);
});

it.each([256, 64])(
  "OPT-175B's linears are cut at multiples of 256 rows throughout, in units of %d MiB",
  (mebibytes) => {
    const shape = { hidden_size: 12288, num_attention_heads: 96, ffn_dim: 49152 };
    const { ops } = cut({ model_type: "opt", vocab_size: 50272, ...shape }, mebibytes * KIB * KIB);
    const linears = ops.filter(({ name }) => name === "linear");
    expect(linears).toHaveLength(12);
    expect(linears.flatMap(({ slices }) => slices.filter(({ count }) => count % 256 !== 0))).toEqual([]);
  },
);
