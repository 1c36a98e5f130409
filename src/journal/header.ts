/** What a run is a function of, besides its records: the first frame of a journal. */
import { z } from "zod";
import { FLOAT_TYPES, WIRE_TYPES } from "../base/dtype.js";
import { Zo2Error } from "../base/errors.js";
import { messageOf } from "../base/guards.js";

/** Of the journal's format. A reader refuses any other. */
export const FORMAT_VERSION = 1;

const hash = z.string().regex(/^[0-9a-f]{32}$/);
const count = z.int().min(0);
const floatType = z.enum(FLOAT_TYPES);

/** One tensor of the base as the run has it: its values before the first step. */
const tensorSchema = z.strictObject({
  /** As transformers' `named_parameters()` has it. */
  name: z.string(),
  shape: z.array(count),
  /** At rest: what updates are rounded to. */
  wire: z.enum(WIRE_TYPES),
  /** XXH128 of the stored bytes in the checkpoint, row-major; of an adapter's, those that it begins with. */
  hash,
  /** Whether it is an adapter's, over a base that stays as it is. */
  adapter: z.literal(true).optional(),
});

/** Noise of low rank: of so many products of factors, of which those of the columns stay for `interval` steps. */
const lowRankSchema = z.strictObject({
  kind: z.literal("low-rank"),
  rank: z.int().min(1).max(16),
  interval: z.int().min(1),
});

export const runHeaderSchema = z.strictObject({
  format: z.literal(FORMAT_VERSION),
  /** The version of this package that began the run. */
  package: z.string(),
  /** ISO 8601. */
  created: z.string(),
  base: z.strictObject({
    /** As it was asked for: a folder or a Hub id. For people; a run is replayed on whatever has these tensors. */
    name: z.string(),
    /** XXH128 of the fields of config.json that the model is built from, as JSON with sorted keys. */
    config: hash,
    /** In the canonical order, in which noise counts the elements. */
    tensors: z.array(tensorSchema).min(1),
    /** Option `adapter` of the model; absent: there was none. */
    adapter: z.record(z.string(), z.unknown()).optional(),
  }),
  numerics: z.strictObject({
    compute: floatType,
    rounding: z.enum(["nearest", "stochastic"]),
    tf32: z.boolean(),
  }),
  /** The trainer's options as they were resolved, less those that change no weight, and test switches. */
  training: z.record(z.string(), z.unknown()),
  method: z.strictObject({
    /** Losses of a step, and coefficients. */
    probes: z.int().min(1).max(128),
    directions: z.int().min(1).max(64),
    /** Places of the probes that stand at the weights, whose loss is the step's; absent: it is the mean of all. */
    inPlace: z.array(count).min(1).optional(),
    noise: z.enum(["gaussian", "rademacher"]).or(lowRankSchema),
    weightDecay: z.number().min(0),
    /** Parameters that no update concerns, by name. */
    frozen: z.array(z.string()),
    /** The 64 bits, in decimal digits. */
    seed: z.string().regex(/^\d{1,20}$/),
  }),
  data: z.strictObject({
    /** Path of the file; null for examples that the program gave. */
    path: z.string().nullable(),
    examples: count,
    /** XXH128 of the file's bytes, or of the examples in tokens, as JSON Lines. */
    hash,
  }),
});
export type RunHeader = z.output<typeof runHeaderSchema>;

/** Bytes of a memory plan, of the device's by purpose. */
const planSchema = z.strictObject({
  deviceBytes: count,
  hostBytes: count,
  parts: z.array(z.strictObject({ name: z.string(), bytes: count })),
});

/** One process that has trained the run, from its first step to the next session's. */
export const runSessionSchema = z.strictObject({
  /** Steps that had been taken. */
  from: count,
  started: z.string(),
  package: z.string(),
  device: z.string(),
  /** Options that may change from session to session: where the weights rest, budgets, unit sizes, steps. */
  options: z.record(z.string(), z.unknown()),
  /** Of backend, kernels and the cut into units: rounding is the same where it is the same. */
  rounding: z.string(),
  /** What ran the program: "Node 20.17.0". */
  runtime: z.string().optional(),
  /** As planned before the first step; absent where nothing was, because the data was not checked. */
  plan: planSchema.optional(),
});
export type RunSession = z.output<typeof runSessionSchema>;

export function encodeJson(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}

/** @throws Zo2Error ZO2_ERR_JOURNAL */
export function parseJson<S extends z.ZodType>(schema: S, payload: Uint8Array, where: string): z.output<S> {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(payload)) as unknown;
  } catch (error) {
    throw new Zo2Error("ZO2_ERR_JOURNAL", `${where}: not JSON: ${messageOf(error)}`, { cause: error });
  }
  const format = typeof value === "object" && value !== null && "format" in value ? value.format : undefined;
  if (typeof format === "number" && format !== FORMAT_VERSION) {
    throw new Zo2Error(
      "ZO2_ERR_JOURNAL",
      `${where}: written in version ${format} of the format, and this package reads version ${FORMAT_VERSION}; ` +
        "use the version of zo2 that wrote it",
    );
  }
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw new Zo2Error("ZO2_ERR_JOURNAL", `${where}: ${issue?.path.join(".") ?? ""}: ${issue?.message ?? ""}`);
}
