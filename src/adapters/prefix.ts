/** Prefix tuning (Li and Liang, arXiv 2101.00190): keys and values in front of every sequence, trained themselves. */
import type { ParameterSpec } from "../ops/parameter.js";
import { type Block, isParameter, type Recorder, type Recording } from "../ops/record.js";
import type { Value } from "../ops/value.js";
import type { AdapterDefinition } from "./adapter.js";

/** A block of the base with its attention. */
export interface PrefixedLayer {
  readonly block: string;
  readonly kvHeads: number;
  /** kvHeads x headSize. */
  readonly columns: number;
}

export const keyName = (layer: number) => `prefix.${layer}.key`;
export const valueName = (layer: number) => `prefix.${layer}.value`;

/** The blocks that have an attention, in order. @param base as it is recorded without an adapter */
export function prefixedLayers(base: Recording): readonly PrefixedLayer[] {
  return base.blocks.flatMap(({ name, ops }) =>
    ops.flatMap((op): PrefixedLayer[] => {
      const k = op.operands["k"] ?? null;
      if (op.name !== "attention" || k === null || isParameter(k)) return [];
      return [{ block: name, kvHeads: Number(op.attributes["kvHeads"]), columns: k.columns }];
    }),
  );
}

/** @param tokens rows of keys and values in front of every sequence */
export function definePrefix(base: Recording, tokens: number): AdapterDefinition {
  const layers = prefixedLayers(base);
  const parameters = layers.flatMap(({ columns }, layer) =>
    [keyName(layer), valueName(layer)].map(
      (name): ParameterSpec => ({ name, shape: [tokens, columns], decay: true, adapter: true }),
    ),
  );
  const layerOf = new Map(layers.map(({ block }, layer) => [block, layer]));
  return {
    ...{ kind: "prefix", parameters, alsoTrained: [], prefixRows: tokens },
    over: (recorder) => recordOver(recorder, layerOf),
  };
}

/** A block begins with the keys and values that its attention puts in front of sequences. */
function recordOver(recorder: Recorder, layerOf: ReadonlyMap<string, number>): Recorder {
  const { embed, prefixedAttention, inputs } = recorder;
  const block = recorder.block.bind(recorder);
  const rowsOf = (name: string) => embed({ table: recorder.parameter(name), index: inputs.prefixIds });
  let front: { readonly prefixKeys: Value; readonly prefixValues: Value } | null = null;
  return Object.assign(recorder, {
    block: <T>(name: string, kind: Block["kind"], body: () => T): T =>
      block(name, kind, () => {
        const layer = layerOf.get(name);
        front =
          layer === undefined ? null : { prefixKeys: rowsOf(keyName(layer)), prefixValues: rowsOf(valueName(layer)) };
        return body();
      }),
    attention: (given: Parameters<Recorder["attention"]>[0]): Value => {
      if (front === null) throw new Error("an attention outside of the layers has no prefix");
      return prefixedAttention({ ...given, ...front });
    },
  });
}
