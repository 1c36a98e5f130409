/** Of a run with weights below fp32 that are rounded to nearest: how many of its updates change nothing. */
import { BLOCK, type BlockType, type FloatType, isBlocked, type WireType } from "../base/dtype.js";
import type { Warning } from "../base/warnings.js";
import { weightSources } from "../checkpoint/weights.js";
import { roundingOf } from "../config/model.js";
import type { Loaded } from "../loaded.js";
import { type DrawnNoise, varianceOf } from "../method/index.js";
import { type Parameter, rowsOf } from "../ops/parameter.js";

/** Steps whose coefficients say what a run's updates are like. */
const FIRST_STEPS = 8;
/** Matrices that are looked at, and elements of each. */
const SAMPLED = { matrices: 8, elements: 4096 };
/** Of all updates of single weights: with fewer lost a run learns much as in fp32 (docs/concepts.md). */
const WORTH_A_WARNING = 0.5;

/** Bits of the significand behind the point, and the exponent of the smallest normal number. */
const FORMATS: Readonly<Record<Exclude<FloatType, "fp32">, { readonly bits: number; readonly least: number }>> = {
  fp16: { bits: 10, least: -14 },
  bf16: { bits: 7, least: -126 },
};

/** Half the distance from a value to the next one of its dtype: nearest rounding undoes a change that is smaller. */
export function halfGap(value: number, type: Exclude<FloatType, "fp32">): number {
  const { bits, least } = FORMATS[type];
  const exponent = value === 0 ? least : Math.max(least, Math.floor(Math.log2(Math.abs(value))));
  return 2 ** (exponent - bits - 1);
}

/** The largest number of a format, and the least exponent of its steps. */
const BLOCK_FORMATS: Readonly<Record<BlockType, { readonly largest: number; readonly least: number }>> = {
  int8: { largest: 127, least: 0 },
  e4m3: { largest: 448, least: -9 },
};

/** The same for the values of a block, whose largest has its scale. */
export function blockHalfGaps(values: Float32Array, type: BlockType): number[] {
  const { largest, least } = BLOCK_FORMATS[type];
  const most = values.reduce((m, value) => Math.max(m, Math.abs(value)), 0);
  if (most === 0) return Array.from(values, () => 0);
  const scale = 2 ** Math.ceil(Math.log2(most / largest));
  return Array.from(values, (value) => {
    if (type === "int8") return scale / 2;
    const exponent = Math.floor(Math.log2(Math.abs(value) / scale)) - 3;
    return (scale * 2 ** Math.max(least, exponent)) / 2;
  });
}

/** The share of updates of `size` times the noise that are smaller than these half gaps. */
export function lostShare(halfGaps: Float64Array, size: number, noise: "gaussian" | "rademacher"): number {
  const lost = (gap: number) => (noise === "rademacher" ? Number(size < gap) : within(gap / size));
  return halfGaps.reduce((sum, gap) => sum + lost(gap), 0) / halfGaps.length;
}

/** The probability that a standard normal number is no further than `x` from 0 (Abramowitz and Stegun, 7.1.26). */
function within(x: number): number {
  if (x === Number.POSITIVE_INFINITY) return 1;
  const z = x / Math.SQRT2;
  const t = 1 / (1 + 0.3275911 * z);
  const series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  return 1 - series * Math.exp(-z * z);
}

/** Half gaps of values that begin where a row does. */
function blocked(values: Float32Array, width: number, type: BlockType): number[] {
  const gaps: number[] = [];
  for (let begin = 0; begin < values.length; ) {
    const end = Math.min(begin + BLOCK, begin - (begin % width) + width);
    gaps.push(...blockHalfGaps(values.subarray(begin, end), type));
    begin = end;
  }
  return gaps;
}

export class LostUpdates {
  /** The squares of the first steps' updates, each of a noise of 1. */
  private readonly squares: number[] = [];

  private constructor(
    private readonly wire: WireType,
    private readonly halfGaps: Float64Array,
    private readonly noise: DrawnNoise,
  ) {}

  /** Null where no update is lost: in fp32, with stochastic rounding, or where nothing narrower is trained. */
  static async of(
    { session, options }: Loaded,
    trained: readonly Parameter[],
    noise: DrawnNoise,
  ): Promise<LostUpdates | null> {
    if (roundingOf(options) === "stochastic") return null;
    const wires = new Map(session.units.flatMap(({ tensors }) => tensors.map((t) => [t.parameter, t.wire] as const)));
    const narrow = trained.filter((parameter) => wires.get(parameter) !== "fp32");
    if (narrow.length === 0) return null;
    const stride = Math.max(1, narrow.length / SAMPLED.matrices);
    const sampled = narrow.filter((_, i) => Math.floor(i / stride) !== Math.floor((i - 1) / stride));
    const gaps: number[] = [];
    for (const parameter of sampled) {
      const wire = wires.get(parameter);
      if (wire === undefined || wire === "fp32") continue;
      const values = new Float32Array(Math.min(SAMPLED.elements, parameter.count));
      const [source] = weightSources(session.store, session.units, [parameter], "fp32");
      // At the start of a row, where a block begins as well.
      const { width } = rowsOf(parameter);
      const from = Math.floor((parameter.count - values.length) / 2 / width) * width;
      await source?.read(from * values.BYTES_PER_ELEMENT, new Uint8Array(values.buffer));
      gaps.push(...(isBlocked(wire) ? blocked(values, width, wire) : Array.from(values, (v) => halfGap(v, wire))));
    }
    return new LostUpdates(session.wire, Float64Array.from(gaps), noise);
  }

  /** @returns a warning after the first steps, once, where most of what they wanted to change was lost */
  note(coefficients: readonly number[], learningRate: number): Warning | null {
    if (this.squares.length === FIRST_STEPS) return null;
    const sum = coefficients.reduce((total, g) => total + g * g, 0);
    // Of a step that wants no change nothing is lost.
    if (sum === 0) return null;
    this.squares.push((learningRate / coefficients.length) ** 2 * sum);
    if (this.squares.length < FIRST_STEPS) return null;
    const size = Math.sqrt(this.squares.reduce((total, square) => total + square, 0) / FIRST_STEPS);
    // Along several directions an update is a sum of as many numbers.
    const noise = coefficients.length === 1 && this.noise === "rademacher" ? "rademacher" : "gaussian";
    const share = lostShare(this.halfGaps, size * Math.sqrt(varianceOf(this.noise)), noise);
    if (share < WORTH_A_WARNING) return null;
    return {
      code: "ZO2_WARN_LOST_UPDATES",
      message:
        `of the updates of single weights in the first ${FIRST_STEPS} steps, about ${(100 * share).toFixed(0)} % ` +
        `were lost: they are around ${size.toExponential(1)}, which rounding to the nearest ${this.wire} undoes; ` +
        'choose option "rounding" = "stochastic", option "offload.wire" = "fp32", or a larger learning rate',
    };
  }
}
