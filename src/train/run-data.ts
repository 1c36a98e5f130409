/** The data of a run: opened, checked and planned for before the first step. */
import type { ResolvedTrainerOptions } from "../config/trainer.js";
import { type CheckProgress, type Dataset, indicesInOrder, type Example } from "../data/index.js";
import { outputOf } from "../data/batch.js";
import { fingerprintOfFile, fingerprintOfItems } from "../data/fingerprint.js";
import type { PlannedUse } from "../device/requests.js";
import { type BatchIndices, capacityOfBatches, exactCapacityOfBatches } from "../infer/batch-capacity.js";
import { type PackOptions, packGroups } from "../infer/batching.js";
import { type DataReport, EncodedSource, ReportBuilder } from "../infer/encoded-source.js";
import { evaluationOutput } from "../infer/evaluate.js";
import { checkLength, microBatchTokens } from "../infer/limits.js";
import { type DataSource, openSource } from "../infer/source.js";
import type { Loaded } from "../loaded.js";
import { isOverBudget } from "../memory/budget.js";
import { AT_WEIGHTS, type Probe } from "../method/index.js";
import type { DataDescription } from "../run/describe.js";
import { planLargestLater } from "../planner/micro-batches.js";
import { BatchOrder } from "./order.js";
import { encodePrompts } from "./prompts.js";

/** What the check of a run's data has found. */
export interface CheckedData {
  readonly training: DataReport;
  /** Null where nothing is evaluated during training. */
  readonly evaluation: DataReport | null;
}

export interface RunDataOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onCheck?: ((progress: CheckProgress) => void) | undefined;
}

/** Lines with the data's own loss, or prompts of an objective that the caller computes. */
export type TrainingData =
  | { readonly kind: "loss"; readonly source: EncodedSource }
  | { readonly kind: "prompts"; readonly dataset: Dataset; readonly report: DataReport | null };

export interface RunData extends AsyncDisposable {
  readonly training: TrainingData;
  readonly evaluation: EncodedSource | null;
  /** Null where nothing was checked. */
  readonly checked: CheckedData | null;
}

/** @throws Zo2Error what `EncodedSource.open` throws */
export async function openRunData(
  loaded: Loaded,
  options: ResolvedTrainerOptions,
  data: DataSource,
  o: RunDataOptions,
): Promise<RunData> {
  const { training, close } = await openTraining(loaded, options, data, o);
  try {
    const evaluation =
      options.evaluation === undefined
        ? null
        : await openEncoded(loaded, options, options.evaluation.data as DataSource, o);
    const report = training.kind === "loss" ? training.source.report : training.report;
    return {
      training,
      evaluation,
      checked: report === null ? null : { training: report, evaluation: evaluation?.report ?? null },
      async [Symbol.asyncDispose]() {
        await evaluation?.[Symbol.asyncDispose]();
        await close();
      },
    };
  } catch (error) {
    await close();
    throw error;
  }
}

async function openTraining(
  loaded: Loaded,
  options: ResolvedTrainerOptions,
  data: DataSource,
  o: RunDataOptions,
): Promise<{ readonly training: TrainingData; readonly close: () => PromiseLike<void> }> {
  if (options.objective === undefined) {
    const source = await openEncoded(loaded, options, data, o);
    return { training: { kind: "loss", source }, close: () => source[Symbol.asyncDispose]() };
  }
  const { template, labelMap, checkData, skipBadLines, evaluation } = options;
  const builder = new ReportBuilder();
  const limits = runLimits(loaded, options);
  const examine = (example: Example) => {
    builder.add(
      example.place,
      encodePrompts(loaded, [example], limits).map(({ ids }) => ids.length),
    );
  };
  const shapes = {
    template,
    prompts: true,
    // Lines of an evaluation have labels, those of the objective do not.
    labelMap: evaluation === undefined ? labelMap : undefined,
  };
  const source = await openSource(data, { ...shapes, ...o, checkData, skipBadLines }, examine);
  const { dataset, check } = source;
  const report = check === null ? null : builder.finish(dataset, check);
  return { training: { kind: "prompts", dataset, report }, close: () => source[Symbol.asyncDispose]() };
}

function openEncoded(
  { tokenizer, definition }: Loaded,
  options: ResolvedTrainerOptions,
  data: DataSource,
  o: RunDataOptions,
): Promise<EncodedSource> {
  const { template, labelMap, truncation, reduction, checkData, skipBadLines } = options;
  const { vocabSize, head, maxPositions } = definition;
  const maxLength = checkLength(options.maxLength, maxPositions);
  const encoding = { vocabSize, head, template, labelMap, maxLength, truncation, reduction };
  return EncodedSource.open(tokenizer, data, { ...o, encoding, checkData, skipBadLines });
}

/** What tells the data of a run from any other. @throws Zo2Error ZO2_ERR_IO, ZO2_ERR_ABORTED */
export async function fingerprintOfRun(
  training: TrainingData,
  data: DataSource,
  signal: AbortSignal | undefined,
): Promise<DataDescription> {
  const items = training.kind === "loss" ? training.source : training.dataset;
  const { size: examples } = items;
  if (typeof data === "string") return { path: data, examples, hash: await fingerprintOfFile(data, signal) };
  return { path: null, examples, hash: await fingerprintOfItems(items) };
}

/** Of a sequence, and of a micro-batch of training. */
export function runLimits({ options, definition }: Loaded, o: ResolvedTrainerOptions) {
  const maxLength = checkLength(o.maxLength, definition.maxPositions);
  const tokens = microBatchTokens(options.maxTokens, maxLength);
  return { maxLength, limits: { items: o.microBatchSize ?? o.batchSize, tokens } };
}

/** Of an evaluation during training. */
export function evaluationLimits(loaded: Loaded, o: ResolvedTrainerOptions) {
  const items = o.evaluation?.batchSize ?? 1;
  return { items, tokens: runLimits(loaded, o).limits.tokens };
}

/**
 * Puts a plan in force that holds every batch that is still to come, of training and of its evaluations, so that no run
 * ends at the step that meets the longest. Does nothing for what was not checked, or has an objective of its own.
 * @returns option `microBatchSize`: as it is, or where nobody says one and not all of a batch has room, the largest
 *   that has
 * @throws Zo2Error ZO2_ERR_MEMORY_BUDGET, ZO2_ERR_OUT_OF_MEMORY, ZO2_ERR_ABORTED
 */
export async function planRun(
  loaded: Loaded,
  options: ResolvedTrainerOptions,
  { training, evaluation }: RunData,
  probes: readonly Probe[],
  from: number,
  signal: AbortSignal | undefined,
): Promise<number | undefined> {
  if (training.kind !== "loss" || from >= options.steps) return options.microBatchSize;
  const { source } = training;
  const planned = await planLargestLater(options, (microBatchSize) =>
    planSteps(loaded, { ...options, microBatchSize }, { source, evaluation }, probes, from, signal),
  );
  return planned === options.batchSize ? options.microBatchSize : planned;
}

async function planSteps(
  loaded: Loaded,
  options: ResolvedTrainerOptions,
  { source, evaluation }: { readonly source: EncodedSource; readonly evaluation: EncodedSource | null },
  probes: readonly Probe[],
  from: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { reduction, batchSize, seed } = options;
  const steps = function* (): Generator<readonly number[]> {
    const order = new BatchOrder(source, seed, batchSize);
    for (let step = from; step < options.steps; step++) yield order.indices(step);
  };
  const uses: Use[] = [
    { source, batches: steps, pack: { reduction, limits: runLimits(loaded, options).limits }, probes },
  ];
  if (evaluation !== null && options.evaluation !== undefined) {
    const { batchSize: items } = options.evaluation;
    uses.push({
      source: evaluation,
      batches: () => indicesInOrder(evaluation.size, items),
      pack: { reduction, limits: evaluationLimits(loaded, options) },
      probes: [AT_WEIGHTS],
      output: evaluationOutput(loaded.definition.head),
    });
  }
  const { session } = loaded;
  const planned = await Promise.all(uses.map((use) => plannedUse(loaded, use, signal)));
  if (planned.some((use) => use === null)) return;
  const bound = planned as PlannedUse[];
  try {
    await session.planAhead(bound);
  } catch (error) {
    if (!session.gathers || !isOverBudget(error)) throw error;
    // A bound may be too much where the exact number is not.
    await session.planAhead(
      await Promise.all(
        uses.map(async ({ source: of, batches, pack }, i) => {
          const use = bound[i] as PlannedUse;
          return { ...use, capacity: await exactCapacityOfBatches(of, use.capacity, batches(), pack, signal) };
        }),
      ),
    );
  }
}

/** Batches of a data set that are to come. */
interface Use {
  readonly source: EncodedSource;
  readonly batches: () => BatchIndices;
  readonly pack: PackOptions;
  readonly probes: readonly Probe[];
  /** Absent: what the examples' own objective needs. */
  readonly output?: PlannedUse["output"] | undefined;
}

/** Null for a data set that was not checked. */
async function plannedUse(
  { definition }: Loaded,
  { source, batches, pack, probes, output }: Use,
  signal: AbortSignal | undefined,
): Promise<PlannedUse | null> {
  if (source.sizes === null) return null;
  const [first] = packGroups([await source.at(0)], pack);
  if (first === undefined) return null;
  const capacity = await capacityOfBatches(source, source.sizes, batches(), pack, definition.vocabSize, signal);
  return { capacity, probes, output: output ?? outputOf(first.objective) };
}
