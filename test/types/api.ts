/**
 * The public types, held by the type checker (`npm test -- typecheck`): nothing here runs. A line that no longer compiles is a breaking change.
 */
import { loadModel, Trainer, Zo2Error, type ErrorCode, type Evaluation, type Model, type ModelOptions, type Score, type Step, type TrainerOptions, type TrainingEvaluation } from "../../src/index.js";

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
expectType<{} extends ModelOptions ? true : false>();
expectType<{ method: { name: "mezo-sgd"; learningRate: number }; steps: number } extends TrainerOptions ? true : false>();
expectType<{ steps: number } extends TrainerOptions ? false : true>();
expectType<{ method: { name: "mezo-sgd"; learningRate: number }; steps: number; seed: bigint } extends TrainerOptions ? true : false>();

// Members that only one side of a union has, and values outside of it.
expectType<{ device: "tpu" } extends ModelOptions ? false : true>();
expectType<{ offload: { to: "disk" } } extends ModelOptions ? false : true>();
expectType<{ offload: { deviceMemory: "4GiB" } } extends ModelOptions ? true : false>();

/** The README's program, in types. */
export async function program(): Promise<void> {
  await using model = await loadModel("dir", { offload: { to: "host", wire: "fp16", deviceMemory: "4GiB" } });
  const trainer = new Trainer(model, { method: { name: "mezo-sgd", learningRate: 1e-6, eps: 1e-3 }, batchSize: 16, steps: 2000, seed: 0 });
  for await (const step of trainer.fit("train.jsonl", { signal: AbortSignal.timeout(1000) })) expectType<Equal<typeof step, Step>>();
  for await (const score of model.score([{ text: "a" }, { ids: [1, 2] }])) expectType<Equal<typeof score, Score>>();
  await model.save("out", { dtype: "fp16" });
}
