/** Runs that no model has made, for tests of what reads them. */
import { appendFile, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { RunHeader, RunSession } from "../../src/journal/header.js";
import { JOURNAL_FILE, readRun } from "../../src/journal/read-run.js";
import type { EvaluationRecord, StepRecord } from "../../src/journal/record.js";
import { JournalWriter, writeCompact } from "../../src/journal/writer.js";
import { METRICS_FILE } from "../../src/report/metrics.js";
import { HEADER } from "../unit/journal/support.js";

export interface MadeRun {
  readonly steps: number;
  readonly header?: Partial<RunHeader>;
  /** Steps taken before each session. @default one from the first step on */
  readonly sessions?: readonly number[];
  readonly session?: Partial<RunSession>;
  /** Steps between evaluations. @default none */
  readonly every?: number;
  readonly accuracy?: (step: number) => number | null;
  readonly loss?: (step: number) => number;
  readonly metrics?: boolean;
  /** Bytes behind the last record, which a crash has torn. */
  readonly torn?: number;
}

export const SESSION: RunSession = {
  ...{ from: 0, started: "2026-11-30T10:00:00.000Z", package: "0.1.0", device: "a CPU, avx2" },
  options: { device: "auto", threads: 2, offload: { to: "host", slots: 3 }, steps: 100 },
  ...{ rounding: "1".repeat(32), runtime: "Node 20.20.2" },
  plan: {
    ...{ deviceBytes: 6 * 2 ** 20, hostBytes: 17 * 2 ** 20 },
    parts: [
      { name: "3 slots", bytes: 4 * 2 ** 20 },
      { name: "W+ and W-", bytes: 2 * 2 ** 20 },
    ],
  },
};

const fallingLoss = (step: number) => 0.5 + Math.exp(-step / 60) + 0.1 * Math.sin(step * 12.9898);

export function stepAt(step: number, loss: number): StepRecord {
  const coefficient = Math.fround(20 * Math.sin(step * 78.233));
  const shards = [{ labelled: 16, losses: [loss + coefficient / 1000, loss - coefficient / 1000] }];
  return { step, shards, coefficients: [coefficient], learningRate: 1e-4 };
}

/** Makes the folder of a run. @returns its path */
export async function makeRun(dir: string, o: MadeRun): Promise<string> {
  const { sessions = [0], every, accuracy = () => 0.5, loss = fallingLoss } = o;
  await mkdir(dir, { recursive: true });
  const path = join(dir, JOURNAL_FILE);
  const writer = await JournalWriter.create(path, { ...HEADER, ...o.header }, "never");
  let best = Infinity;
  for (let step = 0; step <= o.steps; step++) {
    if (sessions.includes(step)) await writer.session({ ...SESSION, ...o.session, from: step });
    if (step > 0 && every !== undefined && step % every === 0) {
      const evaluation: EvaluationRecord = {
        ...{ step, examples: 100, loss: loss(step), accuracy: accuracy(step), best: loss(step) < best },
      };
      best = Math.min(best, evaluation.loss);
      await writer.evaluation(evaluation);
    }
    if (step < o.steps) await writer.step(stepAt(step, loss(step)));
  }
  await writer.close();
  if (o.torn !== undefined) await appendFile(path, Buffer.alloc(o.torn, 1));
  if (o.metrics === true) {
    const lines = Array.from({ length: o.steps }, (_, step) =>
      JSON.stringify({ step, tokens: 400, seconds: 0.1 + 0.01 * (step % 5), deviceBytes: 5 * 2 ** 20 }),
    );
    await writeFile(join(dir, METRICS_FILE), `${lines.join("\n")}\n{"stepsTaken": 1}\n{"step": 3, "tok`);
  }
  return dir;
}

/** The compact copy of a run's journal. @returns its path */
export async function makeCompact(dir: string, path: string): Promise<string> {
  await writeCompact(path, await readRun(dir));
  return path;
}
