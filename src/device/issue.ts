import type { Program, Stream } from "zo2/native";
import { at } from "../base/at.js";
import { align, BYTES_OF, isBlocked, scaleBytes, scaleOffsetOf } from "../base/dtype.js";
import { NOISE, ROUND, SHAPING } from "../contract/constants.js";
import type { PackedBatch } from "../data/batch.js";
import { DISK_ALIGNMENT } from "../memory/arena.js";
import { symbolsOf } from "../memory/batch-tables.js";
import { carriedValueBytes } from "../memory/places.js";
import type { TensorSlice } from "../memory/units.js";
import type { PendingUpdate } from "../method/index.js";
import type { Work } from "../schedule/command.js";
import type { Control } from "./control.js";
import { lossTables } from "./loss-tables.js";
import type { PlanObjects } from "./objects.js";
import type { NoiseSource, PassData, StepData } from "./pass-data.js";
import { offsetBy, type Place } from "./place.js";
import type { PassSeal } from "./seals.js";
import type { WeightStore } from "./store.js";
import type { CommandWords, PrepareArgs, RunArgs, SideArgs, Span, UpdateArgs } from "./words.js";

type Of<K extends Work["kind"]> = Extract<Work, { kind: K }>;
type MovesCarried = Extract<Of<"upload" | "offload">, { what: "carried" }>;
type Moves = Exclude<Of<"upload" | "offload">, MovesCarried>;

/** What a pass works with besides its numbers. */
export interface IssueContext {
  readonly objects: PlanObjects;
  readonly store: WeightStore;
  readonly control: Control;
  /** fp32 values that the head leaves behind for a micro-batch. */
  readonly resultCount: (micro: PackedBatch) => number;
}

const RESULT_BYTES = 4;

/**
 * Of a batch's rows of the gathered table, `begin` .. `end - 1` are this slice's. Their bytes, or those of their scales
 * begin at `source` in the unit's wire bytes, and at `target` in what is gathered.
 */
interface TouchedSlice {
  readonly unit: number;
  readonly slice: TensorSlice;
  readonly begin: number;
  readonly end: number;
  readonly source: number;
  readonly target: number;
  readonly rowBytes: number;
}

/** From the commands of one pass to native ones: puts places and numbers behind indices. */
export class Issue {
  private readonly symbols: readonly RunArgs["symbols"][];
  private readonly updates: readonly UpdateArgs[];
  /** Units that were read from the files of their checkpoint before. */
  private readonly firstWrites: number[] = [];
  /** Whether the lane stands before the gate of the seal: everything that it writes comes behind it. */
  private held = false;
  /** By set, those of the last signs. */
  private readonly sides: { readonly signs: readonly number[]; readonly args: readonly SideArgs[] }[] = [];

  constructor(
    private readonly context: IssueContext,
    private readonly data: PassData,
    private readonly seal: PassSeal | null,
  ) {
    this.symbols = data.kind === "flush" ? [] : data.batch.map((micro) => symbolsOf(micro, data.table));
    this.updates = data.pending.map((pending) => this.update(pending));
  }

  encode(words: CommandWords, stream: Stream, work: Work): void {
    const { objects, control } = this.context;
    switch (work.kind) {
      case "inputs": {
        const { whole } = at(objects.host.staging, work.ring);
        return words.copy(stream, at(objects.device.inputs, work.ring).whole, whole, whole.bytes);
      }
      case "gather":
        return this.gather(words, stream, work);
      case "readGathered":
        return this.readGathered(words, stream, work);
      case "read":
        return this.readStaged(words, stream, work);
      case "write":
        return this.writeStaged(words, stream, work);
      case "upload":
      case "offload":
        if (work.what === "carried") return this.moveCarried(words, stream, work);
        return work.what === "weights" ? this.moveWeights(words, stream, work) : this.moveCache(words, stream, work);
      case "prepare": {
        const { layout } = objects.unit(work.unit);
        return this.prepare(words, stream, work, { layout, wire: this.wire(work), rows: null, rowCount: 0 });
      }
      case "prepareGathered":
        return this.prepareGathered(words, stream, work);
      case "run":
        return this.run(words, stream, work, objects.unit(work.unit).program);
      case "loss":
        return this.loss(words, stream, work);
      case "coefficients":
        return this.coefficients(words, stream);
      case "inject": {
        const { coefficients } = at(objects.device.inputs, work.ring);
        const target = control.state(this.step.state).coefficients;
        return words.copy(stream, target, coefficients, coefficients.bytes);
      }
      case "readback":
        return this.readback(words, stream, work);
      case "poison":
        return this.poison(words, stream, work);
      default:
        throw new Error(`${work.kind} is no command of a pass`);
    }
  }

  /** The pass failed: nobody knows which of its commands have run. */
  undo(): void {
    this.context.store.unwrite(this.firstWrites);
  }

  /** @param program the unit's own, or one of some of its ops. */
  run(words: CommandWords, stream: Stream, work: Of<"run">, program: Program): void {
    const { device } = this.context.objects;
    const area = this.area(work);
    words.run(stream, {
      program,
      spaces: {
        weights: work.scratch === null ? this.wire(work) : at(device.scratch, work.scratch),
        carried: work.carriedSlot === null ? (device.carried[area] ?? null) : at(device.carriedSlots, work.carriedSlot),
        workspace: device.workspace,
        inputs: this.microBatch(work).whole,
        results: at(device.results, area),
        cache: this.cachePlace(work),
      },
      symbols: at(this.symbols, work.microBatch),
    });
  }

  private get withBatch(): Exclude<PassData, { kind: "flush" }> {
    if (this.data.kind === "flush") throw new Error("a flush has no batch");
    return this.data;
  }

  private get step(): StepData {
    if (this.data.kind !== "step") throw new Error(`a ${this.data.kind} takes no step`);
    return this.data;
  }

  private get table(): Int32Array {
    const { table } = this.withBatch;
    if (table === null) throw new Error("the pass gathers rows of no table");
    return table;
  }

  private gather(words: CommandWords, stream: Stream, { ring }: Of<"gather">): void {
    const { host, device } = this.context.objects;
    for (const touched of this.touchedSlices()) {
      const { unit, begin, end, rowBytes, target } = touched;
      if (!this.isStaged(unit)) this.gatherRows(words, stream, ring, touched, device.gathered);
      else {
        const from = target + begin * rowBytes;
        words.copy(stream, offsetBy(device.gathered, from), offsetBy(host.gathered, from), (end - begin) * rowBytes);
      }
    }
  }

  private readGathered(words: CommandWords, stream: Stream, { ring }: Of<"readGathered">): void {
    const { host } = this.context.objects;
    for (const touched of this.touchedSlices())
      if (this.isStaged(touched.unit)) this.gatherRows(words, stream, ring, touched, host.gathered);
  }

  /** @param table for the rows of all slices. */
  private gatherRows(
    words: CommandWords,
    stream: Stream,
    ring: number,
    { unit, slice, begin, end, rowBytes, source, target }: TouchedSlice,
    table: Place,
  ): void {
    const { objects, store } = this.context;
    const src = store.spanAt(unit, source);
    const dst = offsetBy(table, target + begin * rowBytes);
    const rows = at(objects.host.staging, ring).tableRows;
    const numbers = offsetBy(rows, begin * this.table.BYTES_PER_ELEMENT);
    words.gather(stream, dst, src, numbers, end - begin, slice.rowStart, rowBytes);
  }

  /** The parts of the table of which the batch touches rows; their scales after them, where it rests in blocks. */
  private touchedSlices(): TouchedSlice[] {
    return this.context.objects.tableSlices.flatMap(({ unit, slice }) => {
      const { rowStart, rowCount, count, wire, wireOffset, scaleOffset } = slice;
      const begin = lowerBound(this.table, rowStart);
      const end = lowerBound(this.table, rowStart + rowCount);
      if (begin === end) return [];
      const width = count / rowCount;
      const touched = { unit, slice, begin, end };
      const elements = { ...touched, source: wireOffset, target: 0, rowBytes: width * BYTES_OF[wire] };
      if (!isBlocked(wire)) return [elements];
      const { tableRows } = this.context.objects.plan.options.capacity;
      const target = scaleOffsetOf(wire, tableRows, width);
      return [elements, { ...touched, source: scaleOffset, target, rowBytes: scaleBytes(width) }];
    });
  }

  private isStaged(unit: number): boolean {
    return at(this.context.objects.plan.stagingOf, unit) !== null;
  }

  private readStaged(words: CommandWords, stream: Stream, { unit, hostSlot }: Of<"read">): void {
    const { objects, store } = this.context;
    const slot = at(objects.host.slots, hostSlot);
    for (const { from, unitOffset, bytes } of store.readings(unit))
      words.copy(stream, offsetBy(slot, unitOffset), from, bytes);
  }

  /** Whole blocks: in a scratch file a unit has its last one to itself, and so has a host slot. */
  private writeStaged(words: CommandWords, stream: Stream, { unit, hostSlot }: Of<"write">): void {
    const { objects, store } = this.context;
    const bytes = align(objects.unit(unit).unit.wireBytes, DISK_ALIGNMENT);
    const slot = at(objects.host.slots, hostSlot);
    const { seal } = this;
    if (seal !== null && !this.held) words.hold(stream, seal.gate);
    this.held = true;
    words.copy(stream, store.span(unit), slot, bytes);
    if (store.wrote(unit)) this.firstWrites.push(unit);
    if (seal !== null) words.seal(stream, store.sealOf(unit), unit, slot, objects.unit(unit).unit.wireBytes, seal.note);
  }

  private moveWeights(words: CommandWords, stream: Stream, work: Moves): void {
    const { objects, store } = this.context;
    const host = work.hostSlot === null ? store.span(work.unit) : at(objects.host.slots, work.hostSlot);
    const slot = this.wire(work);
    const { wireBytes } = objects.unit(work.unit).unit;
    if (work.kind === "upload") words.copy(stream, slot, host, wireBytes);
    else words.copy(stream, host, slot, wireBytes);
  }

  /** Rows of a unit's piece of the cache: those of earlier passes come, those of this one go. */
  private moveCache(words: CommandWords, stream: Stream, work: Moves): void {
    const { data, context } = this;
    const { plan, device } = context.objects;
    if (data.kind !== "forward" || data.cache === null) throw new Error("the pass has no cache");
    const piece = plan.cache?.units[work.unit] ?? null;
    if (piece === null) throw new Error(`unit ${work.unit} has no piece of the cache`);
    const rest = { buffer: data.cache.buffer, offset: piece.offset };
    const slot = at(device.cacheSlots, work.slot);
    const [to, from] = work.kind === "upload" ? [slot, rest] : [rest, slot];
    const ranges = work.kind === "upload" ? data.cache.used : data.cache.added;
    for (const { offset, rowBytes } of piece.attentions) {
      for (const { start, count } of ranges) {
        if (count === 0) continue;
        const first = offset + start * rowBytes;
        words.copy(stream, offsetBy(to, first), offsetBy(from, first), count * rowBytes);
      }
    }
  }

  /** As many rows of each value as the micro-batch has. */
  private moveCarried(words: CommandWords, stream: Stream, work: MovesCarried): void {
    const { plan, device, host } = this.context.objects;
    const { brings, takes } = at(plan.places.carries, work.unit);
    const symbols = at(this.symbols, work.microBatch);
    const slot = at(device.carriedSlots, work.slot);
    const area = at(host.carried, this.area(work));
    const [to, from, values] = work.kind === "upload" ? [slot, area, brings] : [area, slot, takes];
    for (const value of values) {
      const bytes = carriedValueBytes(value, symbols);
      if (bytes > 0) words.copy(stream, offsetBy(to, value.offset), offsetBy(from, value.offset), bytes);
    }
  }

  private prepareGathered(words: CommandWords, stream: Stream, work: Of<"prepareGathered">): void {
    const { objects } = this.context;
    const { gathered: layout } = objects.unit(work.unit);
    if (layout === null) throw new Error(`unit ${work.unit} gathers no rows`);
    const rows = at(objects.device.inputs, work.ring).tableRows;
    const target = { layout, wire: objects.device.gathered, rows, rowCount: this.table.length };
    this.prepare(words, stream, { ...work, store: false }, target);
  }

  private prepare(
    words: CommandWords,
    stream: Stream,
    { update, store, direction, signs, set }: Omit<Of<"prepare">, "kind" | "unit" | "slot">,
    target: Pick<PrepareArgs, "layout" | "wire" | "rows" | "rowCount">,
  ): void {
    const { data, context } = this;
    const noise = direction === null || data.kind === "flush" ? null : data.perturbation;
    if (direction !== null && noise === null) throw new Error("the weights are perturbed along a direction of no step");
    words.prepare(stream, {
      layout: target.layout,
      wire: target.wire,
      sides: this.sidesOf(signs, set, noise?.eps ?? 0),
      rows: target.rows,
      rowCount: target.rowCount,
      ...noiseArgs(noise?.noise ?? { kind: "gaussian" }),
      seed: noise?.seed ?? 0n,
      step: noise?.step ?? 0,
      direction: direction ?? 0,
      z: noise === null ? null : injectedNoise(noise.noise),
      store,
      rounding: ROUND[data.rounding],
      sticky: context.control.sticky,
      updates: update ? this.updates : [],
    });
  }

  /** All units share them. */
  private sidesOf(signs: readonly number[], set: number, eps: number): readonly SideArgs[] {
    const known = this.sides[set];
    if (known?.signs === signs) return known.args;
    const { plan, device } = this.context.objects;
    const first = set * plan.options.sides;
    const args = signs.map((sign, side) => ({ scratch: at(device.scratch, first + side), eps: sign * eps }));
    this.sides[set] = { signs, args };
    return args;
  }

  private update(pending: PendingUpdate<NoiseSource>): UpdateArgs {
    const { seed, step, directions, learningRate, weightDecay } = pending;
    return {
      ...noiseArgs(pending.noise),
      seed,
      step,
      directions,
      coefficients: this.context.control.state(pending.state).coefficients,
      learningRate,
      weightDecay,
      z: injectedNoise(pending.noise),
      zStride: 0,
    };
  }

  private cachePlace({ unit, cacheSlot }: Of<"run">): Span | null {
    const { data, context } = this;
    if (data.kind !== "forward" || data.cache === null) return null;
    const piece = context.objects.plan.cache?.units[unit] ?? null;
    if (piece === null) return null;
    if (cacheSlot !== null) return at(context.objects.device.cacheSlots, cacheSlot);
    return { buffer: data.cache.buffer, offset: piece.offset };
  }

  private loss(words: CommandWords, stream: Stream, work: Of<"loss">): void {
    const { objects, control } = this.context;
    const { batch, state } = this.step;
    words.loss(stream, {
      ...lossTables(at(batch, work.microBatch), this.microBatch(work).objective),
      values: at(objects.device.results, this.area(work)),
      losses: control.state(state).losses,
      probe: work.probe,
      first: work.microBatch === 0,
    });
  }

  private coefficients(words: CommandWords, stream: Stream): void {
    const { control } = this.context;
    const { state, probes, labelled, rule, perturbation } = this.step;
    const { losses, coefficients } = control.state(state);
    words.gradient(stream, {
      losses,
      probes,
      total: labelled,
      differences: rule.differences,
      divisor: rule.divisor,
      shaping: SHAPING[rule.shaping],
      normalised: rule.normalised,
      coefficients,
      step: perturbation.step,
      sticky: control.sticky,
    });
  }

  private readback(words: CommandWords, stream: Stream, work: Of<"readback">): void {
    const { objects, control, resultCount } = this.context;
    const back = at(objects.host.readback, work.ring);
    const copy = (to: Place, from: Span, bytes = to.bytes) => words.copy(stream, to, from, bytes);
    copy(back.sticky, control.sticky);
    if (this.data.kind === "step") {
      const { losses, coefficients } = control.state(this.data.state);
      copy(back.losses, losses);
      copy(back.coefficients, coefficients);
    }
    if (!work.results) return;
    const { batch, probes } = this.withBatch;
    for (let area = 0; area < probes * batch.length; area++) {
      const bytes = resultCount(at(batch, area % batch.length)) * RESULT_BYTES;
      copy(at(back.results, area), at(objects.device.results, area), bytes);
    }
  }

  private poison(words: CommandWords, stream: Stream, work: Of<"poison">): void {
    const { plan, device, host } = this.context.objects;
    const nan = (place: Place) => words.fill(stream, place, 0xff, place.bytes);
    if (work.what === "scratch") {
      const { sides } = plan.options;
      for (const set of work.sets) device.scratch.slice(set * sides, (set + 1) * sides).forEach(nan);
      return nan(device.workspace);
    }
    if (work.what === "hostGathered") return nan(host.gathered);
    const places = {
      ...{ slot: device.slots, carriedSlot: device.carriedSlots, hostSlot: host.slots },
      staging: host.staging.map(({ whole }) => whole),
    };
    nan(at(places[work.what], work.index));
  }

  /** The area of a probe and micro-batch among those of a pass. */
  private area(work: { readonly probe: number; readonly microBatch: number }): number {
    return work.probe * this.withBatch.batch.length + work.microBatch;
  }

  /** The unit's wire bytes: in the slot that they came to, or where they rest. */
  private wire({ unit, slot }: { readonly unit: number; readonly slot: number | null }): Span {
    const { objects, store } = this.context;
    return slot === null ? store.span(unit) : at(objects.device.slots, slot);
  }

  private microBatch({ ring, microBatch }: { readonly ring: number; readonly microBatch: number }) {
    return at(at(this.context.objects.device.inputs, ring).microBatches, microBatch);
  }
}

function injectedNoise(noise: NoiseSource): Span | null {
  return noise.kind === "buffer" ? noise.z : null;
}

function noiseArgs(noise: NoiseSource): Pick<UpdateArgs, "noise" | "rank" | "interval"> {
  if (noise.kind !== "low-rank") return { noise: NOISE[noise.kind], rank: 0, interval: 0 };
  return { noise: NOISE.lowRank, rank: noise.rank, interval: noise.interval };
}

/** First index whose value is not below `value`. */
function lowerBound(sorted: Int32Array, value: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (at(sorted, middle) < value) low = middle + 1;
    else high = middle;
  }
  return low;
}
