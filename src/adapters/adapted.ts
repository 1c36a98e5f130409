/** A model with the adapter that is asked for over it. */
import type { ModelDefinition } from "../models/family.js";
import { recordModel } from "../models/index.js";
import { numberParameters, type Parameter } from "../ops/parameter.js";
import type { Recording } from "../ops/record.js";
import type { AdapterDefinition } from "./adapter.js";
import { type Adapter, type AdapterRequest, makeAdapter } from "./make.js";

export interface Adapted {
  readonly adapter: Adapter | null;
  /** Of the base, and of the adapter behind them. In the canonical order. */
  readonly parameters: readonly Parameter[];
  readonly recording: Recording;
}

/** @throws Zo2Error ZO2_ERR_CONFIG for an adapter that does not go with the model */
export function adaptModel(definition: ModelDefinition, asked: AdapterRequest | undefined): Adapted {
  const alone = numberParameters(definition.parameters);
  const base = recordModel(definition, alone);
  if (asked === undefined) return { adapter: null, parameters: alone, recording: base };
  const adapter = makeAdapter(asked, base);
  const parameters = withAdapter(definition, adapter.definition);
  return { adapter, parameters, recording: recordModel(definition, parameters, adapter.definition) };
}

/** Those of an adapter stand behind the base's: no index of the base moves. */
function withAdapter(definition: ModelDefinition, adapter: AdapterDefinition): readonly Parameter[] {
  const also = new Set(adapter.alsoTrained);
  const base = definition.parameters.map((spec) => (also.has(spec.name) ? { ...spec, adapter: true as const } : spec));
  return numberParameters([...base, ...adapter.parameters]);
}
