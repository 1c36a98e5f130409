import type { Buffer, Event, Gate, Layout, Program, Stream } from "zo2/native";
import { COMMAND, SPACE } from "../contract/constants.js";

/** A place in a buffer (`zo2_span`); `null` stands for "none". Offsets in bytes. */
export interface Span {
  readonly buffer: Buffer;
  readonly offset: number;
}

/** `zo2_update`: an update that has not reached the unit yet. */
export interface UpdateArgs {
  readonly noise: number;
  readonly seed: bigint;
  readonly step: number;
  readonly directions: number;
  readonly coefficients: Span;
  readonly learningRate: number;
  readonly weightDecay: number;
  readonly z: Span | null;
  readonly zStride: number;
}

/** `zo2_side`: where prepare leaves weights that stand eps away along its direction. */
export interface SideArgs {
  readonly scratch: Span;
  readonly eps: number;
}

/** `zo2_prepare_args`. */
export interface PrepareArgs {
  readonly layout: Layout;
  readonly wire: Span;
  readonly sides: readonly SideArgs[];
  readonly rows: Span | null;
  readonly rowCount: number;
  readonly noise: number;
  readonly seed: bigint;
  readonly step: number;
  readonly direction: number;
  readonly z: Span | null;
  readonly store: boolean;
  readonly rounding: number;
  readonly sticky: Span | null;
  readonly updates: readonly UpdateArgs[];
}

const SPACES = Object.keys(SPACE).length;

/**
 * `zo2_run_args`: spans by `SPACE`, of which those that the program does not use may be missing, and one value per
 * symbol.
 */
export interface RunArgs {
  readonly program: Program;
  readonly spaces: readonly (Span | null | undefined)[];
  readonly symbols: readonly number[];
}

/** `zo2_loss_args`. */
export interface LossArgs {
  readonly kind: number;
  readonly values: Span;
  readonly targets: number;
  readonly labels: Span | null;
  readonly choices: Span | null;
  readonly choiceCount: number;
  readonly examples: Span | null;
  readonly exampleCount: number;
  readonly losses: Span;
  readonly probe: number;
  readonly first: boolean;
}

/** `zo2_difference`: which losses a coefficient is the difference of. */
export interface DifferenceArgs {
  readonly minuend: number;
  readonly subtrahend: number;
}

/** `zo2_gradient_args`. */
export interface GradientArgs {
  readonly losses: Span;
  readonly probes: number;
  readonly total: number;
  /** One for each direction. */
  readonly differences: readonly DifferenceArgs[];
  readonly divisor: number;
  readonly coefficients: Span;
  readonly step: number;
  readonly sticky: Span;
}

type Handle = Stream | Event | Gate | Buffer | Layout | Program;

/**
 * Encodes a list of commands for `Device.submit`: each is its opcode, the number of words that follow, and the words;
 * handles are indices into `handles` (-1: none), a seed is two words (low and high 32 bits), a span is a handle and an
 * offset in bytes, a list is the number of its entries and the entries.
 */
export class CommandList {
  private readonly data: number[] = [];
  private readonly handleIndex = new Map<Handle, number>();

  get words(): Float64Array {
    return Float64Array.from(this.data);
  }

  get handles(): readonly Handle[] {
    return [...this.handleIndex.keys()];
  }

  get length(): number {
    return this.data.length;
  }

  record(stream: Stream, event: Event): void {
    this.push(COMMAND.record, [this.handle(stream), this.handle(event)]);
  }

  wait(stream: Stream, event: Event): void {
    this.push(COMMAND.wait, [this.handle(stream), this.handle(event)]);
  }

  hold(stream: Stream, gate: Gate): void {
    this.push(COMMAND.hold, [this.handle(stream), this.handle(gate)]);
  }

  copy(stream: Stream, dst: Span, src: Span, bytes: number): void {
    this.push(COMMAND.copy, [this.handle(stream), ...this.span(dst), ...this.span(src), bytes]);
  }

  fill(stream: Stream, dst: Span, byte: number, bytes: number): void {
    this.push(COMMAND.fill, [this.handle(stream), ...this.span(dst), byte, bytes]);
  }

  gather(stream: Stream, dst: Span, src: Span, rows: Span, count: number, rowBase: number, rowBytes: number): void {
    this.push(COMMAND.gather, [
      this.handle(stream),
      ...this.span(dst),
      ...this.span(src),
      ...this.span(rows),
      count,
      rowBase,
      rowBytes,
    ]);
  }

  prepare(stream: Stream, args: PrepareArgs): void {
    const words = [
      this.handle(stream),
      this.handle(args.layout),
      ...this.span(args.wire),
      ...this.span(args.rows),
      args.rowCount,
      args.noise,
      ...seedWords(args.seed),
      args.step,
      args.direction,
      ...this.span(args.z),
      args.store ? 1 : 0,
      args.rounding,
      ...this.span(args.sticky),
      args.sides.length,
      ...args.sides.flatMap((side) => [...this.span(side.scratch), side.eps]),
      args.updates.length,
    ];
    for (const u of args.updates) {
      words.push(
        u.noise,
        ...seedWords(u.seed),
        u.step,
        u.directions,
        ...this.span(u.coefficients),
        u.learningRate,
        u.weightDecay,
        ...this.span(u.z),
        u.zStride,
      );
    }
    this.push(COMMAND.prepare, words);
  }

  run(stream: Stream, args: RunArgs): void {
    const spaces = Array.from({ length: SPACES }, (_, s) => this.span(args.spaces[s] ?? null));
    this.push(COMMAND.run, [this.handle(stream), this.handle(args.program), ...spaces.flat(), ...args.symbols]);
  }

  loss(stream: Stream, args: LossArgs): void {
    this.push(COMMAND.loss, [
      this.handle(stream),
      args.kind,
      ...this.span(args.values),
      args.targets,
      ...this.span(args.labels),
      ...this.span(args.choices),
      args.choiceCount,
      ...this.span(args.examples),
      args.exampleCount,
      ...this.span(args.losses),
      args.probe,
      args.first ? 1 : 0,
    ]);
  }

  gradient(stream: Stream, args: GradientArgs): void {
    this.push(COMMAND.gradient, [
      this.handle(stream),
      ...this.span(args.losses),
      args.probes,
      args.total,
      args.divisor,
      ...this.span(args.coefficients),
      args.step,
      ...this.span(args.sticky),
      args.differences.length,
      ...args.differences.flatMap((d) => [d.minuend, d.subtrahend]),
    ]);
  }

  private push(opcode: number, words: number[]): void {
    this.data.push(opcode, words.length, ...words);
  }

  private handle(handle: Handle): number {
    let index = this.handleIndex.get(handle);
    if (index === undefined) {
      index = this.handleIndex.size;
      this.handleIndex.set(handle, index);
    }
    return index;
  }

  private span(span: Span | null): [number, number] {
    return span === null ? [-1, 0] : [this.handle(span.buffer), span.offset];
  }
}

function seedWords(seed: bigint): [number, number] {
  return [Number(seed & 0xffffffffn), Number((seed >> 32n) & 0xffffffffn)];
}
