/** A list of commands as `Device.submit` takes it (`binding/commands.cc` decodes it). */
import type { Buffer, Event, Gate, Layout, Program, Stream } from "zo2/native";
import { COMMAND, SPACE, SYMBOL } from "../contract/constants.js";

/** A place in a buffer (`zo2_span`); `null` stands for "none". Offsets in bytes. */
export interface Span {
  readonly buffer: Buffer;
  readonly offset: number;
}

/** `zo2_update`: an update that has not reached the unit yet. */
export interface UpdateArgs {
  readonly noise: number;
  /** Of low-rank noise; otherwise 0. */
  readonly rank: number;
  readonly interval: number;
  readonly seed: bigint;
  readonly step: number;
  readonly directions: number;
  readonly coefficients: Span;
  readonly learningRate: number;
  readonly weightDecay: number;
  readonly z: Span | null;
  readonly zStride: number;
}

/** `zo2_side`: perturbed weights, in a scratch of their own. */
export interface SideArgs {
  readonly scratch: Span;
  readonly eps: number;
}

/** `zo2_prepare_args`; `sides`: along one direction. */
export interface PrepareArgs {
  readonly layout: Layout;
  readonly wire: Span;
  readonly sides: readonly SideArgs[];
  readonly rows: Span | null;
  readonly rowCount: number;
  readonly noise: number;
  /** Of low-rank noise; otherwise 0. */
  readonly rank: number;
  readonly interval: number;
  readonly seed: bigint;
  readonly step: number;
  readonly direction: number;
  readonly z: Span | null;
  readonly store: boolean;
  readonly rounding: number;
  readonly sticky: Span | null;
  readonly updates: readonly UpdateArgs[];
}

/** `zo2_run_args`: spans by space, null for those that the program does not use, and one value per symbol. */
export interface RunArgs {
  readonly program: Program;
  readonly spaces: Readonly<Record<keyof typeof SPACE, Span | null>>;
  readonly symbols: Readonly<Record<keyof typeof SYMBOL, number>>;
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

/** `zo2_gradient_args`. */
export interface GradientArgs {
  readonly losses: Span;
  readonly probes: number;
  readonly total: number;
  readonly differences: readonly { readonly minuend: number; readonly subtrahend: number | null }[];
  readonly divisor: number;
  readonly shaping: number;
  readonly normalised: boolean;
  readonly coefficients: Span;
  readonly step: number;
  readonly sticky: Span;
}

type Handle = Stream | Event | Gate | Buffer | Layout | Program;

const SPACES = (Object.keys(SPACE) as (keyof typeof SPACE)[]).sort((a, b) => SPACE[a] - SPACE[b]);
const SYMBOLS = (Object.keys(SYMBOL) as (keyof typeof SYMBOL)[]).sort((a, b) => SYMBOL[a] - SYMBOL[b]);

/** Streams and arenas are named first, and most often: they are looked for before the others. */
const FIRST_NAMED = 6;

/**
 * Each command is its opcode, the number of words that follow, and the words; handles are indices into `handles` (-1:
 * none), a seed is two words (low and high 32 bits), a span is a handle and an offset in bytes, a list is its length
 * and its entries.
 */
export class CommandWords {
  private words = new Float64Array(4096);
  private length = 0;
  private begin = 0;
  private named: Handle[] = [];
  private readonly indexOf = new Map<Handle, number>();
  /** The buffer that was named last, for most commands name one several times. */
  private buffer: Buffer | null = null;
  private bufferIndex = 0;
  /** The seed that was named last: a run has one. */
  private seedWords = { of: 0n, low: 0, high: 0 };

  /** The words so far. A view: it is valid until the next command is added. */
  get list(): Float64Array {
    return this.words.subarray(0, this.length);
  }

  get handles(): readonly Handle[] {
    return this.named;
  }

  /** Begins a new list in the same memory. */
  clear(): void {
    this.length = 0;
    this.named = [];
    this.indexOf.clear();
    this.buffer = null;
  }

  record(stream: Stream, event: Event): void {
    this.open(COMMAND.record, stream);
    this.handle(event);
    this.close();
  }

  wait(stream: Stream, event: Event): void {
    this.open(COMMAND.wait, stream);
    this.handle(event);
    this.close();
  }

  hold(stream: Stream, gate: Gate): void {
    this.open(COMMAND.hold, stream);
    this.handle(gate);
    this.close();
  }

  copy(stream: Stream, dst: Span, src: Span, bytes: number): void {
    this.open(COMMAND.copy, stream);
    this.span(dst);
    this.span(src);
    this.word(bytes);
    this.close();
  }

  fill(stream: Stream, dst: Span, byte: number, bytes: number): void {
    this.open(COMMAND.fill, stream);
    this.span(dst);
    this.word(byte);
    this.word(bytes);
    this.close();
  }

  gather(stream: Stream, dst: Span, src: Span, rows: Span, count: number, rowBase: number, rowBytes: number): void {
    this.open(COMMAND.gather, stream);
    this.span(dst);
    this.span(src);
    this.span(rows);
    this.word(count);
    this.word(rowBase);
    this.word(rowBytes);
    this.close();
  }

  /** `note`: read when the command runs. */
  seal(stream: Stream, seal: Span, index: number, memory: Span, bytes: number, note: Span): void {
    this.open(COMMAND.seal, stream);
    this.span(seal);
    this.word(index);
    this.span(memory);
    this.word(bytes);
    this.span(note);
    this.close();
  }

  prepare(stream: Stream, args: PrepareArgs): void {
    this.open(COMMAND.prepare, stream);
    this.unlisted(args.layout);
    this.span(args.wire);
    this.span(args.rows);
    this.word(args.rowCount);
    this.word(args.noise);
    this.word(args.rank);
    this.word(args.interval);
    this.seed(args.seed);
    this.word(args.step);
    this.word(args.direction);
    this.span(args.z);
    this.word(args.store ? 1 : 0);
    this.word(args.rounding);
    this.span(args.sticky);
    this.word(args.sides.length);
    for (const { scratch, eps } of args.sides) {
      this.span(scratch);
      this.word(eps);
    }
    this.word(args.updates.length);
    for (const u of args.updates) {
      this.word(u.noise);
      this.word(u.rank);
      this.word(u.interval);
      this.seed(u.seed);
      this.word(u.step);
      this.word(u.directions);
      this.span(u.coefficients);
      this.word(u.learningRate);
      this.word(u.weightDecay);
      this.span(u.z);
      this.word(u.zStride);
    }
    this.close();
  }

  run(stream: Stream, args: RunArgs): void {
    this.open(COMMAND.run, stream);
    this.unlisted(args.program);
    for (const space of SPACES) this.span(args.spaces[space]);
    for (const symbol of SYMBOLS) this.word(args.symbols[symbol]);
    this.close();
  }

  loss(stream: Stream, args: LossArgs): void {
    this.open(COMMAND.loss, stream);
    this.word(args.kind);
    this.span(args.values);
    this.word(args.targets);
    this.span(args.labels);
    this.span(args.choices);
    this.word(args.choiceCount);
    this.span(args.examples);
    this.word(args.exampleCount);
    this.span(args.losses);
    this.word(args.probe);
    this.word(args.first ? 1 : 0);
    this.close();
  }

  gradient(stream: Stream, args: GradientArgs): void {
    this.open(COMMAND.gradient, stream);
    this.span(args.losses);
    this.word(args.probes);
    this.word(args.total);
    this.word(args.divisor);
    this.word(args.shaping);
    this.word(args.normalised ? 1 : 0);
    this.span(args.coefficients);
    this.word(args.step);
    this.span(args.sticky);
    this.word(args.differences.length);
    for (const { minuend, subtrahend } of args.differences) {
      this.word(minuend);
      this.word(subtrahend ?? -1);
    }
    this.close();
  }

  private open(opcode: number, stream: Stream): void {
    this.begin = this.length;
    this.word(opcode);
    this.word(0);
    this.handle(stream);
  }

  private close(): void {
    this.words[this.begin + 1] = this.length - this.begin - 2;
  }

  private word(value: number): void {
    if (this.length === this.words.length) {
      const larger = new Float64Array(2 * this.words.length);
      larger.set(this.words);
      this.words = larger;
    }
    this.words[this.length++] = value;
  }

  private handle(handle: Handle): void {
    this.word(this.index(handle));
  }

  /** A unit's objects come once, or in a row: nobody has to find them again. */
  private unlisted(handle: Layout | Program): void {
    const last = this.named.length - 1;
    this.word(this.named[last] === handle ? last : this.named.push(handle) - 1);
  }

  private index(handle: Handle): number {
    for (let i = 0; i < FIRST_NAMED; i++) if (this.named[i] === handle) return i;
    let index = this.indexOf.get(handle);
    if (index === undefined) {
      index = this.named.push(handle) - 1;
      this.indexOf.set(handle, index);
    }
    return index;
  }

  private span(span: Span | null): void {
    if (span === null) {
      this.word(-1);
      this.word(0);
      return;
    }
    if (span.buffer !== this.buffer) {
      this.buffer = span.buffer;
      this.bufferIndex = this.index(span.buffer);
    }
    this.word(this.bufferIndex);
    this.word(span.offset);
  }

  private seed(seed: bigint): void {
    if (seed !== this.seedWords.of) {
      this.seedWords = { of: seed, low: Number(seed & 0xffffffffn), high: Number((seed >> 32n) & 0xffffffffn) };
    }
    this.word(this.seedWords.low);
    this.word(this.seedWords.high);
  }
}
