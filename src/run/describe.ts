/** What a run's journal says of it: the header, and each process that trains it. */
import { availableParallelism } from "node:os";
import { hashOfJson } from "../base/hash.js";
import { runtimeName } from "../base/runtime.js";
import { noiseOf } from "../config/methods/index.js";
import { roundingOf } from "../config/model.js";
import type { ResolvedTrainerOptions } from "../config/trainer.js";
import { nativeBuild } from "../device/open.js";
import { packageVersion } from "../device/package-version.js";
import { FORMAT_VERSION, type RunHeader, type RunSession } from "../journal/header.js";
import type { Loaded } from "../loaded.js";
import { deviceBytes, deviceParts, hostBytes, type Plan } from "../memory/plan.js";
import { stepOf } from "../method/index.js";
import { matchParameters } from "../models/match-parameters.js";
import { isOfAdapter, type Parameter } from "../ops/parameter.js";

/** Fields of config.json that say how weights are stored or who wrote them. */
const NOT_OF_THE_MODEL = ["torch_dtype", "dtype", "transformers_version", "_name_or_path"];

/** Options of a trainer that change no weight, or only from the step on at which they change. */
const MAY_CHANGE = [
  ...["run", "durability", "steps", "evaluation", "microBatchSize", "deferredUpdate", "checkData"],
  ...["objective", "snapshots", "onDivergence", "test"],
] as const;

/** What tells a run's data from any other. */
export type DataDescription = RunHeader["data"];

export async function headerOf(
  loaded: Loaded,
  options: ResolvedTrainerOptions,
  data: DataDescription,
): Promise<RunHeader> {
  const { method, seed, freeze } = options;
  const { parameters } = loaded;
  const { probes, rule } = stepOf(method);
  const inPlace = probes.flatMap(({ sign }, p) => (sign === 0 ? [p] : []));
  const frozen = matchParameters(parameters, freeze);
  return {
    format: FORMAT_VERSION,
    package: packageVersion(),
    created: new Date().toISOString(),
    ...(await baseOf(loaded)),
    training: trainingOf(options),
    method: {
      ...{ probes: probes.length, directions: rule.differences.length },
      ...(inPlace.length === 0 ? {} : { inPlace }),
      ...{ noise: noiseOf(method), weightDecay: method.weightDecay, seed: String(seed) },
      frozen: parameters.filter((parameter) => frozen.has(parameter)).map((parameter) => parameter.name),
    },
    data: { ...data },
  };
}

/** The weights that were loaded, and how updates are rounded. */
export async function baseOf({
  name,
  config,
  parameters,
  fingerprints,
  session,
  options,
}: Loaded): Promise<Pick<RunHeader, "base" | "numerics">> {
  const wires = new Map(
    session.units.flatMap(({ tensors }) => tensors.map(({ parameter, wire }) => [parameter, wire] as const)),
  );
  return {
    base: {
      name,
      config: await hashOfJson(without(config, NOT_OF_THE_MODEL)),
      tensors: parameters.map((parameter) => ({
        ...{ name: parameter.name, shape: [...parameter.shape] },
        wire: of(wires, parameter),
        hash: of(fingerprints, parameter),
        ...(isOfAdapter(parameter) ? { adapter: true } : {}),
      })),
      ...(options.adapter === undefined ? {} : { adapter: { ...options.adapter } }),
    },
    numerics: { compute: options.dtype, rounding: roundingOf(options), tf32: options.tf32 },
  };
}

/** As JSON has them. */
export function trainingOf(options: ResolvedTrainerOptions): Record<string, unknown> {
  const text = JSON.stringify(
    without({ ...options, objectiveFrom: options.objective?.from }, MAY_CHANGE),
    (_, value) => (typeof value === "bigint" ? String(value) : (value as unknown)),
  );
  return JSON.parse(text) as Record<string, unknown>;
}

export async function sessionOf(loaded: Loaded, options: ResolvedTrainerOptions, from: number): Promise<RunSession> {
  const { session } = loaded;
  const info = session.info();
  const { offload, device, threads } = loaded.options;
  const { steps, microBatchSize, deferredUpdate, durability, snapshots, onDivergence } = options;
  const cut = session.units.map(({ name, tensors }) => [
    name,
    tensors.map((t) => [t.parameter.name, t.rowStart, t.rowCount]),
  ]);
  return {
    from,
    started: new Date().toISOString(),
    package: packageVersion(),
    device: `${info.name}${info.features === "" ? "" : `, ${info.features}`}`,
    options: JSON.parse(
      JSON.stringify({
        device,
        threads: threads ?? availableParallelism(),
        offload,
        steps,
        microBatchSize,
        deferredUpdate,
        durability,
        snapshots,
        onDivergence,
      }),
    ) as Record<string, unknown>,
    rounding: await hashOfJson({
      build: nativeBuild().build,
      kind: info.kind,
      features: info.features,
      cut,
      microBatchSize,
    }),
    runtime: runtimeName(),
    ...(session.plan === null ? {} : { plan: planned(session.plan) }),
  };
}

function planned(plan: Plan): NonNullable<RunSession["plan"]> {
  return { deviceBytes: deviceBytes(plan), hostBytes: hostBytes(plan), parts: deviceParts(plan) };
}

function of<T>(map: ReadonlyMap<Parameter, T>, parameter: Parameter): T {
  const value = map.get(parameter);
  if (value === undefined) throw new Error(`${parameter.name} is in no unit`);
  return value;
}

function without<T extends object>(object: T, names: readonly string[]): Partial<T> {
  return Object.fromEntries(Object.entries(object).filter(([name]) => !names.includes(name))) as Partial<T>;
}
