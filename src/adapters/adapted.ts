/** A model with the adapter that is asked for over it. */
import { Zo2Error } from "../base/errors.js";
import type { ModelDefinition } from "../models/family.js";
import { recordModel } from "../models/index.js";
import { numberParameters, type Parameter } from "../ops/parameter.js";
import type { Recording } from "../ops/record.js";
import type { AdapterDefinition } from "./adapter.js";
import { type Adapter, type AdapterRequest, makeAdapter } from "./make.js";

/** One token is predicted from another. */
const SHORTEST = 2;

export interface Adapted {
  readonly adapter: Adapter | null;
  /** Of the base, as sequences find it behind the adapter. */
  readonly definition: ModelDefinition;
  /** Of the base, and of the adapter behind them. In the canonical order. */
  readonly parameters: readonly Parameter[];
  readonly recording: Recording;
}

/** @throws Zo2Error ZO2_ERR_CONFIG for an adapter that does not go with the model */
export function adaptModel(definition: ModelDefinition, asked: AdapterRequest | undefined): Adapted {
  const alone = numberParameters(definition.parameters);
  const base = recordModel(definition, alone);
  if (asked === undefined) return { adapter: null, definition, parameters: alone, recording: base };
  const adapter = makeAdapter(asked, base, definition);
  const parameters = withAdapter(definition, adapter.definition);
  const recording = recordModel(definition, parameters, adapter.definition);
  return { adapter, definition: behind(definition, adapter.definition.prefixRows), parameters, recording };
}

/**
 * Positions of sequences begin behind the rows that stand in front of them, as PEFT counts them.
 * @throws Zo2Error ZO2_ERR_CONFIG where no sequence has room there
 */
function behind(definition: ModelDefinition, rows: number): ModelDefinition {
  if (rows === 0) return definition;
  const most = definition.maxPositions - SHORTEST;
  if (rows > most) {
    throw new Zo2Error(
      "ZO2_ERR_CONFIG",
      `the adapter has ${rows} tokens, and of the model's ${definition.maxPositions} positions a sequence needs ` +
        `${SHORTEST}; take at most ${Math.max(0, most)} as option "adapter.tokens"`,
    );
  }
  return {
    ...definition,
    maxPositions: definition.maxPositions - rows,
    positionRow: (position) => definition.positionRow(position + rows),
  };
}

/** Those of an adapter stand behind the base's: no index of the base moves. */
function withAdapter(definition: ModelDefinition, adapter: AdapterDefinition): readonly Parameter[] {
  const also = new Set(adapter.alsoTrained);
  const base = definition.parameters.map((spec) => (also.has(spec.name) ? { ...spec, adapter: true as const } : spec));
  return numberParameters([...base, ...adapter.parameters]);
}
