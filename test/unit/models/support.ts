import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { ModelDefinition } from "../../../src/models/family.js";
import { defineModel } from "../../../src/models/index.js";
import { numberParameters } from "../../../src/ops/parameter.js";
import { createRecorder } from "../../../src/ops/record.js";
import type { Op } from "../../../src/ops/row.js";
import type { OPS, OpName } from "../../../src/ops/table.js";

export type Config = Record<string, unknown>;

const folder = join(__dirname, "../../fixtures/models");

export const MODELS = readdirSync(folder).sort();

export function fixtureFolder(name: string): string {
  return join(folder, name);
}

export function readFixture(name: string, file: string): Config {
  return JSON.parse(readFileSync(join(folder, name, file), "utf8")) as Config;
}

/** The `config.json` of a fixture with some fields replaced; `undefined` takes one out. */
export function configOf(name: string, change: Config = {}): Config {
  return Object.fromEntries(
    Object.entries({ ...readFixture(name, "config.json"), ...change }).filter(([, value]) => value !== undefined),
  );
}

export function define(name: string, change: Config = {}): ModelDefinition {
  return defineModel(configOf(name, change));
}

type OpOf<K extends OpName> = Op<K, (typeof OPS)[K]>;

/** The ops of one name, in the order in which the model records them. */
export function opsOf<K extends OpName>(definition: ModelDefinition, name: K): OpOf<K>[] {
  const recorder = createRecorder(numberParameters(definition.parameters));
  definition.record(recorder);
  return recorder
    .finish()
    .blocks.flatMap(({ ops }) => ops)
    .filter((op) => op.name === name) as unknown as OpOf<K>[];
}
