import type { Buffer, Device, Event, Layout, Program, Stream } from "zo2/native";
import { CommandList, type LossArgs, type SideArgs, type Span, type UpdateArgs } from "./words.js";
import { COEFFICIENT_BYTES, LOSS, NOISE, ROUND, SEGMENT, SPACE, STICKY_BYTES, SYMBOL } from "../contract/constants.js";
import type { Parameter } from "../ops/parameter.js";
import type { Recording } from "../ops/record.js";
import {
  CHOICE_FIELDS,
  EXAMPLE_FIELDS,
  SEQUENCE_FIELDS,
  SPAN_FIELDS,
  TARGET_FIELDS,
  type PackedBatch,
} from "../data/batch.js";
import { objectiveTables, type Batch } from "../memory/batch-tables.js";
import type { RowRange } from "../memory/cache-layout.js";
import { align, BYTES_OF } from "../base/dtype.js";
import type { Region } from "../memory/arena.js";
import { CONTROL, READBACK, STEP_STATE, STEP_STATES, type Plan } from "../memory/plan.js";
import { FLOAT_DTYPE, spaceBytes, unitProgram } from "../memory/operands.js";
import { LANES, type Command, type Lane, type Pass } from "../schedule/pass.js";
import type { WeightStore } from "./store.js";
import type { GatheredTable, Unit } from "../memory/units.js";

/** The noise of one step; `buffer` (tests only) is a table of z in the canonical order. */
export type NoiseSource = { readonly kind: "gaussian" | "rademacher" } | { readonly kind: "buffer"; readonly z: Span };

/** What a step was, as its update needs it later. */
export interface StepNoise {
  readonly seed: bigint;
  readonly step: number;
  readonly noise: NoiseSource;
}

/** The last step's update, not yet applied to the units. */
export interface PendingUpdate extends StepNoise {
  /** Which of the step states holds g. */
  readonly state: number;
  readonly learningRate: number;
  readonly weightDecay: number;
}

/** The numbers behind the commands of one pass. */
export interface PassData {
  readonly pass: Pass;
  readonly batch: Batch;
  /** Rows of the gathered table, ascending. */
  readonly table: Int32Array | null;
  /** The new step, for `train`. */
  readonly step: (StepNoise & { readonly eps: number; readonly state: number }) | null;
  /** `forward`: the side on which the weights stand, eps away (below 0: W-). */
  readonly perturbation: (StepNoise & { readonly eps: number }) | null;
  /** The memory behind `pass.cache`: rows that earlier passes filled, and those that this one adds. */
  readonly cache: {
    readonly buffer: Buffer;
    readonly used: readonly RowRange[];
    readonly added: readonly RowRange[];
  } | null;
  readonly pending: PendingUpdate | null;
  readonly rounding: "nearest" | "stochastic";
  /** Labelled tokens or examples of the whole batch. */
  readonly labelled: number;
}

interface UnitObjects {
  readonly unit: Unit;
  readonly layout: Layout;
  readonly gathered: Layout | null;
  readonly program: Program;
}

/**
 * The objects that a plan needs on a device: arenas, streams, events, one layout and one program per unit; and the
 * translation of schedule commands to native ones.
 */
export class Executor {
  private readonly events = new Map<string, Event>();

  private constructor(
    readonly plan: Plan,
    private readonly device: Device,
    private readonly store: WeightStore,
    private readonly control: Buffer,
    private readonly arena: Buffer,
    private readonly host: Buffer,
    private readonly streams: Readonly<Record<Lane, Stream>>,
    private readonly units: readonly UnitObjects[],
    private readonly logitColumns: number,
  ) {}

  /**
   * @param control a device buffer of `CONTROL.bytes`, zeroed; it outlives the executor.
   * @param frozen parameters that are neither perturbed nor updated; they keep their place in the canonical order.
   */
  static async create(
    device: Device,
    store: WeightStore,
    control: Buffer,
    plan: Plan,
    recording: Recording,
    frozen: Frozen,
  ): Promise<Executor> {
    const arena = await device.createBuffer("device", plan.device.bytes);
    let host: Buffer;
    try {
      host = await device.createBuffer("host", plan.host.bytes);
    } catch (error) {
      arena.dispose();
      throw error;
    }
    const streams = Object.fromEntries(LANES.map((lane) => [lane, device.createStream(lane)])) as Record<Lane, Stream>;
    const spaces = spaceBytes(plan);
    const units = plan.units.map(
      (unit): UnitObjects => ({
        unit,
        layout: device.createLayout(unitSegments(unit, frozen)),
        gathered: unit.gathered === null ? null : device.createLayout(gatheredSegment(plan, unit.gathered, frozen)),
        program: device.createProgram(unitProgram(plan, unit, recording.inputs), spaces),
      }),
    );
    return new Executor(plan, device, store, control, arena, host, streams, units, recording.logits.columns);
  }

  /** Host memory of a batch, to be filled before its pass is submitted. */
  staging(ring: number): ArrayBuffer {
    const region = at(this.plan.host.staging, ring);
    return this.host.view(region.offset, region.bytes);
  }

  /** What came back from the pass that used this ring. */
  readback(ring: number): ArrayBuffer {
    const region = at(this.plan.host.readback, ring);
    return this.host.view(region.offset, region.bytes);
  }

  /** fp32 values that the head leaves behind for a micro-batch: [targets], or [headRows x columns]. */
  resultCount(batch: PackedBatch): number {
    return this.plan.options.output === "logprobs"
      ? batch.targets.length / TARGET_FIELDS
      : batch.headRows.length * this.logitColumns;
  }

  /** Submits a pass; the result resolves when its last command has run. */
  submit(commands: readonly Command[], data: PassData, doneEvent: string): Promise<void> {
    const list = new CommandList();
    for (const command of commands) this.encode(list, command, data);
    this.device.submit(list.words, list.handles);
    return this.event(doneEvent).done();
  }

  /**
   * Resolves when every stream has run all that was submitted, so that what is disposed next is freed at once. Never
   * rejects.
   */
  async settle(): Promise<void> {
    const list = new CommandList();
    const events = LANES.map((lane) => {
      const event = this.event(`settled:${lane}`);
      list.record(this.streams[lane], event);
      return event;
    });
    this.device.submit(list.words, list.handles);
    await Promise.allSettled(events.map((event) => event.done()));
  }

  dispose(): void {
    for (const event of this.events.values()) event.dispose();
    for (const { layout, gathered, program } of this.units) {
      layout.dispose();
      gathered?.dispose();
      program.dispose();
    }
    for (const lane of LANES) this.streams[lane].dispose();
    this.host.dispose();
    this.arena.dispose();
  }

  /** The event of a schedule, made when it is first named. */
  event(name: string): Event {
    let event = this.events.get(name);
    if (event === undefined) {
      event = this.device.createEvent();
      this.events.set(name, event);
    }
    return event;
  }

  stream(lane: Lane): Stream {
    return this.streams[lane];
  }

  encode(list: CommandList, command: Command, data: PassData): void {
    const stream = this.streams[command.lane];
    const { plan } = this;
    switch (command.kind) {
      case "record":
        return list.record(stream, this.event(command.event));
      case "wait":
        return list.wait(stream, this.event(command.event));
      case "inputs":
        return list.copy(
          stream,
          this.inputs(command.ring),
          this.hostSpan(at(plan.host.staging, command.ring)),
          plan.batch.bytes,
        );
      case "gather":
        return this.gather(list, stream, command.ring, data.table);
      case "upload": {
        const { unit } = at(this.units, command.unit);
        return list.copy(
          stream,
          this.onDevice(command.unit, command.slot),
          this.store.span(command.unit),
          unit.wireBytes,
        );
      }
      case "offload": {
        const { unit } = at(this.units, command.unit);
        return list.copy(
          stream,
          this.store.span(command.unit),
          this.onDevice(command.unit, command.slot),
          unit.wireBytes,
        );
      }
      case "prepare": {
        const { layout } = at(this.units, command.unit);
        const wire = this.onDevice(command.unit, command.slot);
        return this.prepare(
          list,
          stream,
          { layout, wire, rows: null, rowCount: 0, scratch: command.scratch, store: command.store },
          data,
        );
      }
      case "prepareGathered": {
        const { gathered } = at(this.units, command.unit);
        if (gathered === null || data.table === null) return;
        const rows = offsetBy(this.inputs(command.ring), plan.batch.tableRows);
        const wire = this.deviceSpan(plan.device.gathered);
        return this.prepare(
          list,
          stream,
          { layout: gathered, wire, rows, rowCount: data.table.length, scratch: true, store: false },
          data,
        );
      }
      case "uploadCache":
        return this.copyCache(list, stream, command, data, data.cache?.used ?? []);
      case "offloadCache":
        return this.copyCache(list, stream, command, data, data.cache?.added ?? []);
      case "run":
        return this.run(list, stream, command, data);
      case "loss":
        return this.loss(list, stream, command, data);
      case "gradient": {
        if (data.step === null) return;
        const { state, eps, step } = data.step;
        return list.gradient(stream, {
          losses: this.state(state, STEP_STATE.losses),
          probes: 2,
          total: data.labelled,
          differences: [{ minuend: 0, subtrahend: 1 }],
          divisor: 2 * eps,
          coefficients: this.state(state, STEP_STATE.coefficient),
          step,
          sticky: this.sticky(),
        });
      }
      case "inject":
        if (data.step === null) return;
        return list.copy(
          stream,
          this.state(data.step.state, STEP_STATE.coefficient),
          offsetBy(this.inputs(command.ring), plan.batch.coefficient),
          COEFFICIENT_BYTES,
        );
      case "readback":
        return this.readbackCommands(list, stream, command.ring, data);
      case "poison":
        return this.poison(list, stream, command);
    }
  }

  private gather(list: CommandList, stream: Stream, ring: number, table: Int32Array | null): void {
    const source = this.units.find((u) => u.unit.gathered !== null)?.unit.gathered ?? null;
    if (source === null || table === null) return;
    const rowBytes = source.width * BYTES_OF[this.plan.options.wire];
    const rows = offsetBy(this.hostSpan(at(this.plan.host.staging, ring)), this.plan.batch.tableRows);
    const gathered = this.deviceSpan(this.plan.device.gathered);
    for (const { unit } of this.units) {
      for (const tensor of unit.tensors) {
        if (tensor.parameter !== source.parameter) continue;
        const begin = lowerBound(table, tensor.rowStart);
        const end = lowerBound(table, tensor.rowStart + tensor.rowCount);
        if (begin === end) continue;
        const src = offsetBy(this.store.span(unit.index), tensor.wireOffset);
        list.gather(
          stream,
          offsetBy(gathered, begin * rowBytes),
          src,
          offsetBy(rows, begin * 4),
          end - begin,
          tensor.rowStart,
          rowBytes,
        );
      }
    }
  }

  private prepare(
    list: CommandList,
    stream: Stream,
    target: { layout: Layout; wire: Span; rows: Span | null; rowCount: number; scratch: boolean; store: boolean },
    data: PassData,
  ): void {
    const { pending, pass } = data;
    const both = pass.kind === "train";
    const direction = both ? data.step : data.perturbation;
    list.prepare(stream, {
      layout: target.layout,
      wire: target.wire,
      sides: target.scratch ? this.sides(direction?.eps ?? 0, both) : [],
      rows: target.rows,
      rowCount: target.rowCount,
      noise: NOISE[direction?.noise.kind ?? "gaussian"],
      seed: direction?.seed ?? 0n,
      step: direction?.step ?? 0,
      direction: 0,
      z: direction === null ? null : tableOf(direction.noise),
      store: target.store,
      rounding: ROUND[data.rounding],
      sticky: this.sticky(),
      updates: pass.update && pending !== null ? [this.updateArgs(pending)] : [],
    });
  }

  private sides(eps: number, both: boolean): SideArgs[] {
    const { plus, minus } = this.plan.device;
    const up = { scratch: this.deviceSpan(plus), eps };
    return both ? [up, { scratch: this.deviceSpan(minus), eps: -eps }] : [up];
  }

  private updateArgs(pending: PendingUpdate): UpdateArgs {
    return {
      noise: NOISE[pending.noise.kind],
      seed: pending.seed,
      step: pending.step,
      directions: 1,
      coefficients: this.state(pending.state, STEP_STATE.coefficient),
      learningRate: pending.learningRate,
      weightDecay: pending.weightDecay,
      z: tableOf(pending.noise),
      zStride: 0,
    };
  }

  private run(list: CommandList, stream: Stream, command: Extract<Command, { kind: "run" }>, data: PassData): void {
    const { plan } = this;
    const micro = at(data.batch, command.microBatch);
    const area = command.branch * data.pass.microBatches + command.microBatch;
    const spaces: Span[] = [];
    const scratch = command.branch === 0 ? plan.device.plus : plan.device.minus;
    spaces[SPACE.weights] = command.direct ? this.onDevice(command.unit, command.slot) : this.deviceSpan(scratch);
    spaces[SPACE.carried] = this.deviceSpan(at(plan.device.carried, area));
    spaces[SPACE.workspace] = this.deviceSpan(plan.device.workspace);
    spaces[SPACE.inputs] = this.microBatchInputs(command.ring, command.microBatch);
    spaces[SPACE.results] = this.deviceSpan(at(plan.device.results, area));
    const piece = this.cachePiece(command.unit);
    if (data.cache !== null && piece !== null) {
      const { cacheSlot } = command;
      spaces[SPACE.cache] =
        cacheSlot === null
          ? { buffer: data.cache.buffer, offset: piece.offset }
          : this.deviceSpan(at(plan.device.cacheSlots, cacheSlot));
    }
    list.run(stream, { program: at(this.units, command.unit).program, spaces, symbols: symbolsOf(micro, data.table) });
  }

  private loss(list: CommandList, stream: Stream, command: Extract<Command, { kind: "loss" }>, data: PassData): void {
    if (data.step === null) return;
    const micro = at(data.batch, command.microBatch);
    const area = command.branch * data.pass.microBatches + command.microBatch;
    const tables = offsetBy(
      this.microBatchInputs(command.ring, command.microBatch),
      this.plan.batch.microBatch.objective,
    );
    list.loss(stream, {
      ...lossTables(micro, tables),
      values: this.deviceSpan(at(this.plan.device.results, area)),
      losses: this.state(data.step.state, STEP_STATE.losses),
      probe: command.branch,
      first: command.microBatch === 0,
    });
  }

  private readbackCommands(list: CommandList, stream: Stream, ring: number, data: PassData): void {
    const region = this.hostSpan(at(this.plan.host.readback, ring));
    list.copy(stream, offsetBy(region, READBACK.sticky), this.sticky(), STICKY_BYTES);
    if (data.step !== null)
      list.copy(stream, offsetBy(region, READBACK.state), this.state(data.step.state), STEP_STATE.bytes);
    if (data.pass.kind === "flush" || (data.pass.kind === "train" && data.pass.gradient !== "caller")) return;
    const areas = data.batch.length * (data.pass.kind === "train" ? 2 : 1);
    for (let area = 0; area < areas; area++) {
      const results = this.deviceSpan(at(this.plan.device.results, area));
      list.copy(
        stream,
        offsetBy(region, resultsOffset(this.plan, area)),
        results,
        this.resultCount(at(data.batch, area % data.batch.length)) * 4,
      );
    }
  }

  /** Copies rows of a unit's piece of the cache between host memory and its slot, for every attention of the unit. */
  private copyCache(
    list: CommandList,
    stream: Stream,
    command: Extract<Command, { kind: "uploadCache" | "offloadCache" }>,
    data: PassData,
    ranges: readonly RowRange[],
  ): void {
    const piece = this.cachePiece(command.unit);
    if (data.cache === null || piece === null) return;
    const host = { buffer: data.cache.buffer, offset: piece.offset };
    const slot = this.deviceSpan(at(this.plan.device.cacheSlots, command.slot));
    for (const { offset, rowBytes } of piece.attentions) {
      for (const { start, count } of ranges) {
        if (count === 0) continue;
        const first = offset + start * rowBytes;
        const [to, from] = command.kind === "uploadCache" ? [slot, host] : [host, slot];
        list.copy(stream, offsetBy(to, first), offsetBy(from, first), count * rowBytes);
      }
    }
  }

  private cachePiece(unit: number) {
    return this.plan.cache?.units[unit] ?? null;
  }

  private poison(list: CommandList, stream: Stream, command: Extract<Command, { kind: "poison" }>): void {
    const { device, host } = this.plan;
    const nan = (span: Span, bytes: number) => list.fill(stream, span, 0xff, bytes);
    if (command.what === "staging") {
      const region = at(host.staging, command.index);
      return nan(this.hostSpan(region), region.bytes);
    }
    const regions =
      command.what === "slot" ? [at(device.slots, command.index)] : [device.plus, device.minus, device.workspace];
    for (const region of regions) nan(this.deviceSpan(region), region.bytes);
  }

  private onDevice(unit: number, slot: number | null): Span {
    return slot === null ? this.store.span(unit) : this.deviceSpan(at(this.plan.device.slots, slot));
  }

  private microBatchInputs(ring: number, microBatch: number): Span {
    return offsetBy(this.inputs(ring), microBatch * this.plan.batch.microBatch.bytes);
  }

  private inputs(ring: number): Span {
    return this.deviceSpan(at(this.plan.device.inputs, ring));
  }

  /** A part of the state of a step. */
  private state(index: number, part = 0): Span {
    return { buffer: this.control, offset: CONTROL.states + (index % STEP_STATES) * STEP_STATE.bytes + part };
  }

  private sticky(): Span {
    return { buffer: this.control, offset: CONTROL.sticky };
  }

  private deviceSpan(region: Region): Span {
    return { buffer: this.arena, offset: region.offset };
  }

  private hostSpan(region: Region): Span {
    return { buffer: this.host, offset: region.offset };
  }
}

/** Byte offset of the results of one micro-batch in a readback region. */
export function resultsOffset(plan: Plan, area: number): number {
  return READBACK.results + area * align(plan.places.resultBytes, 256);
}

type Frozen = ReadonlySet<Parameter>;

function unitSegments(unit: Unit, frozen: Frozen): Float64Array {
  const words = unit.tensors.flatMap((t) => [
    t.canonical,
    t.count,
    t.wireOffset,
    t.scratchOffset,
    0,
    FLOAT_DTYPE[t.wire],
    FLOAT_DTYPE[t.scratch],
    segmentFlags(t.parameter, frozen),
  ]);
  return Float64Array.from(words);
}

function gatheredSegment(plan: Plan, { parameter, width, scratchOffset }: GatheredTable, frozen: Frozen): Float64Array {
  return Float64Array.from([
    parameter.canonical,
    plan.options.capacity.tableRows * width,
    0,
    scratchOffset,
    width,
    FLOAT_DTYPE[plan.options.wire],
    FLOAT_DTYPE[plan.options.compute],
    segmentFlags(parameter, frozen) | SEGMENT.gathered,
  ]);
}

function segmentFlags(parameter: Parameter, frozen: Frozen): number {
  return (parameter.decay ? SEGMENT.decay : 0) | (frozen.has(parameter) ? SEGMENT.frozen : 0);
}

function symbolsOf(batch: PackedBatch, table: Int32Array | null): number[] {
  const symbols: number[] = [];
  symbols[SYMBOL.rows] = batch.tokens.length;
  symbols[SYMBOL.sequences] = batch.sequences.length / SEQUENCE_FIELDS;
  symbols[SYMBOL.headRows] = batch.headRows.length;
  symbols[SYMBOL.targets] = batch.targets.length / TARGET_FIELDS;
  symbols[SYMBOL.tableRows] = table?.length ?? 0;
  return symbols;
}

/** What a loss reads besides the values: its kind, how many values, and the tables of `objectiveTables`. */
function lossTables(
  micro: PackedBatch,
  tables: Span,
): Pick<LossArgs, "kind" | "targets" | "labels" | "choices" | "choiceCount" | "examples" | "exampleCount"> {
  const { objective } = micro;
  const none = { labels: null, choices: null, choiceCount: 0, examples: null, exampleCount: 0 };
  const targets = micro.targets.length / TARGET_FIELDS;
  switch (objective.kind) {
    case "tokens":
    case "none":
      return { ...none, kind: LOSS.tokens, targets };
    case "choices": {
      const [choices] = objectiveTables(micro);
      const words = choices?.length ?? 0;
      return {
        ...none,
        kind: objective.reduction === "mean" ? LOSS.choicesMean : LOSS.choicesSum,
        targets,
        choices: tables,
        choiceCount: words / CHOICE_FIELDS,
        examples: offsetBy(tables, words * 4),
        exampleCount: objective.examples.length / EXAMPLE_FIELDS,
      };
    }
    case "values":
      return { ...none, kind: LOSS[objective.loss], targets: objective.labels.length, labels: tables };
    case "spans":
      return {
        ...none,
        kind: LOSS.spans,
        targets: 2 * micro.headRows.length,
        examples: tables,
        exampleCount: objective.examples.length / SPAN_FIELDS,
      };
  }
}

function tableOf(noise: NoiseSource): Span | null {
  return noise.kind === "buffer" ? noise.z : null;
}

function offsetBy(span: Span, bytes: number): Span {
  return { buffer: span.buffer, offset: span.offset + bytes };
}

/** First index whose value is not below `value`. */
function lowerBound(sorted: Int32Array, value: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((sorted[middle] ?? 0) < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

function at<T>(items: readonly T[], index: number): T {
  const item = items[index];
  if (item === undefined) throw new RangeError(`there is no item ${index} among ${items.length}`);
  return item;
}
