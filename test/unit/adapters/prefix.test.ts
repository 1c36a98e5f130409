import fs from "node:fs";
import path from "node:path";
import { adaptModel } from "../../../src/adapters/adapted.js";
import { keyName, valueName } from "../../../src/adapters/prefix.js";
import { prefixTokens } from "../../../src/adapters/prefix-values.js";
import { needsFor, prefixRowsOf } from "../../../src/memory/needs.js";
import { placeValues } from "../../../src/memory/places.js";
import { cutUnits, isAdapterUnit } from "../../../src/memory/units.js";
import { AT_WEIGHTS } from "../../../src/method/index.js";
import { defineModel } from "../../../src/models/index.js";
import { lostValues } from "../memory/shadow.js";
import { capacity } from "../memory/support.js";

const TOKENS = 3;
const asked = { name: "prefix", tokens: TOKENS, seed: 5 } as const;

function define(name: string) {
  const config = path.join(__dirname, "../../fixtures/models", name, "config.json");
  return defineModel(JSON.parse(fs.readFileSync(config, "utf8")));
}

/** kvHeads x headSize, and positions, as the configs of the fixtures have them. */
const FAMILIES: readonly (readonly [string, number, number])[] = [
  ["opt", 128, 96],
  ["gpt2", 128, 64],
  ["llama", 64, 128],
  ["mistral-window", 64, 128],
  ["qwen3-bf16", 128, 128],
  ["opt-350m-style-bin", 128, 96],
];

describe.each(FAMILIES)("a prefix over %s", (name, columns, positions) => {
  const base = define(name);
  const { definition, parameters, recording, adapter } = adaptModel(base, asked);
  const units = cutUnits(recording, { wire: "bf16", compute: "bf16", unitBytes: 20_000 });
  const own = parameters.filter((parameter) => parameter.adapter === true);

  it("has keys and values of every layer, behind the base's parameters", () => {
    const expected = [0, 1].flatMap((layer) => [keyName(layer), valueName(layer)]);
    expect(own.map(({ name: of, shape }) => [of, shape])).toEqual(expected.map((of) => [of, [TOKENS, columns]]));
    expect(parameters.slice(0, -own.length).map(({ name: of }) => of)).toEqual(base.parameters.map((p) => p.name));
  });

  it("takes its positions from the front of every sequence", () => {
    expect(definition.maxPositions).toBe(positions - TOKENS);
    expect([0, 7].map((p) => definition.positionRow(p))).toEqual([TOKENS, 7 + TOKENS].map((p) => base.positionRow(p)));
  });

  it("has a unit in front of every layer, and leaves those of the base as they are cut without it", () => {
    const alone = cutUnits(adaptModel(base, undefined).recording, { wire: "bf16", compute: "bf16", unitBytes: 20_000 });
    const shapesOf = (of: readonly (typeof units)[number][]) =>
      of.map(({ tensors, wireBytes }) => [
        wireBytes,
        ...tensors.map(({ parameter, rowStart }) => [parameter.name, rowStart]),
      ]);
    expect(shapesOf(units.filter((unit) => !isAdapterUnit(unit)))).toEqual(shapesOf(alone));
    expect(units.filter(isAdapterUnit).map(({ tensors }) => tensors.map(({ parameter }) => parameter.name))).toEqual(
      [0, 1].map((layer) => [keyName(layer), valueName(layer)]),
    );
  });

  it("keeps every value where the ops that read it find it", () => {
    const needs = needsFor(
      units,
      { ...capacity, rows: 5, sequences: 2, headRows: 3, targets: 4 },
      [AT_WEIGHTS],
      "logits",
    );
    expect(prefixRowsOf(units)).toBe(TOKENS);
    expect(needs.capacity).toMatchObject({ prefixRows: 2 * TOKENS, keyRows: 5 + 2 * TOKENS });
    for (const elsewhere of [false, true]) {
      const places = placeValues(units, needs.capacity, "bf16", "logits");
      expect(lostValues(units, places, needs.capacity, "logits", elsewhere)).toEqual([]);
    }
  });

  it("begins with tokens of the vocabulary, by the seed", () => {
    expect(adapter?.begins).toEqual(prefixTokens(5, TOKENS, base.vocabSize));
    expect(adaptModel(base, { ...asked, seed: 6 }).adapter?.begins).not.toEqual(adapter?.begins);
  });
});

it("a prefix leaves a sequence two positions, or is refused", () => {
  const base = define("gpt2");
  expect(adaptModel(base, { ...asked, tokens: 62 }).definition.maxPositions).toBe(2);
  expect(() => adaptModel(base, { ...asked, tokens: 63 })).toThrow(/has 63 tokens.*take at most 62/);
});

it("draws different tokens, all of the vocabulary", () => {
  const drawn = prefixTokens(1, 10_000, 7);
  expect([...new Set(drawn)].sort()).toEqual([0, 1, 2, 3, 4, 5, 6]);
});
