/** What it would take to fine-tune a model, from its `config.json` alone: no weight is read, and no addon needed. */
import { join } from "node:path";
import { Zo2Error } from "../base/errors.js";
import { FLOAT_TYPES, type FloatType, TORCH_DTYPE } from "../base/dtype.js";
import { readJsonFile } from "../base/files.js";
import { isRecord } from "../base/guards.js";
import { CONFIG_FILE } from "../checkpoint/checkpoint.js";
import { noiseOf, plannedStep } from "../config/methods/index.js";
import { parseOptions } from "../config/parse.js";
import { type PlanModelOptions, planOptionsSchema, type ResolvedPlanOptions } from "../config/plan.js";
import { resolveModel } from "../hub/index.js";
import { controlLayout, stepStates } from "../memory/control.js";
import type { DrawnNoise } from "../method/index.js";
import { adaptModel } from "../adapters/adapted.js";
import type { AdapterRequest } from "../adapters/make.js";
import { readRequest } from "../adapters/request.js";
import { defineModel } from "../models/index.js";
import type { Recording } from "../ops/record.js";
import { type Hardware, hardwareNamed, THIS_MACHINE } from "../simulate/hardware.js";
import type { SimulatedStep } from "../simulate/simulate.js";
import { choosePlan, type Fit, firstThatFits, type RoomOptions } from "./choose.js";
import { planLargest } from "./micro-batches.js";
import { type ModelPlan, summaryOf } from "./summary.js";
import { type Workload, workloadOf } from "./workload.js";

export interface PlanModelHooks {
  readonly signal?: AbortSignal;
  /** Told the device's name before this machine is measured, which takes up to a minute. */
  readonly onMeasure?: (device: string) => void;
}

/**
 * How a step would hold this model in the memory that is allowed, and how long it would take by the figures
 * of a data sheet, or of this machine, which is measured for it. Of a Hub repository only `config.json` is fetched.
 *
 * @param nameOrDir as for `loadModel`; a folder needs no weights.
 * @throws Zo2Error ZO2_ERR_MEMORY_BUDGET where nothing fits, with the least that would; ZO2_ERR_CONFIG,
 *   ZO2_ERR_MODEL_UNSUPPORTED, ZO2_ERR_LENGTH; what `resolveModel` throws; for this machine ZO2_ERR_ADDON and
 *   ZO2_ERR_DEVICE
 */
export async function planModel(
  nameOrDir: string,
  options: PlanModelOptions = {},
  { signal, onMeasure }: PlanModelHooks = {},
): Promise<ModelPlan> {
  const parsed = parseOptions(planOptionsSchema, options, "plan options");
  const dir = await resolveModel(nameOrDir, {
    ...{ ...parsed.hub, configOnly: true },
    ...(signal === undefined ? {} : { signal }),
  });
  const path = join(dir, CONFIG_FILE);
  const config = await readJsonFile(path, "ZO2_ERR_CHECKPOINT");
  if (config === undefined)
    throw new Zo2Error(
      "ZO2_ERR_CHECKPOINT",
      `${dir}: has no ${CONFIG_FILE}; give the folder of a model in Hugging Face form`,
    );
  // What is wrong with the model is said before seconds are spent on the machine, which alone needs the addon.
  const definition = defineModel(config, parsed.ignoreConfigFields);
  const { adapter: asked, ...o } = parsed;
  const adapter = await readRequest(asked, definition);
  if (o.hardware !== THIS_MACHINE) return planConfig(nameOrDir, config, { ...o, adapter });
  const { thisMachine } = await import("../measure/this-machine.js");
  return planConfig(
    nameOrDir,
    config,
    { ...o, adapter },
    await thisMachine({ device: "auto" }, { signal, anew: o.measure, onMeasure }),
  );
}

/** The same for a parsed `config.json`. @param hardware @default what `o` names, by its data sheet */
export function planConfig(
  name: string,
  config: unknown,
  o: Omit<ResolvedPlanOptions, "adapter"> & { readonly adapter?: AdapterRequest | undefined },
  hardware: Hardware | null = o.hardware === undefined ? null : (hardwareNamed(o.hardware) ?? null),
): ModelPlan {
  const { definition, recording } = adaptModel(defineModel(config, o.ignoreConfigFields), o.adapter);
  const stored = storedType(config);
  const deviceMemory = o.offload.deviceMemory ?? hardware?.deviceBytes;
  return planLargest(o, (microBatchSize) => {
    const workload = workloadOf(definition, { ...o, microBatchSize });
    const room = roomOptions(o, workload, stored ?? "fp32", { deviceMemory, hardware });
    const found = choose(recording, hardware, room, workload, noiseOf(o.method, o.noise));
    return summaryOf(found, {
      ...{ name, parameters: recording.parameters, workload, hardware, hardwareName: o.hardware ?? null },
      ...{ stored, wire: room.wire, compute: o.dtype, deviceMemory: deviceMemory ?? null },
    });
  });
}

/** The dtype that a config says its weights have; null where it says none that weights rest in. */
function storedType(config: unknown): FloatType | null {
  const type = isRecord(config) ? (config["torch_dtype"] ?? config["dtype"]) : undefined;
  return FLOAT_TYPES.find((known) => TORCH_DTYPE[known] === type) ?? null;
}

function roomOptions(
  { offload, dtype, method }: ResolvedPlanOptions,
  { capacity, output }: Workload,
  stored: FloatType,
  { deviceMemory, hardware }: { readonly deviceMemory: number | undefined; readonly hardware: Hardware | null },
): RoomOptions {
  const { to: tier, unitBytes, slots, prepareAhead, overlap, hostMemory, diskPath } = offload;
  const diskMemory = diskPath === undefined ? undefined : (offload.diskMemory ?? Number.POSITIVE_INFINITY);
  // A CPU's memory is the host's: activations take the same wherever they rest.
  const activations = offload.activations === "auto" && hardware?.overlaps === false ? "device" : offload.activations;
  return {
    ...{ deviceMemory, hostMemory, diskMemory, compute: dtype, capacity, output, overlap },
    probes: plannedStep(method).probes,
    wire: offload.wire === "stored" ? stored : offload.wire,
    pinned: {
      tierOf: tier === "auto" ? undefined : () => tier,
      unitBytes,
      slots,
      prepareAhead: prepareAhead === "auto" ? undefined : prepareAhead === "on",
      activations: activations === "auto" ? undefined : activations,
    },
    control: controlLayout(stepStates(1)),
  };
}

function choose(
  recording: Recording,
  hardware: Hardware | null,
  room: RoomOptions,
  { symbols }: Workload,
  noise: DrawnNoise,
): Fit & { readonly predicted: SimulatedStep | null } {
  if (hardware === null) return { ...firstThatFits(recording, room), predicted: null };
  return choosePlan(recording, { ...room, hardware, step: { noise, symbols } });
}
