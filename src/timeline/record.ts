/** One step of a model as its commands ran, and as they were predicted to. */
import { at } from "../base/at.js";
import type { TracedSpan } from "../device/trace.js";
import type { Session } from "../device/session.js";
import { takeSteps } from "../measure/steps.js";
import { type Batch, symbolsOf, touchedRows } from "../memory/batch-tables.js";
import { METHODS } from "../method/index.js";
import type { LaneBar, LaneStep } from "../page/lanes.js";
import { type Cause, causesOf } from "../simulate/causes.js";
import type { Hardware, NoiseKind } from "../simulate/hardware.js";
import { simulateStep } from "../simulate/simulate.js";

/** Steps before those that are traced: the first has nothing pending, and meets cold memory. */
const WARM = 2;
/** Of these the last but one is shown: others go before it and behind it, as in the middle of a training. */
const TRACED = 4;

export interface RecordOptions {
  readonly noise: NoiseKind;
  readonly overlap: boolean;
  readonly hardware: Hardware;
}

/** Takes steps on a batch. Equal micro-batches are predicted as the first. */
export async function recordSteps(
  session: Session,
  batch: Batch,
  { noise, overlap, hardware }: RecordOptions,
): Promise<{ readonly predicted: LaneStep; readonly measured: LaneStep }> {
  const settings = { noise, eps: 1e-3, learningRate: 1e-7 };
  await takeSteps(session, batch, { ...settings, first: 0, count: WARM });
  await session.settle();
  const trace = session.trace();
  await takeSteps(session, batch, { ...settings, first: WARM, count: TRACED });
  await session.settle();
  const measured = measuredStep(trace.take(), session);
  const { plan } = session;
  if (plan === null) throw new Error("steps were taken without a plan");
  const step = simulateStep(plan, session.recording.inputs, hardware, {
    ...{ noise, overlap, microBatches: batch.length, spans: true },
    symbols: symbolsOf(at(batch, 0), session.gathers ? touchedRows(batch) : null),
    probes: METHODS["mezo-sgd"].step({ eps: settings.eps }).probes,
  });
  const bars = step.spans.map((span): LaneBar => ({ ...span, ...namesOf(span, span.cause, session) }));
  return { predicted: { title: "predicted", seconds: step.seconds, bars }, measured };
}

function measuredStep(spans: readonly TracedSpan[], session: Session): LaneStep {
  const count = spans.length / TRACED;
  const causes = causesOf(spans);
  const endOf = (step: number) =>
    spans
      .slice(step * count, (step + 1) * count)
      .reduce((end, span) => (span.lane === "compute" ? Math.max(end, span.end) : end), 0);
  const shown = TRACED - 2;
  const [origin, end] = [endOf(shown - 1), endOf(shown)];
  const bars = spans.slice(shown * count, (shown + 1) * count).map((span, i): LaneBar => {
    const { lane, what, probe, bytes, draws, flops } = span;
    const cause = at(causes, shown * count + i);
    return {
      ...{ lane, what, probe, bytes, draws, flops, begin: span.begin - origin, end: span.end - origin },
      ...namesOf(span, cause, session),
    };
  });
  return { title: "measured", seconds: end - origin, bars };
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
