import { z } from "zod";
import { HARDWARE_NAMES, THIS_MACHINE } from "../simulate/hardware.js";
import { methodProbesSchema, noiseOption, refineNoise } from "./methods/index.js";
import { adapterSchema } from "./adapter.js";
import { hubSchema, offloadSchema } from "./model.js";

/** What `planModel` takes. What is left out of `offload` is chosen. */
export const planOptionsSchema = z
  .strictObject({
    /**
     * What the model is to run on, `"this"` for this machine; without it nothing is predicted, and the first plan that
     * fits is taken.
     */
    hardware: z.enum([THIS_MACHINE, ...HARDWARE_NAMES]).optional(),
    /** With `hardware: "this"`, whether the machine is measured anew where its figures are kept. @default false */
    measure: z.boolean().default(false),
    /** Sequences of one training step. @default 1 */
    batchSize: z.int().min(1).default(1),
    /** Sequences of one forward pass. @default batchSize, or half of it, and so on, until memory has room */
    microBatchSize: z.int().min(1).optional(),
    /** Tokens of each sequence. @default the model's positions */
    maxLength: z.int().min(1).optional(),
    /** Largest number of tokens in one micro-batch. @default 8 sequences of the longest length */
    maxTokens: z.int().min(1).optional(),
    /** The method whose step is planned, and how many evaluations it has. @default MeZO-SGD with one direction */
    method: methodProbesSchema,
    /** Distribution of the directions. @default that of the method */
    noise: noiseOption,
    /** Dtype of the matrix products, as for `loadModel`. @default "fp32" */
    dtype: z.enum(["fp32", "fp16", "bf16"]).default("fp32"),
    /**
     * As for `loadModel`: the wire dtype `"stored"` is the one that `config.json` names, or fp32; `deviceMemory` is by
     * default that of the hardware, where it is named, and `hostMemory` has no limit; `diskPath` is not looked at.
     */
    offload: offloadSchema
      .pick({
        ...{ to: true, wire: true, deviceMemory: true, hostMemory: true, diskPath: true, diskMemory: true },
        ...{ slots: true, unitBytes: true, prepareAhead: true, activations: true, overlap: true },
      })
      .prefault({}),
    /** What is trained over a base that stays, as for `loadModel`. @default none: all is trained */
    adapter: adapterSchema.optional(),
    hub: hubSchema.prefault({}),
    ignoreConfigFields: z.array(z.string().min(1)).readonly().default([]),
  })
  .superRefine(refineNoise);

/** Options of `planModel`, as a caller writes them. */
export type PlanModelOptions = z.input<typeof planOptionsSchema>;
export type ResolvedPlanOptions = z.output<typeof planOptionsSchema>;
