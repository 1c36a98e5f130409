/** Seconds of a pass's commands on some hardware. */
import { at } from "../base/at.js";
import { floatOf } from "../base/dtype.js";
import { loweredOps } from "../memory/operands.js";
import type { Plan } from "../memory/plan.js";
import type { Unit } from "../memory/units.js";
import { type DrawnNoise, varianceOf } from "../method/index.js";
import { attentionCost, productCost } from "../ops/cost.js";
import type { Inputs } from "../ops/value.js";
import type { Lane, Work } from "../schedule/command.js";
import { type Amounts, amountsOf, opAmounts, type PassSizes } from "./amounts.js";
import type { Hardware } from "./hardware.js";
import { secondsAt } from "./rate.js";

export interface Cost extends Amounts {
  /** Of the command alone on the hardware. */
  readonly seconds: number;
}

/** Of the passes of one plan over equal micro-batches. */
export class Costs {
  /** By unit, since a visit's cost is asked for once a probe and micro-batch. */
  private readonly runs = new Map<number, Cost>();

  /** @param inputs of the recording that the plan is of. */
  constructor(
    private readonly plan: Plan,
    private readonly inputs: Inputs,
    private readonly hardware: Hardware,
    private readonly noise: DrawnNoise,
    private readonly sizes: PassSizes,
  ) {}

  of(lane: Lane, work: Work): Cost {
    if (work.kind !== "run") return this.costOf(lane, work);
    const known = this.runs.get(work.unit) ?? this.costOf(lane, work);
    this.runs.set(work.unit, known);
    return known;
  }

  private costOf(lane: Lane, work: Work): Cost {
    const amounts = amountsOf(this.plan, this.inputs, work, this.sizes);
    return { ...amounts, seconds: this.hardware.command + this.secondsOf(lane, work, amounts) };
  }

  private secondsOf(lane: Lane, work: Work, { bytes = 0, diskBytes = 0, deviceBytes = 0, draws = 0 }: Amounts): number {
    const { hardware } = this;
    switch (work.kind) {
      case "run":
        return this.runSeconds(work);
      case "prepare":
      case "prepareGathered":
        return Math.max(deviceBytes / hardware.memory, draws / this.drawsPerSecond(at(this.plan.units, work.unit)));
      default:
        return (
          bytes / (lane === "offload" ? hardware.offload : hardware.upload) +
          diskBytes / (lane === "write" ? hardware.disk.write : hardware.disk.read)
        );
    }
  }

  /** One op after the other, each bound by what it reads and writes or by what it computes. */
  private runSeconds({ unit, microBatch }: Work & { readonly kind: "run" }): number {
    const { plan, inputs, hardware } = this;
    const { compute } = plan.options;
    const symbols = this.sizes.symbolsOf(microBatch);
    let seconds = 0;
    for (const op of loweredOps(plan, at(plan.units, unit), inputs)) {
      const product = productCost(op, symbols);
      const attention = attentionCost(op, symbols);
      const computing =
        secondsAt(hardware.flops[compute], product.size, product.operations) +
        secondsAt(hardware.attention[compute], attention.size, attention.operations);
      seconds += hardware.op + Math.max(opAmounts(plan, op, symbols).deviceBytes / hardware.memory, computing);
    }
    return seconds;
  }

  private drawsPerSecond({ tensors }: Unit): number {
    // Of low rank no rate is measured: a column's factor takes what an element's Gaussian noise does.
    const { noise } = this;
    const rate = this.hardware.noise[typeof noise === "string" ? noise : "gaussian"];
    const draws = varianceOf(noise);
    if (typeof rate === "number") return rate / draws;
    const [largest] = [...tensors].sort((a, b) => b.count - a.count);
    // Of blocks no rate is measured: that of the dtype which has all their values.
    return rate[floatOf(largest?.wire ?? "fp32")] / draws;
  }
}
