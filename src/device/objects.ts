import type { Buffer, Device, Layout, Program } from "zo2/native";
import { at } from "../base/at.js";
import { scaleOffsetOf } from "../base/dtype.js";
import { SEGMENT } from "../contract/constants.js";
import { FLOAT_DTYPE, WIRE_DTYPE, spaceBytes, unitProgram } from "../memory/operands.js";
import type { Plan } from "../memory/plan.js";
import type { GatheredTable, TensorSlice, Unit } from "../memory/units.js";
import type { Parameter } from "../ops/parameter.js";
import type { Inputs } from "../ops/value.js";
import { allocate, USE, withAdvice } from "./allocate.js";
import { type Placed, placed } from "./place.js";

/** What one unit needs on a device. */
export interface UnitObjects {
  readonly unit: Unit;
  readonly layout: Layout;
  readonly gathered: Layout | null;
  readonly program: Program;
}

/** The objects that a plan needs on a device: both arenas, and one layout and one program for each unit. */
export class PlanObjects {
  /** Where everything lies in the working arena, and in that of host memory. */
  readonly device: Placed<Plan["device"]>;
  readonly host: Placed<Plan["host"]>;
  /** The rows of the gathered table, by the units that hold them. */
  readonly tableSlices: readonly { readonly unit: number; readonly slice: TensorSlice }[];

  private constructor(
    readonly plan: Plan,
    private readonly arena: Buffer,
    private readonly hostArena: Buffer,
    private readonly units: readonly UnitObjects[],
  ) {
    this.device = placed(plan.device, arena);
    this.host = placed(plan.host, hostArena);
    const table = plan.units.find(({ gathered }) => gathered !== null)?.gathered?.parameter;
    this.tableSlices = plan.units.flatMap(({ index, tensors }) =>
      tensors.flatMap((slice) => (slice.parameter === table ? [{ unit: index, slice }] : [])),
    );
  }

  /**
   * @param frozen parameters that are neither perturbed nor updated; they keep their place in the canonical order.
   * @throws Zo2Error ZO2_ERR_OUT_OF_MEMORY; nothing is left allocated then
   */
  static async create(
    device: Device,
    plan: Plan,
    inputs: Inputs,
    frozen: ReadonlySet<Parameter>,
  ): Promise<PlanObjects> {
    const made: { dispose(): void }[] = [];
    const keep = <T extends { dispose(): void }>(handle: T): T => {
      made.push(handle);
      return handle;
    };
    try {
      const arena = keep(await allocate(device, "device", plan.device.bytes, USE.plan));
      const host = keep(await allocate(device, "host", plan.host.bytes, USE.plan));
      const spaces = spaceBytes(plan);
      const units = plan.units.map((unit): UnitObjects => {
        const { gathered } = unit;
        return {
          unit,
          layout: keep(device.createLayout(unitSegments(unit, frozen))),
          gathered: gathered === null ? null : keep(device.createLayout(gatheredSegment(plan, gathered, frozen))),
          program: keep(device.createProgram(unitProgram(plan, unit, inputs), spaces)),
        };
      });
      return new PlanObjects(plan, arena, host, units);
    } catch (error) {
      for (const handle of made) handle.dispose();
      throw withAdvice(error, USE.plan);
    }
  }

  unit(index: number): UnitObjects {
    return at(this.units, index);
  }

  dispose(): void {
    for (const { layout, gathered, program } of this.units) {
      layout.dispose();
      gathered?.dispose();
      program.dispose();
    }
    this.hostArena.dispose();
    this.arena.dispose();
  }
}

function unitSegments(unit: Unit, frozen: ReadonlySet<Parameter>): Float64Array {
  const words = unit.tensors.flatMap((t) => {
    const isMatrix = t.parameter.shape.length > 1;
    return [
      ...[t.canonical, t.count, t.wireOffset, t.scratchOffset, isMatrix ? t.count / t.rowCount : 0],
      ...[WIRE_DTYPE[t.wire], FLOAT_DTYPE[t.scratch], segmentFlags(t.parameter, frozen)],
      ...[isMatrix ? t.rowStart : 0, t.scaleOffset],
    ];
  });
  return Float64Array.from(words);
}

function gatheredSegment(
  { options }: Plan,
  { parameter, width, wire, scratchOffset }: GatheredTable,
  frozen: ReadonlySet<Parameter>,
): Float64Array {
  const { tableRows } = options.capacity;
  const count = tableRows * width;
  const dtypes = [WIRE_DTYPE[wire], FLOAT_DTYPE[options.compute]];
  const flags = segmentFlags(parameter, frozen) | SEGMENT.gathered;
  const scales = scaleOffsetOf(wire, tableRows, width);
  return Float64Array.from([parameter.canonical, count, 0, scratchOffset, width, ...dtypes, flags, 0, scales]);
}

function segmentFlags(parameter: Parameter, frozen: ReadonlySet<Parameter>): number {
  return (parameter.decay ? SEGMENT.decay : 0) | (frozen.has(parameter) ? SEGMENT.frozen : 0);
}
