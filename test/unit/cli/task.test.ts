import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Dataset } from "../../../src/data/index.js";
import { zo2 } from "./fake.js";

let dir: string;
beforeEach(async () => (dir = await mkdtemp(join(tmpdir(), "zo2-cli-"))));
afterEach(() => rm(dir, { recursive: true, force: true }));

const train = (...more: string[]) => [
  ...["train", "--model", "m", "--out", join(dir, "out"), "--steps", "4", "--learning-rate", "1e-4", "--no-run"],
  ...more,
];

test("eval --task answers with the task's metrics, by the flags that it was given", async () => {
  const flags = "--task-data d --task-train 10 --task-dev 5 --task-test 20 --task-seed 3 --faithful --shots 32";
  const { out, named, code, calls } = await zo2(
    ["eval", "--model", "m", "--task", "squad", ...flags.split(" "), "--batch-size", "4", "--json"],
    {},
  );
  expect(code).toBe(0);
  expect(named("loadTask")).toEqual([["squad", { data: "d", train: 10, dev: 5, test: 20, seed: 3, faithful: true }]]);
  expect(named("evaluateTask")).toEqual([[{ shots: 32, batchSize: 4 }]]);
  expect(JSON.parse(out)).toEqual({
    ...{ task: "squad", shots: 32, metric: "f1", accuracy: null, f1: 0.5, exactMatch: 0.25, loss: null },
    ...{ examples: 1000, tokens: 9000, seconds: 2 },
  });
  expect(calls.at(-2)).toEqual(["closeTask"]);
  expect((await zo2(["eval", "--model", "m", "--task", "squad", "--quiet"], {})).out).toMatch(
    /^F1 +50\.0 %\nexact match/,
  );
});

test("train --task trains on the task's examples, and selects by those that are kept from it", async () => {
  const { named, code, err } = await zo2(train("--task", "sst2", "--eval-every", "2"), {});
  expect(err).toContain("sst2: 1000 examples to train on, 500 to select by, 1000 to evaluate on");
  expect(code).toBe(0);
  expect(named("fit")).toMatchObject([[{ name: "train" }]]);
  const options = named("createTrainer")[0]?.[0] as {
    truncation: string;
    evaluation: { data: Dataset; every: number };
  };
  expect(options).toMatchObject({ truncation: "left", evaluation: { every: 2 } });
  expect(options.evaluation.data.name).toBe("dev");
  const [held, how] = named("evaluate")[0] as [Dataset, object];
  expect([held.name, how]).toEqual(["dev", { truncation: "left" }]);
});

test("train --objective f1 trains on the prompts, by what the task makes of the answers", async () => {
  const { named, code } = await zo2(train("--task", "squad", "--objective", "f1"), {});
  expect(code).toBe(0);
  expect(named("fit")).toMatchObject([[{ name: "prompts" }]]);
  expect(named("createTrainer")[0]?.[0]).toMatchObject({ objective: { from: "text" } });
});

test.each([
  [["--task", "sst2", "--data", "d.jsonl"], "--data and --task are both given"],
  [["--task", "sst2", "--truncation", "right"], "--truncation and --task are both given"],
  [["--data", "d.jsonl", "--faithful"], "--faithful needs --task NAME"],
  [["--task", "sst2", "--task-train", "0"], "--task-train"],
  [[], "--data is missing"],
])("train %j is refused before a model is loaded", async (more, message) => {
  const { err, calls } = await zo2(train(...more), {});
  expect(err).toContain("ZO2_ERR_CONFIG");
  expect(err).toContain(message);
  expect(calls).toEqual([]);
});
