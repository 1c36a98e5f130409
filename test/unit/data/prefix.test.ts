import { packBatch, type PackedBatch } from "../../../src/data/index.js";
import { withPrefix } from "../../../src/data/prefix.js";

const PREFIX = ["p0", "p1", "p2"];

/** What each row of the batch sees, by the tables alone: rows of keys are filled once each, and then read. */
function seen({ tokens, sequences, cacheRows, prefix }: PackedBatch): string[] {
  const keys = new Map<number, string>();
  const put = (row: number, what: string) => {
    if (keys.has(row)) throw new Error(`row ${row} is filled twice`);
    keys.set(row, what);
  };
  prefix?.places.forEach((row, i) => put(row, PREFIX[prefix.ids[i]]));
  tokens.forEach((token, row) => put(cacheRows === undefined ? row : cacheRows[row], `${token}`));
  expect([...keys.keys()].sort((a, b) => a - b)).toEqual([...keys.keys()].map((_, i) => i));
  const found: string[] = [];
  for (let s = 0; s < sequences.length; s += 5) {
    const [start, length, prefixStart, prefixLength, keyStart] = sequences.subarray(s, s + 5);
    const range = (from: number, count: number) => Array.from({ length: count }, (_, i) => keys.get(from + i));
    for (let i = 0; i < length; i++)
      found[start + i] = [...range(prefixStart, prefixLength), ...range(keyStart, i + 1)].join(" ");
  }
  return found;
}

const ids = (...all: number[]) => Int32Array.from(all);
const tokens = (...all: number[]) => ({ kind: "tokens", ids: ids(...all), labels: ids(...all) }) as const;
const choices = (...all: number[][]) =>
  ({ kind: "choices", choices: all.map((own) => ({ ids: ids(...own), from: 2 })), label: 0 }) as const;

it.each([
  ["one sequence", [tokens(5, 6, 7, 8)]],
  ["sequences of several lengths", [tokens(1, 2), tokens(3, 4, 5, 6, 7), tokens(8, 9, 10)]],
  ["choices that share a prompt", [choices([1, 2, 3, 4], [1, 2, 5, 6, 7], [1, 2, 8])]],
  ["examples with choices", [choices([1, 2, 3, 4], [1, 2, 5, 6]), choices([9, 8, 7, 6, 5], [9, 8, 7, 6, 4, 3, 2])]],
])("every row of %s sees the prefix, once, in front of what it saw without it", (_, examples) => {
  const batch = packBatch(examples);
  const fronted = withPrefix(batch, PREFIX.length);
  expect(seen(fronted)).toEqual(seen(batch).map((own) => `${PREFIX.join(" ")} ${own}`));
  const { sequences: _before, ...same } = batch;
  expect(fronted).toMatchObject(same);
});

it("sequences that share a prompt share its prefix", () => {
  const { prefix } = withPrefix(
    packBatch([choices([1, 2, 3, 4], [1, 2, 5, 6, 7]), choices([3, 4, 5, 6], [3, 4, 7])]),
    2,
  );
  expect(prefix?.ids).toEqual(ids(0, 1, 0, 1));
});
