import { z } from "zod";
import { isBlocked, WIRE_TYPES } from "../base/dtype.js";
import type { DeviceName } from "../device/open.js";
import type { PassObserver } from "../device/options.js";
import type { Tier } from "../memory/residence.js";
import { adapterSchema } from "./adapter.js";
import { byteSizeSchema } from "./bytes.js";
import { methodProbesSchema } from "./methods/index.js";
import type { Frozen } from "./parse.js";

/** With this many updates in one visit, drawing noise takes far longer than any transfer. */
const MOST_VISITS = 64;

export const offloadSchema = z.strictObject({
  /**
   * Where weights rest between visits: `"host"` streams them through the device's slots, `"device"` keeps them there,
   * `"disk"` streams them from a file in `diskPath`, `"auto"` keeps as many on the device as `deviceMemory` has room
   * for beside a step, and streams the others: from host memory and, with a `diskPath`, from disk what `hostMemory` has
   * no room for.
   * @default "auto"
   */
  to: z.enum(["auto", "host", "device", "disk"]).default("auto"),
  /**
   * Dtype of the weights at rest and in transfer. `"stored"` is the checkpoint's own. `"int8"` and `"e4m3"` have 8
   * bits, and a power of two as scale for every 64 of a row. One-dimensional parameters are always fp32. Below fp32,
   * nearest rounding loses small updates: see `rounding`.
   * @default "stored"
   */
  wire: z.enum(["stored", ...WIRE_TYPES]).default("stored"),
  /**
   * Most bytes of device memory that may be in use: a number, or text such as `"4GiB"`. @default with `"auto"`, on a
   * GPU what is free there when the model is loaded, less a twentieth and 256 MiB; else no limit
   */
  deviceMemory: byteSizeSchema.optional(),
  /**
   * Most bytes of host memory for weights at rest and for staging; with `"auto"` on the CPU, for all that the plan
   * takes, since its memory is the host's. @default with `"auto"` and a `diskPath`, what is free when the model is
   * loaded, less a twentieth and 256 MiB; else no limit
   */
  hostMemory: byteSizeSchema.optional(),
  /**
   * Folder on a fast disk for weights that rest on disk: in a file that has no name and goes with the process. Needed
   * for `"disk"`; with `"auto"` for weights that fit nowhere else. @default none
   */
  diskPath: z.string().min(1).optional(),
  /** Most bytes of that file: a number, or text such as `"200GiB"`. @default what is free there */
  diskMemory: byteSizeSchema.optional(),
  /**
   * Units of those that move that fit on the device at once. Three let an upload, a computation and an offload overlap.
   * @default chosen: 3, or 2 where memory is short
   */
  slots: z.int().min(1).optional(),
  /**
   * Largest unit in bytes: a number, or text such as `"64MiB"`. Losses may differ in their last bits between unit
   * sizes. @default chosen: the largest decoder layer, or a part of it where memory is short
   */
  unitBytes: byteSizeSchema.optional(),
  /**
   * Whether the weights of the next unit are perturbed while this one computes. It takes device memory for those of a
   * second unit, and changes no result. `"auto"`: on a GPU, with overlap, where that memory is there.
   * @default "auto"
   */
  prepareAhead: z.enum(["auto", "on", "off"]).default("auto"),
  /**
   * Where the activations between units rest, one area of them for each probe and micro-batch: on the device, or in
   * host memory, from where three areas at most are on the device at once. It changes no result. `"auto"`: on the
   * device where there is room; else, or where a step is predicted to be shorter so, in host memory. On the CPU, whose
   * memory is the host's, it is `"device"`. @default "auto"
   */
  activations: z.enum(["auto", "device", "host"]).default("auto"),
  /**
   * Visits of a streamed unit for each that writes it back. The visits between read the host's copy, which lags by up
   * to `writeBackEvery - 1` steps, and apply the updates that it lacks: less traffic, more noise to draw. It changes no
   * result, and concerns no unit that stays on the device. 1 .. 64. @default 1
   */
  writeBackEvery: z.int().min(1).max(MOST_VISITS).default(1),
  /** Whether transfers overlap with computation; off only to measure what overlap brings. @default true */
  overlap: z.boolean().default(true),
});

function checkDiskPath({ to, diskPath }: z.output<typeof offloadSchema>, context: z.RefinementCtx): void {
  if (to !== "disk" || diskPath !== undefined) return;
  const message = 'option "offload.to" = "disk" needs a folder; give one on a fast disk';
  context.addIssue({ code: "custom", path: ["diskPath"], message });
}

export const hubSchema = z.strictObject({
  /** Branch, tag or commit. @default "main" */
  revision: z.string().min(1).optional(),
  /** The cache folder. @default HF_HUB_CACHE, or `hub` in HF_HOME, or `~/.cache/huggingface/hub` */
  cacheDir: z.string().min(1).optional(),
  /** For gated and private repositories. @default HF_TOKEN, or the token that `hf auth login` stored */
  token: z.string().optional(),
  /** @default HF_ENDPOINT, or "https://huggingface.co" */
  endpoint: z.string().min(1).optional(),
  /** Whether only the cache is used. @default HF_HUB_OFFLINE */
  offline: z.boolean().optional(),
});

const workloadSchema = z.strictObject({
  /** Whether it is a step of training, or a forward pass alone. @default true */
  training: z.boolean().default(true),
  /** The method of the training, and how many evaluations its step has. @default MeZO-SGD with one direction */
  method: methodProbesSchema,
  /** Sequences of one training step. @default 1 */
  batchSize: z.int().min(1).default(1),
  /** Sequences of one forward pass. @default batchSize, or half of it, and so on, until memory has room */
  microBatchSize: z.int().min(1).optional(),
  /** Tokens of each sequence. @default the model's positions */
  maxLength: z.int().min(1).optional(),
});

const testSchema = z.strictObject({
  /** Fills slots, scratch and staging memory with NaN when they are released. @default false */
  poison: z.boolean().optional(),
  /** Longest random delay before every stream command, in microseconds. @default 0 */
  delayMicroseconds: z.int().min(0).optional(),
  /** Seed of those delays. @default 0 */
  delaySeed: z.int().min(0).optional(),
  /** Where each unit rests, by its number. @default `offload.to` for all */
  tier: z
    .custom<(unit: number) => Tier>((value) => typeof value === "function", { error: "must be a function" })
    .optional(),
  /** Sees every pass over the model. @default none */
  onPass: z.custom<PassObserver>((value) => typeof value === "function", { error: "must be a function" }).optional(),
  /** Uses the portable kernels even where the CPU has better ones. @default false */
  genericKernels: z.boolean().optional(),
  /**
   * Which of the device's allocations is refused, once, as if memory were short: a buffer, layout, program or stream,
   * from 1, as `deviceInfo().allocations` counts them. @default none
   */
  refuseAllocation: z.int().min(1).optional(),
});

export const deviceSchema = z.custom<DeviceName>(
  (value) => typeof value === "string" && /^(auto|cpu|cuda(:\d{1,3})?)$/.test(value),
  {
    error: 'must be "auto", "cpu", "cuda" or "cuda:N"',
  },
);

/** What `loadModel` takes. */
export const modelOptionsSchema = z.strictObject({
  /**
   * Which device computes: `"auto"` (`"cuda"` where there is such a device, else `"cpu"`), `"cpu"`, `"cuda"`,
   * `"cuda:1"`. @default "auto"
   */
  device: deviceSchema.default("auto"),
  /** Threads of the CPU backend. @default one for each core that the process may use */
  threads: z.int().min(1).optional(),
  /** Where a model that is given by its Hub id comes from. */
  hub: hubSchema.prefault({}),
  /** Where the weights live, and how they travel. */
  offload: offloadSchema.superRefine(checkDiskPath).prefault({}),
  /**
   * The step that memory is planned for before any data is known. A `Trainer` plans again for what its data holds; what
   * depends on it for good is how weights are cut.
   */
  workload: workloadSchema.prefault({}),
  /**
   * Dtype of the perturbed weights and of the activations that feed a matrix product; sums are fp32. On a GPU `"fp16"`
   * and `"bf16"` run on tensor cores; the CPU backend rounds in the same places and computes in fp32, so there they are
   * slower and only useful to compare.
   * @default "fp32"
   */
  dtype: z.enum(["fp32", "fp16", "bf16"]).default("fp32"),
  /**
   * Whether fp32 matrix products on a GPU may round their operands to tf32 (10 bits of mantissa), for speed. @default
   * false
   */
  tf32: z.boolean().default(false),
  /**
   * A few parameters over the checkpoint's, which alone are trained, and stay on the device: see docs/adapters.md.
   * @default none
   */
  adapter: adapterSchema.optional(),
  /**
   * How an updated weight is rounded to the wire dtype. `"auto"`: to nearest, but stochastically where that has 8 bits,
   * of which nearest would lose nearly every update. @default "auto"
   */
  rounding: z.enum(["auto", "nearest", "stochastic"]).default("auto"),
  /**
   * Largest number of tokens in one training, evaluation or scoring batch. @default 8 sequences of the longest length
   */
  maxTokens: z.int().min(1).optional(),
  /**
   * Fields of `config.json` that zo2 does not know and that do not change what the model computes; without being named
   * here, they are refused.
   * @default []
   */
  ignoreConfigFields: z.array(z.string().min(1)).readonly().default([]),
  /**
   * Runs that are replayed on the weights once they are loaded, one after another: the folder of a run or its journal,
   * or of one the first `steps`. Weights have to rest and to be rounded as in the run. @default []
   */
  journals: z
    .array(z.union([z.string().min(1), z.strictObject({ run: z.string().min(1), steps: z.int().min(0).optional() })]))
    .readonly()
    .default([]),
  /** Switches for tests. They change speed and never results. */
  test: testSchema.optional(),
});

/** How a model's updated weights are rounded. */
export function roundingOf({ rounding, offload }: Frozen<z.output<typeof modelOptionsSchema>>) {
  if (rounding !== "auto") return rounding;
  return offload.wire !== "stored" && isBlocked(offload.wire) ? "stochastic" : "nearest";
}

/** Options of `loadModel`, as a caller writes them. */
export type ModelOptions = z.input<typeof modelOptionsSchema>;
/** Options of `loadModel` with every default filled in; frozen. */
export type ResolvedModelOptions = Frozen<z.output<typeof modelOptionsSchema>>;
