import { Zo2Error } from "../base/errors.js";
import type { Journal } from "../journal/read.js";
import { readRun } from "../journal/read-run.js";

/** A run by its folder or its journal, and how many of its steps: all where that is not said. */
export type RunReference = string | { readonly run: string; readonly steps?: number | undefined };

/** @throws Zo2Error ZO2_ERR_IO, ZO2_ERR_JOURNAL; ZO2_ERR_CONFIG for a number of steps that is none */
export async function openReference(
  reference: RunReference,
): Promise<{ readonly journal: Journal; readonly steps: number | undefined }> {
  const { run, steps } = typeof reference === "string" ? { run: reference } : reference;
  if (steps !== undefined && (!Number.isInteger(steps) || steps < 0))
    throw new Zo2Error("ZO2_ERR_CONFIG", `${run}: steps is ${steps}; it must be a whole number from 0 on`);
  return { journal: await readRun(run), steps };
}
