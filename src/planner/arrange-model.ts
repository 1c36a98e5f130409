/** How a model that is being loaded is held: cut, put to rest, and arranged anew when a pass needs more room. */
import type { FloatType } from "../base/dtype.js";
import { noiseOf, plannedStep } from "../config/methods/index.js";
import type { ResolvedModelOptions } from "../config/model.js";
import { withinBudget } from "../memory/budget.js";
import { type ControlLayout, controlLayout, stepStates } from "../memory/control.js";
import type { Needs } from "../memory/needs.js";
import { activationTiers } from "../memory/plan.js";
import type { Arrangement, Tier } from "../memory/residence.js";
import { type RestLayout, restLayout } from "../memory/rest.js";
import type { Unit, UnitOptions } from "../memory/units.js";
import { AT_WEIGHTS, type Probe } from "../method/index.js";
import { SHORTEST } from "../infer/plan-ahead.js";
import type { ModelDefinition } from "../models/family.js";
import type { Recording } from "../ops/record.js";
import type { Hardware } from "../simulate/hardware.js";
import type { Budgets, Pinned } from "./budgets.js";
import { arrangeUnits, choosePlan, type Fit, firstThatFits } from "./choose.js";
import { planLargest } from "./micro-batches.js";
import { workloadOf } from "./workload.js";

export interface ArrangeModelOptions extends Pick<UnitOptions, "wire" | "wires" | "asStored"> {
  readonly options: ResolvedModelOptions;
  readonly compute: FloatType;
  /** Where each unit rests, whatever the options say; for tests. */
  readonly tierOf?: ((unit: number) => Tier | undefined) | undefined;
  /** Of the device, where its figures are known. */
  readonly hardware: Hardware | null;
  /** What is free where the options do not say how much may be used; absent: no limit. Bytes. */
  readonly free: { readonly deviceMemory: number | undefined; readonly hostMemory: number };
  /** Whether the device's memory is the host's. */
  readonly sharesMemory: boolean;
  /** Whether the device prepares one unit while it runs another. */
  readonly overlaps: boolean;
}

export interface ArrangedModel {
  readonly unitBytes: number;
  readonly units: readonly Unit[];
  readonly arrangement: Arrangement;
  /** Where the activations between units may rest. */
  readonly activations: ResolvedModelOptions["offload"]["activations"];
  /** Of weights at rest on each tier, where all of them may be trained. */
  readonly restBytes: RestLayout["bytes"];
  /** Of those on disk, what no file of the checkpoint has as it rests: it is written when the model is loaded. */
  readonly writtenBytes: number;
  readonly budgets: Pick<Budgets, "deviceMemory" | "hostMemory" | "totalMemory">;
  /** For passes that need more room, or less; absent where the options say where units rest. */
  readonly arrange?: (needs: Needs, control: ControlLayout) => Arrangement;
}

/**
 * The step that it is made for is that of option `workload`, or of the longest sequences below that have room: what
 * batches really need is known later. Where none has room, it is made for a forward pass alone.
 * @throws Zo2Error ZO2_ERR_MEMORY_BUDGET where the shortest sequence has no room, with the least that would
 */
export function arrangeModel(
  definition: ModelDefinition,
  recording: Recording,
  { options, compute, wire, wires, asStored, tierOf, hardware, overlaps, ...o }: ArrangeModelOptions,
): ArrangedModel {
  const { offload, workload } = options;
  const auto = offload.to === "auto" && tierOf === undefined;
  const budgets = budgetsOf(offload, auto, o);
  const { unitBytes, slots, prepareAhead } = offload;
  const overlap = offload.overlap && overlaps;
  const ahead = prepareAhead === "auto" ? undefined : prepareAhead === "on";
  const whole: Tier = offload.to === "auto" ? "host" : offload.to;
  // In memory that is one they take the same wherever they rest.
  const activations = offload.activations === "auto" && o.sharesMemory ? "device" : offload.activations;
  const asked = activations === "auto" ? undefined : activations;
  const pinned: Pinned = {
    ...{ unitBytes, slots, prepareAhead: ahead, activations: asked },
    tierOf: auto ? undefined : (unit) => tierOf?.(unit) ?? whole,
  };
  const { probes: ofStep } = plannedStep(workload.method);
  const control = controlLayout(stepStates(offload.writeBackEvery));
  const chooseWith = (maxLength: number, microBatchSize: number, probes: readonly Probe[]): Fit => {
    const step = { ...workload, microBatchSize, maxTokens: options.maxTokens, maxLength };
    const { capacity, output, symbols } = workloadOf(definition, step);
    const room = { ...budgets, wire, wires, asStored, compute, pinned, capacity, probes, output, control, overlap };
    if (hardware === null) return firstThatFits(recording, room);
    return choosePlan(recording, { ...room, hardware, step: { noise: noiseOf(workload.method, undefined), symbols } });
  };
  const chooseFor = (maxLength: number, probes: readonly Probe[]): Fit =>
    planLargest(workload, (microBatchSize) => chooseWith(maxLength, microBatchSize, probes));
  const { maxPositions } = definition;
  const fit =
    longestThatFits(Math.min(workload.maxLength ?? maxPositions, maxPositions), (length) =>
      chooseFor(length, workload.training ? ofStep : [AT_WEIGHTS]),
    ) ?? chooseFor(SHORTEST, [AT_WEIGHTS]);
  const first = { slots: fit.slots, prepareAhead: fit.prepareAhead };
  const disk = fit.tiers.flatMap((tier, unit) => (tier === "disk" ? [unit] : []));
  const onDisk = budgets.diskMemory === undefined ? undefined : new Set(disk);
  return {
    ...{ unitBytes: fit.unitBytes, units: fit.units, activations, budgets },
    arrangement: { ...first, activations: fit.activations, tiers: fit.tiers },
    restBytes: fit.plan.rest.bytes,
    writtenBytes: restLayout(
      fit.units,
      fit.tiers.map((rest) => ({ rest, scratch: false })),
    ).bytes.disk,
    ...(auto
      ? {
          arrange: (needs, of) => {
            const room = { ...budgets, needs, control: of, compute, overlap };
            // What was found to be the fastest stays, where it has room.
            const found = activationTiers(needs).includes(fit.activations) ? fit.activations : "device";
            const fastest = { ...first, activations: asked ?? found, onDisk };
            return (
              withinBudget(() => arrangeUnits(fit.units, { ...room, pinned: fastest })) ??
              arrangeUnits(fit.units, { ...room, pinned: { slots, prepareAhead: ahead, activations: asked, onDisk } })
            );
          },
        }
      : {}),
  };
}

/** What the options allow; where they choose where units rest, else what is free. */
function budgetsOf(
  { deviceMemory, hostMemory, diskPath, diskMemory }: ResolvedModelOptions["offload"],
  auto: boolean,
  { free, sharesMemory }: Pick<ArrangeModelOptions, "free" | "sharesMemory">,
): Budgets {
  if (!auto) return { deviceMemory, hostMemory };
  // Without a disk, what does not fit in what is free may still fit in what others give up.
  const host = hostMemory ?? (diskPath === undefined ? undefined : free.hostMemory);
  return {
    deviceMemory: deviceMemory ?? free.deviceMemory,
    ...(sharesMemory ? { totalMemory: host } : { hostMemory: host }),
    diskMemory: diskPath === undefined ? undefined : (diskMemory ?? Number.POSITIVE_INFINITY),
  };
}

/** Of sequences of `longest` tokens, half of them, and so on to the shortest. */
function longestThatFits(longest: number, choose: (length: number) => Fit): Fit | null {
  for (let length = longest; ; length = Math.max(SHORTEST, Math.ceil(length / 2))) {
    const fit = withinBudget(() => choose(length));
    if (fit !== null || length <= SHORTEST) return fit;
  }
}
