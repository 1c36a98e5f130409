import { at } from "./base/at.js";
import { writeCheckpoint } from "./checkpoint/index.js";
import { torchDtype, weightSources } from "./checkpoint/weights.js";
import { evaluateOptionsSchema, type EvaluateOptions } from "./config/evaluate.js";
import { generateOptionsSchema, type GenerateOptions } from "./config/generate.js";
import type { ResolvedModelOptions } from "./config/model.js";
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
import type { ModelDefinition } from "./models/family.js";
import type { HeadSpec } from "./models/head.js";
import type { Parameter } from "./ops/parameter.js";
import type { DeviceInfo } from "./device/open.js";
import type { FloatType } from "./base/dtype.js";
import type { Session } from "./device/session.js";
import { deviceBytes, deviceParts, hostBytes } from "./memory/plan.js";
import type { Tier } from "./memory/residence.js";
import { METHODS } from "./method/index.js";
import type { Tokenizer } from "./tokenizer/index.js";
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
  readonly session: Session;
}

const DEFAULT_SCORE_BATCH = 16;
const DEFAULT_SEQUENCES = 8;

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
    return this.parts.session.recording.logits.columns;
  }

  /** For `Trainer`. @throws Zo2Error ZO2_ERR_DISPOSED */
  get session(): Session {
    this.parts.session.checkOpen();
    return this.parts.session;
  }

  /**
   * Log-probabilities of token sequences, in order, as they come.
   * @throws Zo2Error ZO2_ERR_LENGTH past the model's positions, ZO2_ERR_DATA for what is neither text nor ids
   */
  score(
    inputs: AsyncIterable<ScoreInput> | Iterable<ScoreInput>,
    o: { readonly signal?: AbortSignal; readonly batchSize?: number } = {},
  ): AsyncIterable<Score> {
    return scoreInputs(this.session, this.tokenizer, inputs, {
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
    return predictInputs(this.session, this.tokenizer, inputs, {
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
        this.session,
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
    this.parts.session.checkOpen();
    // A label behind every token asks for the logits of every row.
    const batch = [
      packBatch([{ kind: "tokens", ids: Int32Array.from([...ids, 0]), labels: Int32Array.from([-100, ...ids]) }]),
    ];
    const [logits] = await this.session.forward(batch, { output: "logits" });
    return logits ?? new Float32Array();
  }

  /**
   * The values of one parameter with every update that was taken, row-major, widened to fp32.
   * @throws Zo2Error ZO2_ERR_INVALID_ARGUMENT for a name the model does not have
   */
  async parameterValues(name: string): Promise<Float32Array> {
    this.parts.session.checkOpen();
    await this.session.flush();
    const { session, parameters } = this.parts;
    const source = weightSources(
      session.store,
      session.units,
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
    this.parts.session.checkOpen();
    await this.session.flush();
    const { session, parameters } = this.parts;
    const dtype = o.dtype ?? "wire";
    const stored = torchDtype(dtype === "wire" ? session.wire : dtype);
    const { dtype: newer, ...config } = this.config;
    await writeCheckpoint(dir, {
      tensors: weightSources(session.store, session.units, parameters, dtype),
      config: newer === undefined ? { ...config, torch_dtype: stored } : { ...config, dtype: stored },
      copyFrom: this.dir,
      ...(o.maxShardBytes === undefined ? {} : { maxShardBytes: o.maxShardBytes }),
      ...(o.signal === undefined ? {} : { signal: o.signal }),
    });
  }

  /** The memory plan in force; before the first batch, that of one sequence of `maxLength` tokens. */
  plan(maxLength: number = this.maxPositions): PlanSummary {
    const { session } = this.parts;
    const ids = Int32Array.from({ length: Math.max(2, maxLength) }, (_, i) => i % this.vocabSize);
    const { probes } = METHODS["mezo-sgd"].step({ eps: 1 });
    const plan = session.plan ?? session.planForBatch([packBatch([{ kind: "tokens", ids, labels: ids }])], probes);
    return {
      units: plan.units.map((u) => ({
        name: u.name,
        tier: at(plan.options.residences, u.index).rest,
        bytes: u.wireBytes,
      })),
      parts: deviceParts(plan),
      deviceBytes: deviceBytes(plan),
      hostBytes: hostBytes(plan),
    };
  }

  deviceInfo(): DeviceInfo {
    this.parts.session.checkOpen();
    return this.parts.session.info();
  }

  /** Frees the device. Work under way ends first. A second call does nothing. */
  dispose(): Promise<void> {
    return this.parts.session.dispose();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
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
    const { session, tokenizer, dir, config, vocabSize, maxPositions } = this;
    const { head } = this.parts.definition;
    if (head.kind !== "causal") {
      throw new Zo2Error(
        "ZO2_ERR_MODEL_UNSUPPORTED",
        `${dir}: the head is for ${head.kind}, and text comes from the head of a causal language model; load ` +
          "such a checkpoint",
      );
    }
    return { session, tokenizer, dir, config, vocabSize, maxPositions, maxTokens: this.maxTokens(maxPositions) };
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
