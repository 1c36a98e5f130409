/** What a device does in a second, found out by having it do it. */
import { at } from "../base/at.js";
import { FLOAT_TYPES, type FloatType } from "../base/dtype.js";
import { Zo2Error } from "../base/errors.js";
import type { DeviceChoice, DeviceInfo } from "../device/open.js";
import type { TracedSpan } from "../device/trace.js";
import { FAST_DISK, type Hardware, type NoiseKind, RESERVE_BYTES } from "../simulate/hardware.js";
import type { Rate } from "../simulate/rate.js";
import { type ModelShape, openModel } from "./model.js";
import { type BatchShape, batchOfShape, takeSteps } from "./steps.js";

/** What is measured with. */
export interface MeasureSizes {
  readonly model: ModelShape;
  readonly batches: readonly BatchShape[];
  /** Of many commands that have next to nothing to do. */
  readonly tiny: ModelShape;
  /** Of each batch. The median counts: others may use the machine meanwhile, and a step is no collection of bests. */
  readonly repeats: number;
}

export interface MeasureOptions {
  readonly signal?: AbortSignal | undefined;
  /** @default by the kind of device */
  readonly sizes?: MeasureSizes | undefined;
  /** Awaited behind every step, with its seconds: whoever shares a machine can leave it to others for a while. */
  readonly between?: ((seconds: number) => Promise<void>) | undefined;
}

const batch = (sequences: number, length: number): BatchShape => ({ microBatches: [sequences], length });
const TINY: ModelShape = { layers: 12, hidden: 64, heads: 2, ffn: 64, vocab: 64, positions: 64 };

/** About 25 seconds on two cores. */
const CPU_SIZES: MeasureSizes = {
  model: { layers: 1, hidden: 768, heads: 12, ffn: 3072, vocab: 8192, positions: 1088 },
  batches: [batch(1, 9), batch(1, 33), batch(1, 129), batch(8, 33), batch(4, 129), batch(1, 513), batch(1, 1025)],
  ...{ tiny: TINY, repeats: 3 },
};
/** Large enough to fill a data centre's GPU. */
const GPU_SIZES: MeasureSizes = {
  model: { layers: 2, hidden: 4096, heads: 32, ffn: 16384, vocab: 32768, positions: 4160 },
  batches: [batch(1, 33), batch(1, 129), batch(4, 129), batch(1, 1025), batch(4, 1025), batch(1, 4097)],
  ...{ tiny: TINY, repeats: 5 },
};

/** Weights are zeros: those that are perturbed are this times the noise, as large as those of a model. */
const EPS = 0.02;
const LEARNING_RATE = 1e-6;
/** Steps of many small commands, for each repeat of the others. */
const TINY_STEPS = 6;
const TINY_BATCH = batch(1, 9);

/**
 * Runs steps of small models on the device, times their commands and ops one by one, and takes the median of each.
 * @throws Zo2Error ZO2_ERR_ADDON, ZO2_ERR_DEVICE, ZO2_ERR_OUT_OF_MEMORY, ZO2_ERR_ABORTED
 */
export async function measureHardware(choice: DeviceChoice, o: MeasureOptions = {}): Promise<Hardware> {
  const { each, info } = await measureTiny(choice, o.sizes ?? CPU_SIZES);
  const sizes = o.sizes ?? (info.kind.startsWith("cuda") ? GPU_SIZES : CPU_SIZES);
  const byType = new Map<FloatType, Measured>();
  for (const dtype of FLOAT_TYPES) byType.set(dtype, await measureType(choice, sizes, dtype, o));
  const of = <T>(what: (measured: Measured) => T) =>
    Object.fromEntries(FLOAT_TYPES.map((dtype) => [dtype, what(byType.get(dtype) as Measured)])) as Record<
      FloatType,
      T
    >;
  const overlaps = info.kind.startsWith("cuda");
  const best = (what: (measured: Measured) => number) => Math.max(...[...byType.values()].map(what));
  return {
    ...{ name: nameOf(info), source: `measured on ${new Date().toISOString().slice(0, 10)}` },
    ...{ upload: best(({ upload }) => upload), offload: best(({ offload }) => offload) },
    ...{ memory: (byType.get("fp32") as Measured).memory, disk: FAST_DISK },
    ...{ flops: of(({ products }) => products), attention: of(({ attention }) => attention) },
    noise: { gaussian: of(({ noise }) => noise.gaussian), rademacher: of(({ noise }) => noise.rademacher) },
    ...{ command: each, op: each, overlaps, threads: overlaps ? 1 : info.threads },
    deviceBytes: info.memoryTotal - RESERVE_BYTES,
  };
}

function nameOf({ kind, name, threads }: DeviceInfo): string {
  return kind === "cpu" ? `${name}, ${threads} ${threads === 1 ? "thread" : "threads"}` : name;
}

/** In one dtype at rest and of the products. */
interface Measured {
  readonly products: Rate;
  readonly attention: Rate;
  readonly noise: Readonly<Record<NoiseKind, number>>;
  readonly upload: number;
  readonly offload: number;
  readonly memory: number;
}

async function measureType(
  choice: DeviceChoice,
  { model: shape, batches, repeats }: MeasureSizes,
  dtype: FloatType,
  { signal, between }: MeasureOptions,
): Promise<Measured> {
  await using model = await openModel(shape, choice, dtype);
  const { session, definition } = model;
  const trace = session.trace({ ops: true });
  const [products, attention, single] = [new Medians<number>(), new Medians<number>(), new Medians<Single>()];
  let first = 0;
  const step = async (shaped: BatchShape, noise: NoiseKind) => {
    if (signal?.aborted === true)
      throw new Zo2Error("ZO2_ERR_ABORTED", "the measurement of this machine was stopped", { cause: signal.reason });
    const rows = batchOfShape(definition.head, definition.vocabSize, shaped);
    const options = { noise, eps: EPS, learningRate: LEARNING_RATE, first: first++, count: 1 } as const;
    const [seconds = 0] = await takeSteps(session, rows, options);
    await session.settle();
    await between?.(seconds);
    return trace.take();
  };
  for (let i = 0; i <= repeats; i++) {
    for (const shaped of batches) {
      const spans = await step(shaped, "gaussian");
      // The first of each is for caches, pages and lazy loading.
      if (i === 0) continue;
      const rowCount = shaped.microBatches.reduce((sum, count) => sum + count, 0) * (shaped.length - 1);
      products.add(rowCount, rateOf(spans, "flops"));
      attention.add(shaped.length / 2, rateOf(spans, "attentionFlops"));
      single.add("upload", rateOf(named(spans, "upload"), "bytes"));
      single.add("offload", rateOf(named(spans, "offload"), "bytes"));
      single.add("gaussian", rateOf(named(spans, "prepare"), "draws"));
      single.add("memory", rateOf(rowOps(spans), "deviceBytes"));
    }
  }
  for (let i = 0; i <= repeats; i++) {
    const spans = await step(at(batches, 0), "rademacher");
    // The first applies an update along the noise before.
    if (i > 0) single.add("rademacher", rateOf(named(spans, "prepare"), "draws"));
  }
  const { upload = 0, offload = 0, memory = 0, gaussian = 0, rademacher = 0 } = Object.fromEntries(single.all);
  return {
    ...{ products: bySize(products), attention: bySize(attention), noise: { gaussian, rademacher } },
    ...{ upload, offload, memory },
  };
}

/** Seconds of a command, and of an op, that has next to nothing to do. */
async function measureTiny(
  choice: DeviceChoice,
  { tiny, repeats }: MeasureSizes,
): Promise<{ readonly each: number; readonly info: DeviceInfo }> {
  await using model = await openModel(tiny, choice, "fp32");
  const { session, definition } = model;
  const rows = batchOfShape(definition.head, definition.vocabSize, TINY_BATCH);
  const options = { noise: "gaussian", eps: EPS, learningRate: LEARNING_RATE } as const;
  const seconds = await takeSteps(session, rows, { ...options, first: 0, count: TINY_STEPS * repeats });
  const trace = session.trace({ ops: true });
  await takeSteps(session, rows, { ...options, first: TINY_STEPS * repeats, count: 1 });
  await session.settle();
  const spans = trace.take();
  const runs = new Set(spans.flatMap(({ work, probe }) => (work.kind === "run" ? [`${work.unit} ${probe}`] : [])));
  // A run is a command, and each of its ops counts too.
  return { each: median(seconds) / (spans.length + runs.size), info: session.info() };
}

const named = (spans: readonly TracedSpan[], what: string) => spans.filter((span) => span.what === what);

/** Those that are bound by what they read and write. */
function rowOps(spans: readonly TracedSpan[]): readonly TracedSpan[] {
  return spans.filter(({ work, flops = 0, attentionFlops = 0 }) => work.kind === "run" && flops + attentionFlops === 0);
}

/** Of all spans that have some of it, together. */
function rateOf(
  spans: readonly TracedSpan[],
  amount: "flops" | "attentionFlops" | "bytes" | "draws" | "deviceBytes",
): number {
  let [sum, seconds] = [0, 0];
  for (const span of spans) {
    const some = span[amount] ?? 0;
    if (some === 0) continue;
    sum += some;
    seconds += span.end - span.begin;
  }
  return sum / seconds;
}

type Single = "upload" | "offload" | "memory" | NoiseKind;

/** Of each thing that was met several times the median. */
class Medians<K> {
  private readonly met = new Map<K, number[]>();

  /** What is no number was not met. */
  add(key: K, value: number): void {
    if (!Number.isFinite(value)) return;
    this.met.set(key, [...(this.met.get(key) ?? []), value]);
  }

  get all(): readonly (readonly [K, number])[] {
    return [...this.met].map(([key, values]) => [key, median(values)] as const);
  }
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return (at(sorted, Math.floor((sorted.length - 1) / 2)) + at(sorted, Math.ceil((sorted.length - 1) / 2))) / 2;
}

function bySize(rates: Medians<number>): Rate {
  return [...rates.all].sort(([a], [b]) => a - b);
}
