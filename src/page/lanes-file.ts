/** The lanes of a step of a run, as its folder keeps them. */
import { z } from "zod";
import { readJsonFile } from "../base/files.js";
import { messageOf } from "../base/guards.js";
import type { LaneStep } from "./lanes.js";

/** In the folder of a run. */
export const LANES_FILE = "lanes.json";

const amount = z.number().min(0).optional();
const causeSchema = z.strictObject({ what: z.string(), lane: z.string(), unit: z.string().nullable() });
const stepSchema: z.ZodType<LaneStep> = z.strictObject({
  title: z.string(),
  seconds: z.number().min(0),
  bars: z.array(
    z.strictObject({
      ...{ lane: z.string(), what: z.string(), unit: z.string().nullable(), probe: z.int().min(0).optional() },
      ...{ begin: z.number(), end: z.number(), bytes: amount, draws: amount, flops: amount },
      cause: causeSchema.nullable(),
    }),
  ),
});

const lanesSchema = z.strictObject({
  version: z.literal(1),
  /** Index of the step. */
  step: z.int().min(0),
  device: z.string(),
  /** Whose figures the prediction is made of; null where there is none. */
  figures: z.string().nullable(),
  /** In the order of the rows. */
  lanes: z.array(z.string()).min(1),
  /** From above: predicted, where figures are known, and measured. */
  steps: z.array(stepSchema).min(1).max(2),
});
export type RunLanes = z.output<typeof lanesSchema>;

export function lanesText(lanes: Omit<RunLanes, "version">): string {
  return `${JSON.stringify({ version: 1, ...lanes })}\n`;
}

/** The lanes in the file at `path`; where they cannot be shown, why. */
export async function readLanes(path: string): Promise<RunLanes | { readonly why: string }> {
  try {
    const found = await readJsonFile(path, "ZO2_ERR_IO");
    if (found === undefined) return { why: "no step of it was traced" };
    const { success, data, error } = lanesSchema.safeParse(found);
    if (success) return data;
    const [issue] = error.issues;
    return { why: `${path}: ${issue?.path.join(".") ?? ""}: ${issue?.message ?? "damaged"}` };
  } catch (error) {
    return { why: messageOf(error) };
  }
}
