import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";
import { Zo2Error } from "../base/errors.js";
import { errnoOf, isRecord, messageOf } from "../base/guards.js";

/** What the journal of a run does not have: what its steps took. */
export interface StepMetrics {
  readonly step: number;
  readonly tokens: number;
  readonly seconds: number;
  /** Most bytes of device memory in use so far. */
  readonly deviceBytes: number;
}

/**
 * The steps in a file of metrics, ascending; null where there is none. Of a step that stands there twice the last
 * counts. Lines that are no step's, and one that was torn, are passed over. @throws Zo2Error ZO2_ERR_IO
 */
export async function readMetrics(path: string): Promise<StepMetrics[] | null> {
  const steps = new Map<number, StepMetrics>();
  try {
    for await (const line of createInterface({ input: createReadStream(path, "utf8"), crlfDelay: Infinity })) {
      const step = stepOf(line);
      if (step !== null) steps.set(step.step, step);
    }
  } catch (error) {
    if (errnoOf(error) === "ENOENT" || errnoOf(error) === "ENOTDIR") return null;
    throw new Zo2Error("ZO2_ERR_IO", `${path}: the metrics cannot be read: ${messageOf(error)}`, { cause: error });
  }
  return [...steps.values()].sort((a, b) => a.step - b.step);
}

function stepOf(line: string): StepMetrics | null {
  let record: unknown;
  try {
    record = JSON.parse(line);
  } catch {
    return null;
  }
  if (!isRecord(record)) return null;
  const { step, tokens, seconds, deviceBytes } = record;
  if (typeof step !== "number" || typeof tokens !== "number" || typeof seconds !== "number") return null;
  return { step, tokens, seconds, deviceBytes: typeof deviceBytes === "number" ? deviceBytes : 0 };
}
