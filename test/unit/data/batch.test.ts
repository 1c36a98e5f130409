import { readFileSync } from "node:fs";
import { join } from "node:path";
import { labelledCount, packBatch, type PackedBatch } from "../../../src/data/batch.js";
import type { EncodedChoices, EncodedTokens } from "../../../src/data/encoded.js";
import { unpackPadded } from "../../support/padded.js";
import { failure } from "../checkpoint/support.js";
import { lcg } from "./support.js";

const X = -100;
const tokens = (ids: number[], labels: number[]): EncodedTokens => ({
  kind: "tokens",
  ids: Int32Array.from(ids),
  labels: Int32Array.from(labels),
});
const choices = (label: number, from: number, ...ids: number[][]): EncodedChoices => ({
  kind: "choices",
  label,
  choices: ids.map((list) => ({ ids: Int32Array.from(list), from })),
});

/** What a target asks: the probability of `token` after `context`. */
interface Question {
  context: number[];
  token: number;
}

/** Every scored (sequence, t), read off the examples as if each were run alone. */
function asked(examples: readonly (EncodedTokens | EncodedChoices)[]): Question[] {
  return examples.flatMap((example) => {
    const parts =
      example.kind === "choices"
        ? example.choices.map(({ ids, from }) => ids.map((id, t) => (t < from ? X : id)))
        : [example.labels];
    return parts.flatMap((labels, c) => {
      const ids = example.kind === "choices" ? example.choices[c]!.ids : example.ids;
      return [...labels].flatMap((token, t) =>
        t > 0 && token !== X ? [{ context: [...ids.subarray(0, t)], token }] : [],
      );
    });
  });
}

/**
 * The same, read off the packed tables by following what each row attends to. Checks the tables' own rules on the way.
 */
function answered(batch: PackedBatch): Question[] {
  const contexts: number[][] = [];
  const attended = new Set<number>();
  const head = new Set(batch.headRows);
  type Fields = [start: number, length: number, prefixStart: number, prefixLength: number, keyStart: number];
  const sequences = Array.from(
    { length: batch.sequences.length / 5 },
    (_, i) => [...batch.sequences.subarray(i * 5, i * 5 + 5)] as Fields,
  );
  for (const [start, length, prefixStart, prefixLength, keyStart] of sequences) {
    expect(length).toBeGreaterThan(0);
    expect(keyStart).toBe(start);
    expect(start).toBe(contexts.length);
    expect(prefixStart + prefixLength).toBeLessThanOrEqual(start);
    for (let i = 0; i < length; i++) {
      const prefix = batch.tokens.subarray(prefixStart, prefixStart + prefixLength);
      contexts.push([...prefix, ...batch.tokens.subarray(start, start + i + 1)]);
      expect(batch.positions[start + i]).toBe(contexts.at(-1)!.length - 1);
    }
    const lastHead = Math.max(-1, ...batch.headRows.filter((row) => row >= start && row < start + length));
    for (let row = start; row <= lastHead; row++) attended.add(row);
    for (let row = prefixStart; row < prefixStart + prefixLength; row++) attended.add(row);
  }
  expect(contexts).toHaveLength(batch.tokens.length);
  expect(batch.positions).toHaveLength(batch.tokens.length);
  // A row that nothing needs is work for nothing.
  expect(attended.size).toBe(batch.tokens.length);
  expect([...head].sort((a, b) => a - b)).toEqual([...batch.headRows]);
  const used = new Set<number>();
  const questions = Array.from({ length: batch.targets.length / 2 }, (_, i) => {
    used.add(batch.targets[2 * i]!);
    return { context: contexts[batch.headRows[batch.targets[2 * i]!]!]!, token: batch.targets[2 * i + 1]! };
  });
  expect(used.size).toBe(batch.headRows.length);
  return questions;
}

describe("a packed batch of tokens", () => {
  test("has the rows before each label, and none behind the last", () => {
    const batch = packBatch([tokens([5, 6, 7, 8, 9], [X, X, 7, 8, X]), tokens([1, 2], [X, 2])]);
    expect(batch).toEqual({
      tokens: Int32Array.of(5, 6, 7, 1),
      positions: Int32Array.of(0, 1, 2, 0),
      sequences: Int32Array.of(0, 3, 0, 0, 0, 3, 1, 0, 0, 3),
      headRows: Int32Array.of(1, 2, 3),
      targets: Int32Array.of(0, 7, 1, 8, 2, 2),
      objective: { kind: "tokens" },
    });
    expect(labelledCount(batch)).toBe(3);
  });

  test("scores every labelled position exactly once, in order, from what stands before it (500 random batches)", () => {
    const random = lcg(11);
    let scored = 0;
    for (let round = 0; round < 500; round++) {
      const density = 1 + random(4);
      const examples = Array.from({ length: 1 + random(4) }, () => {
        const ids = Array.from({ length: 1 + random(12) }, () => random(6));
        // Labels need not repeat the ids.
        return tokens(
          ids,
          ids.map(() => (random(4) < density ? random(50) : X)),
        );
      });
      const expected = asked(examples);
      if (expected.length === 0) {
        expect(() => packBatch(examples)).toThrow(failure("ZO2_ERR_DATA", "no labelled token"));
        continue;
      }
      const batch = packBatch(examples);
      expect(answered(batch)).toEqual(expected);
      expect(labelledCount(batch)).toBe(expected.length);
      scored += expected.length;
    }
    expect(scored).toBeGreaterThan(1000);
  });

  test("without a label, or without an example, is refused", () => {
    expect(() => packBatch([])).toThrow(failure("ZO2_ERR_DATA", "no labelled token"));
    expect(() => packBatch([tokens([1, 2], [X, X]), tokens([3], [3])])).toThrow(
      failure("ZO2_ERR_DATA", "no labelled token"),
    );
    expect(() => packBatch([tokens([1, 2], [X])])).toThrow(
      failure("ZO2_ERR_INVALID_ARGUMENT", "2 tokens and 1 labels"),
    );
  });
});

describe("a packed batch of choices", () => {
  test("computes a prompt once, and adds no row for choices of one token", () => {
    const batch = packBatch([choices(1, 3, [2, 5, 6, 10], [2, 5, 6, 11])]);
    expect(batch).toEqual({
      tokens: Int32Array.of(2, 5, 6),
      positions: Int32Array.of(0, 1, 2),
      sequences: Int32Array.of(0, 3, 0, 0, 0),
      headRows: Int32Array.of(2),
      targets: Int32Array.of(0, 10, 0, 11),
      objective: {
        kind: "choices",
        reduction: "mean",
        choices: Int32Array.of(0, 1, 1, 2),
        examples: Int32Array.of(0, 2, 1),
      },
    });
    expect(labelledCount(batch)).toBe(1);
  });

  test("gives each longer choice rows of its own behind the shared ones", () => {
    const batch = packBatch([choices(0, 1, [2, 5, 7, 8, 9], [2, 5, 6])], { reduction: "sum" });
    expect([...batch.tokens]).toEqual([2, 5, 7, 8]);
    expect([...batch.positions]).toEqual([0, 1, 2, 3]);
    expect([...batch.sequences]).toEqual([0, 2, 0, 0, 0, 2, 2, 0, 2, 2]);
    expect(batch.objective).toMatchObject({ reduction: "sum", choices: Int32Array.of(0, 4, 4, 6) });
    expect(answered(batch)).toEqual(asked([choices(0, 1, [2, 5, 7, 8, 9], [2, 5, 6])]));
  });

  test("scores every choice's tokens exactly once, in order, from what stands before them (500 random batches)", () => {
    const random = lcg(12);
    let shared = 0;
    for (let round = 0; round < 500; round++) {
      const examples = Array.from({ length: 1 + random(3) }, () => {
        const prompt = Array.from({ length: 1 + random(5) }, () => random(3));
        // Few symbols: choices often begin alike, are equal, or begin with one another.
        const ids = Array.from({ length: 1 + random(4) }, () => [
          ...prompt,
          ...Array.from({ length: 1 + random(4) }, () => random(2)),
        ]);
        return choices(random(ids.length), 1 + random(prompt.length), ...ids);
      });
      const batch = packBatch(examples);
      const expected = asked(examples);
      expect(answered(batch)).toEqual(expected);
      if (batch.objective.kind !== "choices") throw new Error("wrong kind");
      const lengths = examples.flatMap((example) => example.choices.map(({ ids, from }) => ids.length - from));
      const ranges = Array.from({ length: lengths.length }, (_, c) =>
        batch.objective.kind === "choices" ? batch.objective.choices[2 * c + 1]! - batch.objective.choices[2 * c]! : -1,
      );
      expect(ranges).toEqual(lengths);
      expect(
        Array.from(
          { length: examples.length },
          (_, e) => batch.objective.kind === "choices" && batch.objective.examples[3 * e + 2],
        ),
      ).toEqual(examples.map(({ label }) => label));
      const naive = examples.flatMap((example) => example.choices).reduce((sum, { ids }) => sum + ids.length - 1, 0);
      shared += naive - batch.tokens.length;
    }
    expect(shared).toBeGreaterThan(500);
  });

  test("cannot be mixed with tokens, nor hold what cannot be scored", () => {
    const good = choices(0, 1, [1, 2], [1, 3]);
    expect(() => packBatch([good, tokens([1, 2], [X, 2])])).toThrow(
      failure("ZO2_ERR_INVALID_ARGUMENT", "examples 0 and 1 of the batch are of the kinds choices and tokens"),
    );
    expect(() => packBatch([good, choices(2, 1, [1, 2], [1, 3])])).toThrow(
      failure("ZO2_ERR_INVALID_ARGUMENT", "example 1 of the batch: label 2 of 2"),
    );
    expect(() => packBatch([choices(0, 2, [1, 2], [1, 3])])).toThrow(
      failure("ZO2_ERR_INVALID_ARGUMENT", "scoring from token 2 of 2"),
    );
    expect(() => packBatch([choices(0, 1, [1, 2], [4, 3])])).toThrow(
      failure("ZO2_ERR_INVALID_ARGUMENT", "share no token"),
    );
    expect(() => packBatch([choices(0, 1)])).toThrow(failure("ZO2_ERR_INVALID_ARGUMENT", "has no choices"));
  });
});

describe("a padded batch", () => {
  interface Padded {
    input_ids: number[][];
    attention_mask: number[][];
    labels: number[][];
  }
  const fixture = (name: string) =>
    JSON.parse(readFileSync(join(__dirname, "../../fixtures/trajectories", name), "utf8")) as unknown;
  const { train, left_padded } = fixture("inputs-A.json") as { train: Padded[]; left_padded: Padded[] };
  const forward = fixture("forward-A.json") as Record<"train" | "left_padded", { tokens: number }[]>;

  test("is the same batch with padding on either side", () => {
    for (const { input_ids, attention_mask, labels } of train) {
      const turn = (rows: number[][]) =>
        rows.map((row, r) => {
          const length = attention_mask[r]!.reduce((a, b) => a + b, 0);
          return [...row.slice(length), ...row.slice(0, length)];
        });
      const right = unpackPadded({ input_ids, attention_mask, labels });
      expect(
        unpackPadded({ input_ids: turn(input_ids), attention_mask: turn(attention_mask), labels: turn(labels) }),
      ).toEqual(right);
      expect(right.map(({ ids }) => ids.length)).toEqual(attention_mask.map((row) => row.reduce((a, b) => a + b, 0)));
    }
  });

  test("has as many labelled tokens as the original program counted", () => {
    const counted = (batches: Padded[]) => batches.map((batch) => labelledCount(packBatch(unpackPadded(batch))));
    expect(counted(train)).toEqual(forward.train.map(({ tokens }) => tokens));
    expect(counted(left_padded)).toEqual(forward.left_padded.map(({ tokens }) => tokens));
  });

  test("without labels scores every real token but the first", () => {
    expect(unpackPadded({ input_ids: [[1, 1, 5, 6, 7]], attention_mask: [[0, 0, 1, 1, 1]] })).toEqual([
      tokens([5, 6, 7], [X, 6, 7]),
    ]);
    expect(unpackPadded({ input_ids: [[1, 1]], attention_mask: [[0, 0]] })).toEqual([tokens([], [])]);
  });

  test.each([
    [
      "a mask with a gap",
      { input_ids: [[1, 2, 3]], attention_mask: [[1, 0, 1]] },
      "row 0 of the padded batch: attention_mask has a gap",
    ],
    [
      "a mask of twos",
      { input_ids: [[1], [1]], attention_mask: [[1], [2]] },
      "row 1 of the padded batch: attention_mask[0] is 2",
    ],
    [
      "a label on padding",
      { input_ids: [[1, 2]], attention_mask: [[1, 0]], labels: [[1, 2]] },
      "labels[1] is 2, and that position is padding",
    ],
    ["rows missing", { input_ids: [[1, 2]], attention_mask: [] }, "input_ids has 1 rows, attention_mask 0"],
    ["a short row", { input_ids: [[1, 2]], attention_mask: [[1]] }, "row 0 of the padded batch: 2 ids, 1 mask values"],
    ["short labels", { input_ids: [[1, 2]], attention_mask: [[1, 1]], labels: [[1]] }, "2 mask values, 1 labels"],
  ])("with %s is refused by its row", (_, padded, message) => {
    expect(() => unpackPadded(padded)).toThrow(failure("ZO2_ERR_DATA", message));
  });
});
