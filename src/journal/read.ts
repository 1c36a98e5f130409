/** Reading a journal: the run's header, and every record that is whole. */
import { readFile } from "node:fs/promises";
import { Zo2Error } from "../base/errors.js";
import { errnoOf, messageOf } from "../base/guards.js";
import { decodeCoefficients } from "./compact.js";
import { FIRST_CHECKSUM, type Frame, KINDS, MAGIC, splitFrames, type Tail } from "./frames.js";
import { parseJson, type RunHeader, runHeaderSchema, type RunSession, runSessionSchema } from "./header.js";
import {
  decodeDropped,
  decodeEvaluation,
  decodeStep,
  type DroppedRecord,
  type EvaluationRecord,
  type StepRecord,
} from "./record.js";

export interface Journal {
  readonly path: string;
  readonly header: RunHeader;
  readonly sessions: readonly RunSession[];
  /** Step k is the k-th, from 0. */
  readonly steps: readonly StepRecord[];
  /** Steps among these that do not count, in the order in which they were dropped. */
  readonly dropped: readonly DroppedRecord[];
  readonly evaluations: readonly EvaluationRecord[];
  /** Whether the last session ended in order: nothing stands behind its last record. */
  readonly closed: boolean;
  /** Whether it holds the coefficients alone: no losses, no evaluations. */
  readonly compact: boolean;
  readonly bytes: number;
  /** Where the whole frames end; `checksum` is that of the last. */
  readonly end: number;
  readonly checksum: number;
  /** What was torn off behind them, in bytes. */
  readonly torn: number;
}

/**
 * Reads a journal whole. A tail that a crash has torn is left out (`torn`).
 *
 * @param o.resuming whether to go on from it. A tail that was never synced to disk may have been written out of order
 *   by a machine that lost its power: whoever resumes takes those steps again, to the same bits. Else records behind a
 *   damaged one are an error.
 * @throws Zo2Error ZO2_ERR_IO; ZO2_ERR_JOURNAL naming the byte for what is no journal, of another version, or was
 *   changed after it was written
 */
export async function readJournal(path: string, o: { readonly resuming?: boolean } = {}): Promise<Journal> {
  let bytes: Buffer;
  try {
    bytes = await readFile(path);
  } catch (error) {
    const what =
      errnoOf(error) === "ENOENT"
        ? "there is no journal, which a run has before its first step; look at the path, or start the run anew"
        : `the journal cannot be read: ${messageOf(error)}`;
    throw new Zo2Error("ZO2_ERR_IO", `${path}: ${what}`, { cause: error });
  }
  return parseJournal(bytes, path, o);
}

/** The part of `readJournal` after reading. */
export function parseJournal(bytes: Buffer, path: string, o: { readonly resuming?: boolean } = {}): Journal {
  const fail = (what: string, where?: number) =>
    new Zo2Error("ZO2_ERR_JOURNAL", `${path}${where === undefined ? "" : `: byte ${where}`}: ${what}`);
  if (!bytes.subarray(0, MAGIC.byteLength).equals(MAGIC)) throw fail("not a journal of zo2");
  const { frames, tail } = splitFrames(bytes);
  checkTail(tail, o.resuming === true, fail);
  const [first, ...rest] = frames;
  if (first === undefined || first.kind !== KINDS.header) {
    throw fail("the journal ends before its header is whole: no step had been taken; start the run anew");
  }
  const header = parseJson(runHeaderSchema, first.payload, `${path}: header`);
  const contents = readFrames(rest, header, path, fail);
  const last = frames.at(-1);
  return {
    ...{ path, header, ...contents, bytes: bytes.byteLength, torn: tail.bytes },
    end: tail.begin,
    checksum: last?.checksum ?? FIRST_CHECKSUM,
    closed: last?.kind === KINDS.closed && tail.bytes === 0,
  };
}

type Fail = (what: string, where?: number) => Zo2Error;

function checkTail({ begin, frameBehind, wasSynced }: Tail, resuming: boolean, fail: Fail): void {
  if (frameBehind === null || (resuming && !wasSynced)) return;
  throw fail(
    `the record here is damaged, and whole ones stand behind it (the first at byte ${frameBehind}): the file was ` +
      `changed after it was written; take a copy that is whole`,
    begin,
  );
}

function readFrames(frames: readonly Frame[], header: RunHeader, path: string, fail: Fail) {
  const sessions: RunSession[] = [];
  const steps: StepRecord[] = [];
  const evaluations: EvaluationRecord[] = [];
  const dropped: DroppedRecord[] = [];
  let compact = false;
  const add = (step: StepRecord | null, begin: number) => {
    if (step === null) throw fail("not a step of this run", begin);
    if (step.step !== steps.length)
      throw fail(`the record of step ${step.step} stands where step ${steps.length} belongs`, begin);
    steps.push(step);
  };
  for (const { kind, payload, begin } of frames) {
    switch (kind) {
      case KINDS.session:
        sessions.push(parseJson(runSessionSchema, payload, `${path}: byte ${begin}: session`));
        break;
      case KINDS.step:
        add(decodeStep(payload, header.method), begin);
        break;
      case KINDS.evaluation: {
        const evaluation = decodeEvaluation(payload);
        if (evaluation === null) throw fail("not an evaluation of this run", begin);
        evaluations.push(evaluation);
        break;
      }
      case KINDS.coefficients: {
        compact = true;
        const block = decodeCoefficients(payload, header);
        if (block === null) throw fail("not a block of coefficients of this run", begin);
        for (const step of block) add(step, begin);
        break;
      }
      case KINDS.dropped: {
        const record = decodeDropped(payload, header.method, steps.length);
        if (record === null) throw fail("not a record of steps of this run that are dropped", begin);
        if (record.step !== null) add(record.step, begin);
        dropped.push(record.dropped);
        break;
      }
      case KINDS.closed:
        break;
      default:
        throw fail(`a record of kind ${kind}, which a later version of zo2 has written; use that version`, begin);
    }
  }
  return { sessions, steps, dropped, evaluations, compact };
}
