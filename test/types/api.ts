/**
 * The public types, held by the type checker (`npm test -- typecheck`): nothing here runs. A line that no longer
 * compiles is a breaking change.
 */
import {
  loadModel,
  type renderChat,
  type resolveModel,
  Trainer,
  type Zo2Error,
  type ChatMessage,
  type DownloadProgress,
  type ErrorCode,
  type Evaluation,
  type FinishReason,
  type Generated,
  type GenerateInput,
  type GenerateOptions,
  type Generation,
  type HeadSpec,
  type LabelPrediction,
  type LoadOptions,
  type LogitOutput,
  type Model,
  type ModelOptions,
  type ObjectiveContext,
  type PredictInput,
  type RenderChatOptions,
  type ResolveModelOptions,
  type Score,
  type SpanPrediction,
  type Step,
  type TextOutput,
  type Tokenizer,
  type TrainerOptions,
  type TrainingEvaluation,
} from "../../src/index.js";

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function expectType<T extends true>(): T | undefined {
  return undefined;
}

expectType<Equal<Awaited<ReturnType<typeof loadModel>>, Model>>();
expectType<Equal<Step["loss"], number>>();
expectType<Equal<Evaluation["accuracy"], number | null>>();
expectType<Equal<Score["logprobs"], (number | null)[]>>();
expectType<TrainingEvaluation extends Evaluation ? true : false>();
expectType<Equal<Zo2Error["code"], ErrorCode>>();
expectType<Model extends AsyncDisposable ? true : false>();

// What a caller has to give, and what has a default.
expectType<Record<never, never> extends ModelOptions ? true : false>();
expectType<
  { method: { name: "mezo-sgd"; learningRate: number }; steps: number } extends TrainerOptions ? true : false
>();
expectType<{ steps: number } extends TrainerOptions ? false : true>();
expectType<
  { method: { name: "mezo-sgd"; learningRate: number }; steps: number; seed: bigint } extends TrainerOptions
    ? true
    : false
>();

// Members that only one side of a union has, and values outside of it.
expectType<{ device: "tpu" } extends ModelOptions ? false : true>();
expectType<{ offload: { to: "disk"; diskPath: string } } extends ModelOptions ? true : false>();
expectType<{ offload: { to: "tape" } } extends ModelOptions ? false : true>();
expectType<{ offload: { deviceMemory: "4GiB" } } extends ModelOptions ? true : false>();

// Generation.
expectType<Equal<ReturnType<Model["generate"]>, Generation>>();
expectType<Generation extends AsyncIterable<string> ? true : false>();
expectType<Equal<Awaited<ReturnType<Generation["result"]>>, Generated>>();
expectType<Equal<Generated, { readonly ids: number[]; readonly text: string | null; readonly reason: FinishReason }>>();
expectType<Equal<FinishReason, "eos" | "stop" | "length">>();
expectType<Equal<ReturnType<Model["generateAll"]>, AsyncIterable<Generated>>>();
expectType<{ messages: ChatMessage[] } extends GenerateInput ? true : false>();
expectType<{ prompt: string } extends GenerateInput ? false : true>();
expectType<
  { temperature: number; topP: number; seed: bigint; stop: string[]; cache: "host" } extends GenerateOptions
    ? true
    : false
>();
expectType<{ cache: "disk" } extends GenerateOptions ? false : true>();

// Heads.
expectType<Equal<Model["head"], HeadSpec>>();
expectType<Equal<HeadSpec["kind"], "causal" | "classification" | "spans">>();
expectType<{ question: string; context: string } extends PredictInput ? true : false>();
expectType<Equal<ReturnType<Model["predict"]>, AsyncIterable<LabelPrediction | SpanPrediction>>>();

// Objectives: each kind has members of its own.
interface Common {
  method: { name: "mezo-sgd"; learningRate: number };
  steps: number;
}
expectType<
  Common & {
    objective: { from: "logits"; loss: (o: readonly LogitOutput[], c: ObjectiveContext) => number; maxBytes: "1GiB" };
  } extends TrainerOptions
    ? true
    : false
>();
expectType<
  Common & {
    objective: { from: "text"; loss: (o: readonly TextOutput[]) => Promise<number>; generate: GenerateOptions };
  } extends TrainerOptions
    ? true
    : false
>();
expectType<
  Common & { objective: { from: "text"; loss: (o: readonly LogitOutput[]) => number } } extends TrainerOptions
    ? false
    : true
>();
expectType<Common & { objective: { from: "logits" } } extends TrainerOptions ? false : true>();
expectType<Equal<ObjectiveContext["branch"], "plus" | "minus" | "weights">>();

// The Hub, and chats.
expectType<Equal<typeof resolveModel, (nameOrDir: string, o?: ResolveModelOptions) => Promise<string>>>();
expectType<Equal<NonNullable<LoadOptions["onProgress"]>, (progress: DownloadProgress) => void>>();
expectType<
  { ignoreConfigFields: string[]; hub: { revision: string; offline: boolean } } extends ModelOptions ? true : false
>();
expectType<
  Equal<
    typeof renderChat,
    (tokenizer: Tokenizer, messages: readonly ChatMessage[], options?: RenderChatOptions) => string
  >
>();

/** The README's objective and chat, in types. */
export async function objectiveAndChat(model: Model): Promise<Generated> {
  const template = { prompt: "{text} How is it?", choices: [" terrible", " great"] };
  const idOf = (choice: string) => model.tokenizer!.encode(choice, { addSpecialTokens: false })[0]!;
  const [terrible, great] = [idOf(" terrible"), idOf(" great")];
  new Trainer(model, {
    method: { name: "mezo-sgd", learningRate: 3e-4, eps: 1e-2 },
    steps: 40,
    batchSize: 128,
    template,
    objective: {
      from: "logits",
      loss: (outputs) =>
        outputs.filter(({ record, logits: [last] }) => last![great]! > last![terrible]! !== (record["label"] === 1))
          .length / outputs.length,
    },
  });
  const answer = model.generate({ messages: [{ role: "user", content: "Name three rivers." }] }, { maxNewTokens: 60 });
  for await (const piece of answer) expectType<Equal<typeof piece, string>>();
  return answer.result();
}

/** The README's program, in types. */
export async function program(): Promise<void> {
  await using model = await loadModel("dir", { offload: { to: "host", wire: "fp16", deviceMemory: "4GiB" } });
  const trainer = new Trainer(model, {
    method: { name: "mezo-sgd", learningRate: 1e-6, eps: 1e-3 },
    batchSize: 16,
    steps: 2000,
    seed: 0,
  });
  for await (const step of trainer.fit("train.jsonl", { signal: AbortSignal.timeout(1000) }))
    expectType<Equal<typeof step, Step>>();
  for await (const score of model.score([{ text: "a" }, { ids: [1, 2] }])) expectType<Equal<typeof score, Score>>();
  await model.save("out", { dtype: "fp16" });
}
