/** One step of a model as its commands ran, and as they were predicted to. */
import { at } from "../base/at.js";
import type { TracedSpan } from "../device/trace.js";
import type { Session } from "../device/session.js";
import { takeSteps } from "../measure/steps.js";
import { type Batch, symbolsOf, touchedRows } from "../memory/batch-tables.js";
import type { DrawnNoise, MethodStep, Probe } from "../method/index.js";
import type { LaneBar, LaneStep } from "../page/lanes.js";
import { type Cause, causesOf } from "../simulate/causes.js";
import type { Hardware } from "../simulate/hardware.js";
import { simulateStep } from "../simulate/simulate.js";

/** Steps before those that are traced: the first has nothing pending, and meets cold memory. */
const WARM = 2;
/** Of these the last but one is shown: others go before it and behind it, as in the middle of a training. */
const TRACED = 4;

export interface RecordOptions {
  readonly method: MethodStep;
  readonly noise: DrawnNoise;
  readonly overlap: boolean;
  readonly hardware: Hardware;
}

/** Takes steps on a batch. */
export async function recordSteps(
  session: Session,
  batch: Batch,
  { method, noise, overlap, hardware }: RecordOptions,
): Promise<{ readonly predicted: LaneStep; readonly measured: LaneStep }> {
  const settings = { method, noise, eps: 1e-3, learningRate: 1e-7 };
  await takeSteps(session, batch, { ...settings, first: 0, count: WARM });
  await session.settle();
  const trace = session.trace();
  await takeSteps(session, batch, { ...settings, first: WARM, count: TRACED });
  await session.settle();
  const spans = trace.take();
  const count = spans.length / TRACED;
  const steps = Array.from({ length: TRACED }, (_, i) => spans.slice(i * count, (i + 1) * count));
  const measured = measuredStep(steps, TRACED - 2, session);
  const { probes } = method;
  return { predicted: predictedStep(session, batch, { noise, overlap, hardware, probes }), measured };
}

export interface PredictOptions extends Omit<RecordOptions, "method"> {
  readonly probes: readonly Probe[];
}

/** A step on a batch by the plan in force. Equal micro-batches are predicted as the first. */
export function predictedStep(session: Session, batch: Batch, { hardware, ...o }: PredictOptions): LaneStep {
  const { plan } = session;
  if (plan === null) throw new Error("steps were taken without a plan");
  const step = simulateStep(plan, session.recording.inputs, hardware, {
    ...{ ...o, microBatches: batch.length, spans: true },
    symbols: symbolsOf(at(batch, 0), session.gathers ? touchedRows(batch) : null),
  });
  const bars = step.spans.map((span): LaneBar => ({ ...barOf(span), ...namesOf(span, span.cause, session) }));
  return { title: "predicted", seconds: step.seconds, bars };
}

/** One of several steps that were traced one behind the other, from the second on. */
export function measuredStep(steps: readonly (readonly TracedSpan[])[], shown: number, session: Session): LaneStep {
  const causes = causesOf(steps.flat());
  const endOf = (step: number) =>
    at(steps, step).reduce((end, span) => (span.lane === "compute" ? Math.max(end, span.end) : end), 0);
  const [origin, end] = [endOf(shown - 1), endOf(shown)];
  const before = steps.slice(0, shown).reduce((sum, { length }) => sum + length, 0);
  const bars = at(steps, shown).map(
    (span, i): LaneBar => ({
      ...barOf({ ...span, begin: span.begin - origin, end: span.end - origin }),
      ...namesOf(span, at(causes, before + i), session),
    }),
  );
  return { title: "measured", seconds: end - origin, bars };
}

type Bar = Omit<LaneBar, "unit" | "cause">;

function barOf({ lane, what, probe, bytes, draws, flops, begin, end }: Bar): Bar {
  return { lane, what, probe, bytes, draws, flops, begin, end };
}

function namesOf(
  { unit }: { readonly unit?: number },
  cause: Cause | null,
  { units }: Session,
): Pick<LaneBar, "unit" | "cause"> {
  const nameOf = (index: number) => at(units, index).name;
  return {
    unit: unit === undefined ? null : nameOf(unit),
    cause:
      cause === null
        ? null
        : { what: cause.what, lane: cause.lane, unit: cause.unit === undefined ? null : nameOf(cause.unit) },
  };
}
