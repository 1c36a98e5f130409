import type { Device, DeviceInfo } from "zo2/native";
import { openCheckpoint, writeCheckpoint, type Checkpoint } from "./checkpoint/index.js";
import { unusedTensors } from "./checkpoint/names.js";
import { checkTensors, loadWeights, storedType, torchDtype, weightSources } from "./checkpoint/weights.js";
import { evaluateOptionsSchema, type EvaluateOptions } from "./config/evaluate.js";
import { generateOptionsSchema, type GenerateOptions } from "./config/generate.js";
import { modelOptionsSchema, type ModelOptions, type ResolvedModelOptions } from "./config/model.js";
import { parseOptions } from "./config/parse.js";
import { openDataset, packBatch, type Dataset, type DatasetSource, type Template } from "./data/index.js";
import { Zo2Error } from "./base/errors.js";
import {
  generateMany,
  generateOne,
  type Generated,
  type GenerateInput,
  type GenerateModel,
  type Generation,
  type Inputs,
} from "./infer/generate/index.js";
import { resolveModel, type DownloadProgress } from "./hub/index.js";
import { defineModel } from "./models/index.js";
import type { ModelDefinition } from "./models/family.js";
import type { HeadSpec } from "./models/head.js";
import { numberParameters, type Parameter } from "./ops/parameter.js";
import { createRecorder, type Recording } from "./ops/record.js";
import { openDevice } from "./device/open.js";
import type { FloatType } from "./base/dtype.js";
import { Engine } from "./device/session.js";
import { deviceBytes, deviceParts, type Tier } from "./memory/plan.js";
import { WeightStore } from "./device/store.js";
import { cutUnits, type Unit } from "./memory/units.js";
import { hasTokenizer, loadTokenizer, type Tokenizer } from "./tokenizer/index.js";
import { evaluateDataset, type Evaluation } from "./infer/evaluate.js";
import { predictInputs, type LabelPrediction, type PredictInput, type SpanPrediction } from "./infer/predict.js";
import { scoreInputs, type Score, type ScoreInput } from "./infer/score.js";

/** Examples, a path to JSON Lines, or a data set that is open already (and stays open). */
export type DataSource = DatasetSource | Dataset;

/** Exact bytes of the memory plan in force. */
export interface PlanSummary {
  readonly units: readonly { readonly name: string; readonly tier: Tier; readonly bytes: number }[];
  /** Device memory by purpose. */
  readonly parts: readonly { readonly name: string; readonly bytes: number }[];
  readonly deviceBytes: number;
  /** Weights at rest in host memory, and staging. */
  readonly hostBytes: number;
}

interface ModelParts {
  readonly dir: string;
  readonly config: Readonly<Record<string, unknown>>;
  readonly tokenizer: Tokenizer | null;
  readonly options: ResolvedModelOptions;
  readonly definition: ModelDefinition;
  readonly parameters: readonly Parameter[];
  readonly unused: readonly string[];
  readonly recording: Recording;
  readonly device: Device;
  readonly store: WeightStore;
  readonly units: readonly Unit[];
  readonly wire: FloatType;
  readonly engine: Engine;
}

export interface LoadOptions {
  /** Stops the download or the loading. */
  readonly signal?: AbortSignal;
  /** Sees the download of a model from the Hub. */
  readonly onProgress?: (progress: DownloadProgress) => void;
}

const DEFAULT_SCORE_BATCH = 16;
const DEFAULT_SEQUENCES = 8;

/** What older checkpoints store beside the weights: causal masks, and rotary tables that follow from the config. */
const BUFFERS = [/\.attn\.(masked_)?bias$/, /\.rotary_emb\.inv_freq$/];

/**
 * Loads a model onto a device: a Hugging Face folder (`config.json`; safetensors or `pytorch_model.bin`; tokenizer), or
 * the id of a repository of the Hugging Face Hub ("org/name", "org/name@revision"), which is downloaded to the cache
 * that all tools of Hugging Face share.
 *
 * @throws Zo2Error ZO2_ERR_CONFIG, ZO2_ERR_MODEL_UNSUPPORTED, ZO2_ERR_CHECKPOINT, ZO2_ERR_TOKENIZER, ZO2_ERR_DEVICE,
 *   ZO2_ERR_OUT_OF_MEMORY or ZO2_ERR_MEMORY_BUDGET; nothing is left open then.
 */
export async function loadModel(name: string, options: ModelOptions = {}, o: LoadOptions = {}): Promise<Model> {
  const resolved = parseOptions(modelOptionsSchema, options, "model options");
  const dir = await resolveModel(name, { ...resolved.hub, ...o });
  const checkpoint = await openCheckpoint(dir);
  try {
    return await loadFrom(dir, checkpoint, resolved, o.signal);
  } finally {
    await checkpoint.close();
  }
}

async function loadFrom(
  dir: string,
  checkpoint: Checkpoint,
  resolved: ResolvedModelOptions,
  signal: AbortSignal | undefined,
): Promise<Model> {
  const definition = defineModel(checkpoint.config, resolved.ignoreConfigFields);
  const parameters = numberParameters(definition.parameters);
  const entries = checkTensors(checkpoint, parameters, definition.namePrefixes, definition.aliases);
  const used = new Map([...entries].map(([parameter, entry]) => [parameter.name, entry]));
  const unused = unusedTensors(checkpoint, used, {
    prefixes: definition.namePrefixes,
    aliases: definition.aliases,
    ignored: BUFFERS,
  });
  const tokenizer = (await hasTokenizer(dir)) ? await loadTokenizer(dir) : null;
  const { offload } = resolved;
  const wire =
    offload.wire === "stored"
      ? storedType(checkpoint, parameters, definition.namePrefixes, definition.aliases)
      : offload.wire;
  const recording = record(definition, parameters);
  const units = cutUnits(recording, {
    wire,
    compute: resolved.dtype,
    ...(offload.unitBytes === undefined ? {} : { unitBytes: offload.unitBytes }),
  });
  const device = await openDevice({
    device: resolved.device,
    threads: resolved.threads,
    deviceMemory: offload.deviceMemory,
    delayMicroseconds: resolved.test?.delayMicroseconds,
    delaySeed: resolved.test?.delaySeed,
    genericKernels: resolved.test?.genericKernels,
    tf32: resolved.tf32,
  });
  try {
    const store = await WeightStore.create(device, units, offload.to);
    await loadWeights(device, store, units, checkpoint, entries, signal);
    const engine = await createEngine({ device, store, recording, units, definition, options: resolved, wire });
    return new Model({
      dir,
      config: checkpoint.config as Readonly<Record<string, unknown>>,
      tokenizer,
      options: resolved,
      definition,
      parameters,
      unused,
      recording,
      device,
      store,
      units,
      wire,
      engine,
    });
  } catch (error) {
    await device.close();
    throw error;
  }
}

function record(definition: ModelDefinition, parameters: readonly Parameter[]): Recording {
  const recorder = createRecorder(parameters);
  definition.record(recorder);
  return recorder.finish();
}

function createEngine(parts: {
  device: Device;
  store: WeightStore;
  recording: Recording;
  units: readonly Unit[];
  definition: ModelDefinition;
  options: ResolvedModelOptions;
  wire: FloatType;
}): Promise<Engine> {
  const { options, definition } = parts;
  const { slots, overlap, deviceMemory } = options.offload;
  return Engine.create(parts.device, parts.store, parts.recording, parts.units, {
    slots,
    overlap,
    wire: parts.wire,
    compute: options.dtype,
    rounding: options.rounding,
    positionRow: definition.positionRow,
    poison: options.test?.poison ?? false,
    ...(deviceMemory === undefined ? {} : { deviceMemory }),
    ...(options.test?.onPass === undefined ? {} : { onPass: options.test.onPass }),
  });
}

/** A model on a device. Made by `loadModel`; free it with `dispose` or `await using`. */
export class Model implements AsyncDisposable {
  readonly dir: string;
  /** The parsed `config.json`. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Null when the folder has none: inputs have to be token ids then. */
  readonly tokenizer: Tokenizer | null;
  readonly options: ResolvedModelOptions;
  /** In the canonical order, on which the noise depends. */
  readonly parameters: readonly Parameter[];
  /** Tensors of the checkpoint that the architecture has no use for, masks and rotary tables left out. */
  readonly unusedTensors: readonly string[];
  private disposing: Promise<void> | null = null;
  private user: string | null = null;

  constructor(private readonly parts: ModelParts) {
    this.dir = parts.dir;
    this.config = parts.config;
    this.tokenizer = parts.tokenizer;
    this.options = parts.options;
    this.parameters = parts.parameters;
    this.unusedTensors = parts.unused;
  }

  get parameterCount(): number {
    return this.parameters.reduce((sum, p) => sum + p.count, 0);
  }

  /** Tokens of the longest sequence. */
  get maxPositions(): number {
    return this.parts.definition.maxPositions;
  }

  get vocabSize(): number {
    return this.parts.definition.vocabSize;
  }

  /** What the model predicts: tokens, labels, or where an answer stands. */
  get head(): HeadSpec {
    return this.parts.definition.head;
  }

  /** Tokens of one micro-batch at most, when the caller sets no limit. */
  maxTokens(maxLength: number): number {
    return this.options.maxTokens ?? DEFAULT_SEQUENCES * maxLength;
  }

  /** Logits of one head row: the vocabulary, the labels, or the start and the end of an answer. */
  get logitColumns(): number {
    return this.parts.recording.logits.columns;
  }

  /** For `Trainer`. @throws Zo2Error ZO2_ERR_DISPOSED */
  get engine(): Engine {
    this.alive();
    return this.parts.engine;
  }

  /**
   * Log-probabilities of token sequences, in order, as they come.
   * @throws Zo2Error ZO2_ERR_LENGTH past the model's positions, ZO2_ERR_DATA for what is neither text nor ids
   */
  score(
    inputs: AsyncIterable<ScoreInput> | Iterable<ScoreInput>,
    o: { readonly signal?: AbortSignal; readonly batchSize?: number } = {},
  ): AsyncIterable<Score> {
    return scoreInputs(this.engine, this.tokenizer, inputs, {
      batchSize: o.batchSize ?? DEFAULT_SCORE_BATCH,
      maxTokens: this.maxTokens(this.maxPositions),
      maxLength: this.maxPositions,
      vocabSize: this.vocabSize,
      ...(o.signal === undefined ? {} : { signal: o.signal }),
    });
  }

  /**
   * Labels of texts, or answers to questions, in order, as they come; with every update that was taken.
   * @throws Zo2Error ZO2_ERR_MODEL_UNSUPPORTED for a language model, ZO2_ERR_LENGTH past the model's positions
   */
  predict(
    inputs: AsyncIterable<PredictInput> | Iterable<PredictInput>,
    o: { readonly signal?: AbortSignal; readonly batchSize?: number } = {},
  ): AsyncIterable<LabelPrediction | SpanPrediction> {
    return predictInputs(this.engine, this.tokenizer, inputs, {
      head: this.head,
      batchSize: o.batchSize ?? DEFAULT_SCORE_BATCH,
      maxLength: this.maxPositions,
      vocabSize: this.vocabSize,
      ...(o.signal === undefined ? {} : { signal: o.signal }),
    });
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
    return generateOne(
      this.generating(),
      prompt,
      parseOptions(generateOptionsSchema, rest, "generation options"),
      signal,
    );
  }

  /** Continues prompts in order, `batchSize` at a time; else as `generate`. */
  generateAll(
    inputs: Inputs<string | GenerateInput>,
    options: GenerateOptions & { readonly signal?: AbortSignal } = {},
  ): AsyncIterable<Generated> {
    const { signal, ...rest } = options;
    return generateMany(
      this.generating(),
      inputs,
      parseOptions(generateOptionsSchema, rest, "generation options"),
      signal,
    );
  }

  /** Loss and accuracy over a data set, with every update that was taken applied. */
  async evaluate(
    data: DataSource,
    options: EvaluateOptions & { readonly signal?: AbortSignal } = {},
  ): Promise<Evaluation> {
    const { signal, ...rest } = options;
    const o = parseOptions(evaluateOptionsSchema, rest, "evaluation options");
    const maxLength = this.checkLength(o.maxLength);
    const opened = await this.openData(data, o.template);
    try {
      return await evaluateDataset(
        this.engine,
        this.tokenizer,
        this.head,
        opened.dataset,
        {
          batchSize: o.batchSize,
          microBatchSize: o.batchSize,
          maxLength,
          truncation: o.truncation,
          reduction: o.reduction,
          vocabSize: this.vocabSize,
          maxTokens: this.maxTokens(maxLength),
        },
        signal,
      );
    } finally {
      await opened.close();
    }
  }

  /**
   * Logits after each token of `ids`, [ids x vocabulary] row-major, fp32. Meant for inspection: the whole matrix is in
   * memory.
   */
  async logits(ids: readonly number[]): Promise<Float32Array> {
    this.alive();
    // A label behind every token asks for the logits of every row.
    const batch = [
      packBatch([{ kind: "tokens", ids: Int32Array.from([...ids, 0]), labels: Int32Array.from([-100, ...ids]) }]),
    ];
    const [logits] = await this.engine.forward(batch, { output: "logits" });
    return logits ?? new Float32Array();
  }

  /**
   * The values of one parameter with every update that was taken, row-major, widened to fp32.
   * @throws Zo2Error ZO2_ERR_INVALID_ARGUMENT for a name the model does not have
   */
  async parameterValues(name: string): Promise<Float32Array> {
    this.alive();
    await this.engine.flush();
    const { device, store, units, parameters } = this.parts;
    const source = weightSources(
      device,
      store,
      units,
      parameters.filter((p) => p.name === name),
      "fp32",
    )[0];
    if (source === undefined)
      throw new Zo2Error(
        "ZO2_ERR_INVALID_ARGUMENT",
        `the model has no parameter ${JSON.stringify(name)}; see model.parameters`,
      );
    const values = new Float32Array(source.bytes / 4);
    await source.read(0, new Uint8Array(values.buffer));
    return values;
  }

  /**
   * Writes a Hugging Face folder with every update that was taken: safetensors, config and tokenizer files, atomically.
   * @param o.dtype each tensor in its wire dtype (no bit is lost), or all in one dtype. @default "wire"
   */
  async save(
    dir: string,
    o: { readonly dtype?: FloatType | "wire"; readonly maxShardBytes?: number; readonly signal?: AbortSignal } = {},
  ): Promise<void> {
    this.alive();
    await this.engine.flush();
    const { device, store, units, parameters, wire } = this.parts;
    const dtype = o.dtype ?? "wire";
    const stored = torchDtype(dtype === "wire" ? wire : dtype);
    const { dtype: newer, ...config } = this.config;
    await writeCheckpoint(dir, {
      tensors: weightSources(device, store, units, parameters, dtype),
      config: newer === undefined ? { ...config, torch_dtype: stored } : { ...config, dtype: stored },
      copyFrom: this.dir,
      ...(o.maxShardBytes === undefined ? {} : { maxShardBytes: o.maxShardBytes }),
      ...(o.signal === undefined ? {} : { signal: o.signal }),
    });
  }

  /** The memory plan in force; before the first batch, that of one sequence of `maxLength` tokens. */
  plan(maxLength: number = this.maxPositions): PlanSummary {
    const { engine, store, units } = this.parts;
    const ids = Int32Array.from({ length: Math.max(2, maxLength) }, (_, i) => i % this.vocabSize);
    const plan = engine.plan ?? engine.planForBatch([packBatch([{ kind: "tokens", ids, labels: ids }])], 2);
    return {
      units: units.map((u) => ({ name: u.name, tier: store.tier, bytes: u.wireBytes })),
      parts: deviceParts(plan),
      deviceBytes: deviceBytes(plan),
      hostBytes: plan.host.bytes + (store.tier === "host" ? store.bytes : 0),
    };
  }

  deviceInfo(): DeviceInfo {
    this.alive();
    return this.parts.device.info();
  }

  /** Frees the device. Work under way ends first. A second call does nothing. */
  dispose(): Promise<void> {
    this.disposing ??= (async () => {
      await this.parts.engine.dispose();
      this.parts.store.dispose();
      await this.parts.device.close();
    })();
    return this.disposing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  /** Runs `body` with the model reserved for training. @throws Zo2Error ZO2_ERR_BUSY when another one trains it */
  reserve(user: string): () => void {
    this.alive();
    if (this.user !== null)
      throw new Zo2Error(
        "ZO2_ERR_BUSY",
        `the model is being trained by ${this.user}; wait for its loop to end, or leave it`,
      );
    this.user = user;
    return () => {
      this.user = null;
    };
  }

  /** @throws Zo2Error ZO2_ERR_LENGTH past the model's positions */
  checkLength(maxLength: number | undefined): number {
    if (maxLength !== undefined && maxLength > this.maxPositions) {
      throw new Zo2Error(
        "ZO2_ERR_LENGTH",
        `maxLength is ${maxLength}, the model has ${this.maxPositions} positions; lower option "maxLength"`,
      );
    }
    return maxLength ?? this.maxPositions;
  }

  /** Opens a data source; `close` leaves alone what was open already. */
  async openData(
    data: DataSource,
    template: Template | undefined,
    prompts = false,
  ): Promise<{ readonly dataset: Dataset; close(): Promise<void> }> {
    if (isDataset(data)) return { dataset: data, close: () => Promise.resolve() };
    const dataset = await openDataset(data, {
      vocabSize: this.vocabSize,
      head: this.head,
      prompts,
      ...(template === undefined ? {} : { template }),
    });
    return { dataset, close: () => dataset.close() };
  }

  /**
   * For generation, and objectives over what is generated. @throws Zo2Error ZO2_ERR_MODEL_UNSUPPORTED, ZO2_ERR_DISPOSED
   */
  generating(): GenerateModel {
    const { engine, tokenizer, dir, config, vocabSize, maxPositions } = this;
    const { head } = this.parts.definition;
    if (head.kind !== "causal") {
      throw new Zo2Error(
        "ZO2_ERR_MODEL_UNSUPPORTED",
        `${dir}: the head is for ${head.kind}, and text comes from the head of a causal language model; load ` +
          "such a checkpoint",
      );
    }
    return { engine, tokenizer, dir, config, vocabSize, maxPositions, maxTokens: this.maxTokens(maxPositions) };
  }

  private alive(): void {
    if (this.disposing !== null) throw new Zo2Error("ZO2_ERR_DISPOSED", "the model was disposed; load it again");
  }
}

function isDataset(data: DataSource): data is Dataset {
  return (
    typeof data === "object" &&
    "at" in data &&
    "size" in data &&
    typeof data.size === "number" &&
    typeof data.at === "function" &&
    !Array.isArray(data)
  );
}
