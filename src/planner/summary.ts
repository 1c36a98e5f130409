/** A plan that was chosen, as others read it. */
import { BYTES_OF, type FloatType, type WireType } from "../base/dtype.js";
import { type Activations, activationsOf, deviceBytes, deviceParts, diskBytes, hostBytes } from "../memory/plan.js";
import { isOfAdapter, type Parameter } from "../ops/parameter.js";
import { type Lane, LANES } from "../schedule/command.js";
import type { Hardware } from "../simulate/hardware.js";
import { busiestLane, type SimulatedStep } from "../simulate/simulate.js";
import type { Fit } from "./choose.js";
import type { Workload } from "./workload.js";

/** What `planModel` and `zo2 plan --json` give. */
export interface ModelPlan {
  /** As it was named. */
  readonly model: string;
  /** Elements of all, and of the adapter that is trained over them; null: they are trained themselves. */
  readonly parameters: number;
  readonly adapterParameters: number | null;
  /** Bytes of the weights to read or download, in the dtype that `config.json` names; in fp32 if it names none. */
  readonly checkpointBytes: number;
  /** Whether `config.json` says which dtype the weights are stored in. */
  readonly storedKnown: boolean;
  /** Dtype of the weights at rest and in transfer, and of the matrix products. */
  readonly wire: WireType;
  readonly dtype: FloatType;
  /** What a step is planned for; its rows are those that are computed. */
  readonly step: {
    readonly sequences: number;
    readonly length: number;
    readonly microBatches: number;
    readonly rows: number;
  };
  readonly hardware: { readonly name: string; readonly title: string; readonly source: string } | null;
  /** Most bytes of device memory that were allowed; null: no limit. */
  readonly deviceMemory: number | null;
  readonly deviceBytes: number;
  readonly hostBytes: number;
  /** Weights that rest on a disk, where all are trained. */
  readonly diskBytes: number;
  /** Wire bytes of all weights. */
  readonly weightBytes: number;
  /** Options of `loadModel` that make this plan, where all units rest alike. */
  readonly unitBytes: number;
  readonly slots: number;
  readonly prepareAhead: boolean;
  /** Where the activations between units rest, and their bytes. */
  readonly activations: Activations;
  readonly residentUnits: number;
  readonly streamedUnits: number;
  /** Device memory by purpose. */
  readonly parts: readonly { readonly name: string; readonly bytes: number }[];
  /** Null without hardware. */
  readonly predicted: {
    readonly stepSeconds: number;
    readonly tokensPerSecond: number;
    /** The lane that works longest. */
    readonly bound: Lane;
    /** Of each lane, the share of the step that it works. */
    readonly lanes: Readonly<Record<Lane, number>>;
  } | null;
}

export interface About {
  readonly name: string;
  readonly parameters: readonly Parameter[];
  readonly workload: Workload;
  readonly hardware: Hardware | null;
  readonly hardwareName: string | null;
  readonly stored: FloatType | null;
  readonly wire: WireType;
  readonly compute: FloatType;
  readonly deviceMemory: number | null;
}

export function summaryOf(
  { plan, units, tiers, unitBytes, slots, prepareAhead, predicted }: Fit & { readonly predicted: SimulatedStep | null },
  { name, parameters, workload, hardware, hardwareName, stored, wire, compute, deviceMemory }: About,
): ModelPlan {
  const count = (of: readonly Parameter[]) => of.reduce((sum, parameter) => sum + parameter.count, 0);
  const own = parameters.filter(isOfAdapter);
  const elements = count(parameters) - count(own);
  const residentUnits = tiers.filter((tier) => tier === "device").length;
  const { sequences, length, tokens: rows, capacity } = workload;
  return {
    ...{ model: name, parameters: elements, checkpointBytes: elements * BYTES_OF[stored ?? "fp32"] },
    adapterParameters: own.length === 0 ? null : count(own),
    ...{ storedKnown: stored !== null, wire, dtype: compute },
    step: { sequences, length, microBatches: capacity.microBatches, rows },
    hardware:
      hardware === null || hardwareName === null
        ? null
        : { name: hardwareName, title: hardware.name, source: hardware.source },
    ...{ deviceMemory, deviceBytes: deviceBytes(plan), hostBytes: hostBytes(plan), diskBytes: diskBytes(plan) },
    weightBytes: units.reduce((sum, unit) => sum + unit.wireBytes, 0),
    ...{
      unitBytes,
      slots,
      prepareAhead,
      activations: activationsOf(plan),
      residentUnits,
      streamedUnits: units.length - residentUnits,
    },
    parts: deviceParts(plan),
    predicted: predicted === null ? null : predictionOf(predicted, rows),
  };
}

function predictionOf(predicted: SimulatedStep, rows: number): NonNullable<ModelPlan["predicted"]> {
  const { seconds, busy } = predicted;
  const shares = LANES.map((lane) => [lane, busy[lane] / seconds] as const);
  return {
    ...{ stepSeconds: seconds, tokensPerSecond: rows / seconds, bound: busiestLane(predicted) },
    lanes: Object.fromEntries(shares) as Record<Lane, number>,
  };
}
