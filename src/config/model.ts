import { z } from "zod";
import { byteSizeSchema } from "./bytes.js";
import type { Frozen } from "./parse.js";

const offloadSchema = z.strictObject({
  /**
   * Where weights rest between visits: `"host"` streams them through the device's slots, `"device"` keeps them there.
   * @default "host"
   */
  to: z.enum(["host", "device"]).default("host"),
  /**
   * Dtype of the weights at rest and in transfer. `"stored"` is the checkpoint's own. One-dimensional parameters are always fp32.
   * Below fp32, nearest rounding loses small updates: see `rounding`.
   * @default "stored"
   */
  wire: z.enum(["stored", "fp32", "fp16", "bf16"]).default("stored"),
  /** Most bytes of device memory that may be in use: a number, or text such as `"4GiB"`. @default no limit */
  deviceMemory: byteSizeSchema.optional(),
  /** Units that fit on the device at once. Three let an upload, a computation and an offload overlap. @default 3 */
  slots: z.int().min(1).default(3),
  /** Largest unit in bytes: a number, or text such as `"64MiB"`. @default the largest decoder layer */
  unitBytes: byteSizeSchema.optional(),
  /** Whether transfers overlap with computation; off only to measure what overlap brings. @default true */
  overlap: z.boolean().default(true),
});

const testSchema = z.strictObject({
  /** Fills slots, scratch and staging memory with NaN when they are released. @default false */
  poison: z.boolean().optional(),
  /** Longest random delay before every stream command, in microseconds. @default 0 */
  delayMicroseconds: z.int().min(0).optional(),
  /** Seed of those delays. @default 0 */
  delaySeed: z.int().min(0).optional(),
  /** Uses the portable kernels even where the CPU has better ones. @default false */
  genericKernels: z.boolean().optional(),
});

/** What `loadModel` takes. */
export const modelOptionsSchema = z.strictObject({
  /** Which backend computes; `"auto"` is `"cuda"` where there is such a device and else `"cpu"`. @default "auto" */
  device: z.enum(["auto", "cpu", "cuda"]).default("auto"),
  /** Threads of the CPU backend. @default one for each core that the process may use */
  threads: z.int().min(1).optional(),
  /** Where the weights live, and how they travel. */
  offload: offloadSchema.prefault({}),
  /** Dtype of the matrix products. The CPU backend computes in `"fp32"` only. @default "fp32" */
  dtype: z.enum(["fp32", "fp16", "bf16"]).default("fp32"),
  /** How an updated weight is rounded to the wire dtype. @default "nearest" */
  rounding: z.enum(["nearest", "stochastic"]).default("nearest"),
  /** Largest number of tokens in one training, evaluation or scoring batch. @default 8 sequences of the longest length */
  maxTokens: z.int().min(1).optional(),
  /** Switches for tests. They change speed and never results. */
  test: testSchema.optional(),
});

/** Options of `loadModel`, as a caller writes them. */
export type ModelOptions = z.input<typeof modelOptionsSchema>;
/** Options of `loadModel` with every default filled in; frozen. */
export type ResolvedModelOptions = Frozen<z.output<typeof modelOptionsSchema>>;
