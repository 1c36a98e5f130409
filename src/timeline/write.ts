import { formatBytes } from "../base/bytes.js";
import { Zo2Error } from "../base/errors.js";
import { replaceTextFile } from "../base/files.js";
import { messageOf } from "../base/guards.js";
import { noiseOf, plannedStep } from "../config/methods/index.js";
import { parseOptions } from "../config/parse.js";
import { type TimelineOptions, timelineOptionsSchema } from "../config/timeline.js";
import { checkLength } from "../infer/limits.js";
import { SHORTEST } from "../infer/plan-ahead.js";
import { loadModel, type LoadOptions } from "../load.js";
import { loadedOf } from "../loaded.js";
import { batchOfShape } from "../measure/steps.js";
import { thisMachine } from "../measure/this-machine.js";
import { noiseText } from "../method/index.js";
import { deviceBytes, hostBytes } from "../memory/plan.js";
import { timelineDocument } from "../page/timeline.js";
import { residenceText } from "../report/residence.js";
import { LANES } from "../schedule/command.js";
import { recordSteps } from "./record.js";

/** What was written. */
export interface WrittenTimeline {
  /** Path of the HTML file. */
  readonly out: string;
  readonly bytes: number;
  /** Of one step, in seconds. */
  readonly predicted: number;
  readonly measured: number;
}

export interface TimelineHooks extends LoadOptions {
  /** Told the device's name before this machine is measured, which takes up to a minute. */
  readonly onMeasure?: (device: string) => void;
}

const USUAL_LENGTH = 128;

/**
 * Loads a model, takes a few steps on tokens that mean nothing, and draws one of them to an HTML file: when
 * each command began and ended on its lane, below what was predicted for this machine. Nothing of the model is saved.
 *
 * @throws Zo2Error ZO2_ERR_CONFIG, ZO2_ERR_LENGTH, ZO2_ERR_IO, and what `loadModel` throws
 */
export async function writeTimeline(
  name: string,
  out: string,
  options: TimelineOptions = {},
  { onMeasure, ...hooks }: TimelineHooks = {},
): Promise<WrittenTimeline> {
  const o = parseOptions(timelineOptionsSchema, options, "timeline options");
  // First: a measurement needs the device for itself.
  const { device, threads } = o.model;
  const hardware = await thisMachine(
    { device, threads },
    { anew: o.measure, onMeasure, ...(hooks.signal === undefined ? {} : { signal: hooks.signal }) },
  );
  const { batchSize, microBatchSize, maxLength = USUAL_LENGTH } = o;
  const workload = { batchSize, maxLength, ...(microBatchSize === undefined ? {} : { microBatchSize }) };
  await using model = await loadModel(name, { ...options.model, workload: { ...workload, method: o.method } }, hooks);
  const { session, definition, parameters } = loadedOf(model);
  const positions = definition.maxPositions;
  const length = Math.max(SHORTEST, checkLength(o.maxLength ?? Math.min(USUAL_LENGTH, positions), positions));
  const microBatches = shared(batchSize, microBatchSize ?? batchSize);
  const batch = batchOfShape(definition.head, definition.vocabSize, { microBatches, length });
  const { overlap } = model.options.offload;
  const noise = noiseOf(o.method, o.noise);
  const { predicted, measured } = await recordSteps(session, batch, {
    ...{ method: plannedStep(o.method), noise, overlap, hardware },
  });
  const { plan } = session;
  if (plan === null) throw new Error("steps were taken without a plan");
  const elements = parameters.reduce((sum, { count }) => sum + count, 0);
  const sequences = `${batchSize} ${batchSize === 1 ? "sequence" : "sequences"} of ${length} tokens`;
  const text = timelineDocument(
    {
      ...{
        title: name,
        lead: `one ${o.method.name} step on ${sequences}, ${hardware.name}`,
        steps: [predicted, measured],
      },
      lanes: LANES.filter((lane) => [predicted, measured].some(({ bars }) => bars.some((bar) => bar.lane === lane))),
      facts: [
        ["parameters", elements.toLocaleString("en-US")],
        ["weights", `${session.wire} on the wire, computed in ${plan.options.compute}`],
        ["units", `${session.units.length}, ${residenceText(model.plan())}, overlap ${overlap ? "on" : "off"}`],
        ["memory", `device ${formatBytes(deviceBytes(plan))}, host ${formatBytes(hostBytes(plan))}`],
        [
          "batch",
          `${sequences}, in ${microBatches.length === 1 ? "one pass" : `${microBatches.length} micro-batches`}`,
        ],
        ["noise", noiseText(noise)],
        ["figures of the prediction", `${hardware.name}, ${hardware.source}`],
      ],
    },
    new Date(),
  );
  try {
    await replaceTextFile(out, text);
  } catch (error) {
    throw new Zo2Error("ZO2_ERR_IO", `${out}: the timeline cannot be written: ${messageOf(error)}`, { cause: error });
  }
  return { out, bytes: Buffer.byteLength(text), predicted: predicted.seconds, measured: measured.seconds };
}

/** A batch as micro-batches of at most so many. */
function shared(count: number, most: number): number[] {
  return Array.from({ length: Math.ceil(count / most) }, (_, i) => Math.min(most, count - i * most));
}
