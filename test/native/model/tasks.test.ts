/** Each task as a whole, on made-up rows: from a Hub, trained a few steps, evaluated. */
import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { registerTask, taskNames, Trainer, type Model, type TaskOptions } from "../../../src/index.js";
import { f1 } from "../../../src/tasks/metrics.js";
import { loadTask } from "../../../src/tasks/index.js";
import { taskOf } from "../../../src/tasks/registry.js";
import { FakeHub } from "../../unit/hub/server.js";
import { cleanUp, temporaryFolder } from "../../unit/checkpoint/support.js";
import { fixtures, withModel } from "./helpers.js";

const DEMO = path.join(__dirname, "../../../docs/demo/tiny-opt");
const ROWS = path.join(fixtures, "tasks");
const CONVERTED = "refs/convert/parquet";
const NAMES = taskNames();
const SPLITS = ["train", "validation"];

let hub: FakeHub;
let cacheDir: string;

beforeAll(async () => {
  hub = await new FakeHub().start();
  cacheDir = await temporaryFolder();
  for (const name of NAMES) {
    const { dataset, config } = taskOf(name).source;
    // SuperGLUE stands for those that are no Parquet themselves.
    const converted = dataset === "aps/super_glue";
    const id = converted ? `${dataset}@${CONVERTED}` : dataset;
    const repository = hub.datasets.get(id) ?? {
      ...{ commit: (converted ? "a" : "b").repeat(40), files: {} },
      ...(converted ? { refs: [CONVERTED] } : {}),
    };
    hub.datasets.set(id, repository);
    for (const split of SPLITS) {
      const bytes = await readFile(path.join(ROWS, name, `${split}-00000-of-00001.parquet`));
      const file = converted ? `${split}/0000.parquet` : `${split}-00000-of-00001.parquet`;
      repository.files[`${config ?? "data"}/${file}`] = bytes;
    }
  }
  hub.datasets.set("aps/super_glue", { commit: "c".repeat(40), files: { "super_glue.py": Buffer.from("") } });
});
afterAll(async () => {
  await hub.stop();
  await cleanUp();
});

const load = (name: string, options: TaskOptions = {}) =>
  loadTask(name, { train: 8, dev: 4, test: 2, ...options, hub: { endpoint: hub.endpoint, cacheDir, token: "" } });
const METHOD = { name: "mezo-sgd", learningRate: 1e-4, eps: 1e-3 } as const;

test.each(NAMES)("%s trains, selects and is evaluated, without and with demonstrations", async (name) => {
  await withModel(DEMO, {}, async (model) => {
    await using task = await load(name);
    expect(task.sizes).toEqual({ train: 8, dev: 4, test: 2 });
    const trainer = new Trainer(model, {
      ...{ method: METHOD, ...task.options, steps: 2, batchSize: 4 },
      evaluation: { data: task.dev(model), every: 2 },
    });
    const evaluated: number[] = [];
    const onEvaluation = ({ examples }: { examples: number }) => void evaluated.push(examples);
    for await (const step of trainer.fit(task.train(model), { onEvaluation })) expect(step.examples).toBe(4);
    expect(evaluated).toEqual([4]);
    for (const shots of [0, 2]) {
      const result = await task.evaluate(model, { shots, batchSize: 2 });
      expect(result).toMatchObject({ task: name, shots, examples: 2, metric: task.task.metric });
      const score = result[result.metric];
      expect(score).toBeGreaterThanOrEqual(0);
      expect(score).toBeLessThanOrEqual(1);
      expect(result.accuracy === null).toBe(result.f1 !== null);
    }
  });
});

/** The share that is right, by the model's own scores of whole texts: the rows as they stand in the files. */
async function accuracyByScores(
  model: Model,
  rows: readonly { texts: string[]; answers: string[]; right: number[] }[],
) {
  let right = 0;
  for (const row of rows) {
    const means: number[] = [];
    for (const [i, text] of row.texts.entries()) {
      const tokens = model.tokenizer?.encode(row.answers[i] ?? "", { addSpecialTokens: false }).length ?? 0;
      for await (const { logprobs } of model.score([{ text }]))
        means.push(logprobs.slice(-tokens).reduce<number>((sum, l) => sum + (l ?? 0), 0) / tokens);
    }
    if (row.right.includes(means.indexOf(Math.max(...means)))) right++;
  }
  return right / rows.length;
}

test("accuracies are those of the candidates' mean log-probabilities", async () => {
  await withModel(DEMO, {}, async (model) => {
    const things = ["a dog", "the sea", "an old car", "a song", "the moon", "a door"];
    await using sst2 = await load("sst2", { test: 6 });
    const reviews = things.map((thing, i) => {
      const answers = [" terrible", " great"];
      const texts = answers.map((answer) => `${thing} is ${i % 2 === 1 ? "good" : "bad"} It was${answer}`);
      return { texts, answers, right: [i % 2] };
    });
    expect((await sst2.evaluate(model)).accuracy).toBe(await accuracyByScores(model, reviews));
    await using record = await load("record", { test: 6 });
    const queries = things.map((thing, i) => {
      const answers = [" Ann ran.", " Bo ran.", " Cy ran."];
      const texts = answers.map((answer) => `Ann and Bo met.\n- They saw ${thing}.\n-${answer}`);
      return { texts, answers, right: i % 2 === 1 ? [1, 2] : [1] };
    });
    expect((await record.evaluate(model)).accuracy).toBe(await accuracyByScores(model, queries));
  });
});

test("F1 is that of the text up to a line break that the model writes", async () => {
  await withModel(DEMO, {}, async (model) => {
    await using squad = await load("squad", { test: 3 });
    // Rows 5, 2 and 1: the first of NumPy's permutation of 6.
    const things = ["a door", "an old car", "the sea"];
    let sum = 0;
    for (const thing of things) {
      const text = `Title: Things\nContext: I have ${thing}.\nQuestion: What do I have?\nAnswer:`;
      const { text: said } = await model.generate(text, { maxNewTokens: 50 }).result();
      sum += f1((said ?? "").split("\n")[0]?.trim() ?? "", [thing]);
    }
    expect((await squad.evaluate(model)).f1).toBeCloseTo(sum / 3, 12);
    const faithful = await load("squad", { test: 1, faithful: true });
    expect((await faithful.evaluate(model)).f1).toBeGreaterThanOrEqual(0);
    await faithful.close();
  });
});

test("a faithful run of OPT begins with the id 0, and any other with the tokenizer's own", async () => {
  await withModel(DEMO, {}, async (model) => {
    for (const faithful of [true, false]) {
      await using task = await load("sst2", { faithful, dev: 2 });
      const example = await task.train(model).at(0);
      expect("startId" in example ? example.startId : null).toBe(faithful ? 0 : undefined);
      const other = await task.train({ config: { model_type: "llama" } }).at(0);
      expect("startId" in other ? other.startId : null).toBe(undefined);
    }
  });
});

test("the objective of answers trains on minus their F1, which has no gradient", async () => {
  await withModel(DEMO, {}, async (model) => {
    await using drop = await load("drop", { train: 2 });
    const { data, objective } = drop.objective(model);
    const trainer = new Trainer(model, { method: METHOD, steps: 1, batchSize: 2, objective, onDivergence: "ignore" });
    for await (const { loss } of trainer.fit(data)) {
      expect(loss).toBeLessThanOrEqual(0);
      expect(loss).toBeGreaterThanOrEqual(-1);
    }
    const record = { answers: ["a dog", "the sea"] };
    const output = (text: string) => ({ record, ids: [], generated: [], text });
    expect(objective.loss([output(" the dog"), output("cat")], { step: 0, direction: 0, branch: "plus" })).toBe(-0.5);
    await using sst2 = await load("sst2");
    expect(() => sst2.objective(model)).toThrow("sst2: the objective f1");
  });
});

test("a task of one's own, on lines in a folder", async () => {
  registerTask({
    name: "mood",
    source: { dataset: "org/mood", test: "test" },
    metric: "accuracy",
    loss: "answer",
    read: (row) => ({
      prompt: `${row.text("said")} I am`,
      candidates: [" sad", " glad"],
      right: [row.label("mood", 2)],
    }),
  });
  const lines = Array.from({ length: 9 }, (_, i) => `${JSON.stringify({ said: `Day ${i}.`, mood: i % 2 })}\n`).join("");
  const data = await temporaryFolder();
  await writeFile(path.join(data, "train.jsonl"), lines);
  await expect(loadTask("mood", { data })).rejects.toThrow("has no test.parquet and no test.jsonl");
  await writeFile(path.join(data, "test.jsonl"), lines);
  await using task = await loadTask("mood", { data });
  expect(task.sizes).toEqual({ train: 6, dev: 3, test: 9 });
  await withModel(DEMO, {}, async (model) => expect((await task.evaluate(model, { shots: 1 })).examples).toBe(9));
  await expect(loadTask("moood", { data })).rejects.toThrow('did you mean "mood"?');
  expect(() => registerTask(taskOf("mood"))).toThrow('there is a task "mood" already');
});
