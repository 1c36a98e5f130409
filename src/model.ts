import { at } from "./base/at.js";
import { Zo2Error } from "./base/errors.js";
import type { Warning } from "./base/warnings.js";
import type { FloatType } from "./base/dtype.js";
import { weightSources } from "./checkpoint/weights.js";
import { evaluateOptionsSchema, type EvaluateOptions } from "./config/evaluate.js";
import { generateOptionsSchema, type GenerateOptions } from "./config/generate.js";
import { plannedStep } from "./config/methods/index.js";
import type { ResolvedModelOptions } from "./config/model.js";
import { parseOptions } from "./config/parse.js";
import { packBatch, type CheckProgress } from "./data/index.js";
import type { DeviceInfo } from "./device/open.js";
import { EncodedSource, type DataReport } from "./infer/encoded-source.js";
import { evaluateSource, type Evaluation } from "./infer/evaluate.js";
import {
  generateMany,
  generateOne,
  type Generated,
  type GenerateInput,
  type Generation,
} from "./infer/generate/index.js";
import type { Inputs } from "./infer/inputs.js";
import { checkLength, microBatchTokens } from "./infer/limits.js";
import { planForLength, planForLongest } from "./infer/plan-ahead.js";
import { predictInputs, type LabelPrediction, type PredictInput, type SpanPrediction } from "./infer/predict.js";
import { scoreInputs, type Score, type ScoreInput } from "./infer/score.js";
import type { DataSource } from "./infer/source.js";
import { bindLoaded, generating, type Loaded, loadedOf } from "./loaded.js";
import { type Activations, activationsOf, deviceBytes, deviceParts, diskBytes, hostBytes } from "./memory/plan.js";
import type { Tier } from "./memory/residence.js";
import { AT_WEIGHTS } from "./method/index.js";
import type { HeadSpec } from "./models/head.js";
import type { Parameter } from "./ops/parameter.js";
import { mergeFolder, mergeOwn, type MergeOptions } from "./merge.js";
import type { RunReference } from "./run/reference.js";
import { AdapterSwitch } from "./run/adapter-switch.js";
import { RunSwitch, type SwitchOptions } from "./run/switch.js";
import { Turns } from "./run/turns.js";
import { saveWeights } from "./save.js";
import type { Tokenizer } from "./tokenizer/index.js";

/** Exact bytes of the memory plan in force. */
export interface PlanSummary {
  readonly units: readonly { readonly name: string; readonly tier: Tier; readonly bytes: number }[];
  /** Device memory by purpose. */
  readonly parts: readonly { readonly name: string; readonly bytes: number }[];
  readonly deviceBytes: number;
  /** Most bytes of device memory that are allowed; null: no limit. */
  readonly deviceMemory: number | null;
  /** Weights, activations, keys and values at rest in host memory, and staging. */
  readonly hostBytes: number;
  /** Scratch files: of what on disk is trained, or no file of the checkpoint has as it rests. */
  readonly diskBytes: number;
  /** Of the weights on disk, what is read from the checkpoint's own files now. */
  readonly inPlaceBytes: number;
  /** Of one forward pass: as many fit in the plan. */
  readonly tokens: number;
  /** Largest unit that the weights were cut for, in bytes. */
  readonly unitBytes: number;
  /** Units on the device at once, of those that move. */
  readonly slots: number;
  /** Whether one unit is prepared while another runs. */
  readonly prepareAhead: boolean;
  /** Where the activations between units rest, and their bytes. */
  readonly activations: Activations;
}

/** What an evaluation tells while it goes on, and what stops it. */
export interface EvaluateHooks {
  readonly signal?: AbortSignal;
  /** Told now and then how far the check of the data has come. */
  readonly onCheck?: (progress: CheckProgress) => void;
  /** Awaited when the data was checked, before the first pass. */
  readonly onChecked?: (report: DataReport) => void | Promise<void>;
}

const DEFAULT_BATCH = 16;

/** A model on a device. Made by `loadModel`; free it with `dispose` or `await using`. */
export class Model implements AsyncDisposable {
  readonly dir: string;
  /** The parsed `config.json`; `tie_word_embeddings` is false where the checkpoint has a head of its own. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Null when the folder has none: inputs have to be token ids then. */
  readonly tokenizer: Tokenizer | null;
  readonly options: ResolvedModelOptions;
  /** In the canonical order, on which the noise depends. */
  readonly parameters: readonly Parameter[];
  /** Tensors of the checkpoint that the architecture has no use for, masks and rotary tables left out. */
  readonly unusedTensors: readonly string[];
  /** What was unusual about the checkpoint, and what was done with it. */
  readonly warnings: readonly Warning[];
  private readonly turns = new Turns();
  private readonly runs = new RunSwitch(this.turns);
  private readonly adapters = new AdapterSwitch(this.turns);

  constructor(loaded: Loaded) {
    bindLoaded(this, loaded);
    this.dir = loaded.dir;
    this.config = loaded.config;
    this.tokenizer = loaded.tokenizer;
    this.options = loaded.options;
    this.parameters = loaded.parameters;
    this.unusedTensors = loaded.unused;
    this.warnings = loaded.warnings;
  }

  get parameterCount(): number {
    return this.parameters.reduce((sum, p) => sum + p.count, 0);
  }

  /** Tokens of the longest sequence. */
  get maxPositions(): number {
    return loadedOf(this).definition.maxPositions;
  }

  get vocabSize(): number {
    return loadedOf(this).definition.vocabSize;
  }

  /** What the model predicts: tokens, labels, or where an answer stands. */
  get head(): HeadSpec {
    return loadedOf(this).definition.head;
  }

  /**
   * Log-probabilities of token sequences, in order, as they come.
   * @throws Zo2Error ZO2_ERR_LENGTH past the model's positions, ZO2_ERR_DATA for what is neither text nor ids
   */
  score(
    inputs: Inputs<ScoreInput>,
    o: { readonly signal?: AbortSignal; readonly batchSize?: number } = {},
  ): AsyncIterable<Score> {
    return scoreInputs(open(this).session, this.tokenizer, inputs, { ...inputLimits(this, o), signal: o.signal });
  }

  /**
   * Labels of texts, or answers to questions, in order, as they come; with every update that was taken.
   * @throws Zo2Error ZO2_ERR_MODEL_UNSUPPORTED for a language model, ZO2_ERR_LENGTH past the model's positions
   */
  predict(
    inputs: Inputs<PredictInput>,
    o: { readonly signal?: AbortSignal; readonly batchSize?: number } = {},
  ): AsyncIterable<LabelPrediction | SpanPrediction> {
    const settings = { head: this.head, ...inputLimits(this, o), signal: o.signal };
    return predictInputs(open(this).session, this.tokenizer, inputs, settings);
  }

  /**
   * Continues a prompt, with every update that was taken applied: iterate for pieces of text, or take `result()` for
   * the whole.
   *
   * Greedy where no temperature is given. Iterating throws ZO2_ERR_DATA for an empty prompt or ids outside the
   * vocabulary, ZO2_ERR_LENGTH where the positions leave no room, ZO2_ERR_TOKENIZER for text without a tokenizer or
   * messages without a chat template, ZO2_ERR_NOT_FINITE, ZO2_ERR_ABORTED, and ZO2_ERR_MEMORY_BUDGET or
   * ZO2_ERR_OUT_OF_MEMORY where there is no room for the keys and values.
   * @throws Zo2Error ZO2_ERR_CONFIG, and ZO2_ERR_MODEL_UNSUPPORTED for a model without a language model's head
   */
  generate(
    prompt: string | GenerateInput,
    options: GenerateOptions & { readonly signal?: AbortSignal } = {},
  ): Generation {
    const { signal, ...rest } = options;
    const resolved = parseOptions(generateOptionsSchema, rest, "generation options");
    return generateOne(generating(open(this)), prompt, resolved, signal);
  }

  /** Continues prompts in order, `batchSize` at a time; else as `generate`. */
  generateAll(
    inputs: Inputs<string | GenerateInput>,
    options: GenerateOptions & { readonly signal?: AbortSignal } = {},
  ): AsyncIterable<Generated> {
    const { signal, ...rest } = options;
    const resolved = parseOptions(generateOptionsSchema, rest, "generation options");
    return generateMany(generating(open(this)), inputs, resolved, signal);
  }

  /**
   * Loss and accuracy over a data set, with every update that was taken applied.
   * @throws Zo2Error ZO2_ERR_DATA and others of a line: before the first pass, all together (`DataError`)
   */
  async evaluate(data: DataSource, options: EvaluateOptions & EvaluateHooks = {}): Promise<Evaluation> {
    const { signal, onCheck, onChecked, ...rest } = options;
    const { session, definition, tokenizer, options: loading } = open(this);
    const o = parseOptions(evaluateOptionsSchema, rest, "evaluation options");
    const { vocabSize, head } = definition;
    const maxLength = checkLength(o.maxLength, definition.maxPositions);
    const { batchSize, truncation, reduction, template, labelMap, checkData, skipBadLines } = o;
    await using source = await EncodedSource.open(tokenizer, data, {
      encoding: { vocabSize, head, template, labelMap, maxLength, truncation, reduction },
      ...{ checkData, skipBadLines, signal, onCheck },
    });
    if (source.report !== null) await onChecked?.(source.report);
    const limits = { items: batchSize, tokens: microBatchTokens(loading.maxTokens, maxLength) };
    return await evaluateSource(session, head, source, { batchSize, reduction, limits }, signal);
  }

  /**
   * Logits after each token of `ids`, [ids x vocabulary] row-major, fp32. Meant for inspection: the whole matrix is in
   * memory.
   */
  async logits(ids: readonly number[]): Promise<Float32Array> {
    const { session } = open(this);
    // A label behind every token asks for the logits of every row.
    const sequence = { ids: Int32Array.from([...ids, 0]), labels: Int32Array.from([-100, ...ids]) };
    const batch = [packBatch([{ kind: "tokens", ...sequence }])];
    return at(await session.forward(batch, { output: "logits" }), 0);
  }

  /**
   * The values of one parameter with every update that was taken, row-major, widened to fp32.
   * @throws Zo2Error ZO2_ERR_INVALID_ARGUMENT for a name the model does not have
   */
  async parameterValues(name: string): Promise<Float32Array> {
    const { session, parameters } = open(this);
    const parameter = parameters.find((p) => p.name === name);
    if (parameter === undefined) {
      throw new Zo2Error(
        "ZO2_ERR_INVALID_ARGUMENT",
        `the model has no parameter ${JSON.stringify(name)}; see model.parameters`,
      );
    }
    await session.flush();
    const source = at(weightSources(session.store, session.units, [parameter], "fp32"), 0);
    const values = new Float32Array(parameter.count);
    await source.read(0, new Uint8Array(values.buffer));
    return values;
  }

  /**
   * Writes a Hugging Face folder with every update that was taken: safetensors, config and tokenizer files, atomically.
   * With an adapter that is not merged, a folder of PEFT with the adapter alone.
   * @param o.dtype each tensor in its wire dtype, one of 8 bits as bf16 (no bit is lost), or all in one dtype.
   *   @default "wire"
   */
  async save(
    dir: string,
    o: {
      readonly dtype?: FloatType | "wire";
      readonly maxShardBytes?: number;
      readonly signal?: AbortSignal;
    } = {},
  ): Promise<void> {
    await saveWeights(open(this), dir, o);
  }

  /**
   * Adds what the LoRA in a folder of PEFT changes to the weights, in place, so that the model is the fine-tune: each
   * element is summed in fp64 and rounded once to its wire dtype. The adapter's config and file are held against the
   * model first.
   * @param adapter absent: the one that the model was loaded with, which is 0 afterwards. The model is a whole one
   *   then, as `save` writes it, and is not trained any more.
   * @throws Zo2Error ZO2_ERR_CHECKPOINT, ZO2_ERR_MODEL_UNSUPPORTED, ZO2_ERR_IO for an adapter that cannot be used, also
   *   for a prefix; ZO2_ERR_INVALID_ARGUMENT where there is none, or two; ZO2_ERR_BUSY while a Trainer has the model;
   *   ZO2_ERR_NOT_FINITE where a sum does not fit, and ZO2_ERR_ABORTED: a part of the weights is changed then, and the
   *   model is disposed
   */
  async merge(adapter?: string, o: MergeOptions = {}): Promise<void> {
    await (adapter === undefined ? mergeOwn(open(this), o) : mergeFolder(open(this), adapter, o));
  }

  /**
   * Calls `use` when the weights are those that runs have made of the model's checkpoint, one behind the other: many
   * fine-tunes of one base take turns on one model. Calls wait for each other, and find the weights that they asked
   * for. To switch costs one pass over the base's files and the replay of the runs; where the weights stand already,
   * nothing. They stay afterwards; `withRuns([], use)` is the base.
   * @param runs folders of runs, or their journals; `steps` takes so many of one. Their weights have to rest and to be
   *   rounded as this model's.
   * @throws Zo2Error ZO2_ERR_JOURNAL for a run of another base, naming the tensor; ZO2_ERR_BUSY while a Trainer has the
   *   model; ZO2_ERR_IO, ZO2_ERR_CHECKPOINT where the base's files are others now; whatever `use` throws
   */
  withRuns<T>(runs: readonly RunReference[], use: (model: this) => Promise<T> | T, o: SwitchOptions = {}): Promise<T> {
    return this.runs.use(open(this), runs, () => use(this), o);
  }

  /**
   * Calls `use` when the values of the model's adapter are those of another folder, of the same shape: many fine-tunes
   * over one base take turns on one model, and the base stays where it is. Calls wait for each other and for those of
   * `withRuns`, and find the adapter that they asked for; where it stands already nothing is read to the device. It
   * stays afterwards.
   * @param adapter folder of PEFT; null: the base as it is without a LoRA.
   * @throws Zo2Error ZO2_ERR_INVALID_ARGUMENT for a model without an adapter, or one of another shape;
   *   ZO2_ERR_CHECKPOINT, ZO2_ERR_MODEL_UNSUPPORTED, ZO2_ERR_IO for a folder that cannot be used; ZO2_ERR_BUSY while a
   *   Trainer has the model; whatever `use` throws
   */
  withAdapter<T>(
    adapter: string | null,
    use: (model: this) => Promise<T> | T,
    o: { readonly signal?: AbortSignal } = {},
  ): Promise<T> {
    return this.adapters.use(open(this), adapter, () => use(this), o);
  }

  /**
   * The memory plan in force. Before the first batch, that of one sequence: of `maxLength` tokens, or where that is not
   * given, of as many of the model's positions as option `offload.deviceMemory` has room for.
   * @param o.training for a step of training by option `workload.method`, which needs perturbed weights; else for a
   *   forward pass alone. @default true
   * @throws Zo2Error ZO2_ERR_MEMORY_BUDGET where `maxLength` tokens do not fit, or not even two; ZO2_ERR_LENGTH past
   *   the model's positions
   */
  plan(maxLength?: number, { training = true }: { readonly training?: boolean } = {}): PlanSummary {
    const { session, unitBytes } = loadedOf(this);
    const probes = training ? plannedStep(this.options.workload.method).probes : [AT_WEIGHTS];
    const ahead = { session, head: this.head, vocabSize: this.vocabSize, probes };
    const plan =
      session.plan ??
      (maxLength === undefined
        ? planForLongest(ahead, this.maxPositions)
        : planForLength(ahead, checkLength(maxLength, this.maxPositions)));
    return {
      units: plan.units.map((u) => ({
        name: u.name,
        tier: at(plan.options.residences, u.index).rest,
        bytes: u.wireBytes,
      })),
      parts: deviceParts(plan),
      deviceBytes: deviceBytes(plan),
      deviceMemory: plan.options.deviceMemory ?? null,
      hostBytes: hostBytes(plan),
      ...{ diskBytes: diskBytes(plan), inPlaceBytes: session.store.inPlaceBytes },
      tokens: plan.options.capacity.rows,
      ...{ unitBytes, slots: plan.device.slots.length, prepareAhead: plan.options.prepareAhead },
      activations: activationsOf(plan),
    };
  }

  deviceInfo(): DeviceInfo {
    return open(this).session.info();
  }

  /** Frees the device. Work under way ends first. A second call does nothing. */
  dispose(): Promise<void> {
    return loadedOf(this).session.dispose();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }
}

/** @throws Zo2Error ZO2_ERR_DISPOSED */
function open(model: Model): Loaded {
  const loaded = loadedOf(model);
  loaded.session.checkOpen();
  return loaded;
}

function inputLimits(model: Model, o: { readonly batchSize?: number }) {
  const { maxPositions, vocabSize } = model;
  const tokens = microBatchTokens(model.options.maxTokens, maxPositions);
  return { limits: { items: o.batchSize ?? DEFAULT_BATCH, tokens }, maxLength: maxPositions, vocabSize };
}
