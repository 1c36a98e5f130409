import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { zo2, type Script } from "./fake.js";

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "zo2-cli-"));
  await writeFile(join(dir, "dev.jsonl"), "{}\n");
});
afterEach(() => rm(dir, { recursive: true, force: true }));

const base = () => ["--model", "m", "--data", "train.jsonl", "--out", join(dir, "rates"), "--steps", "4"];
const sweep = (more: readonly string[], script?: Script) =>
  zo2(["sweep", ...base(), "--eval-data", join(dir, "dev.jsonl"), ...more], script);

describe("sweep", () => {
  test("hands what is tried and what is common on to the library, and loads for what takes the most", async () => {
    const { code, named, out, err } = await sweep(
      [
        "--sweep",
        "learningRate=1e-7,1e-6",
        "method=mezo-sgd,fzoo",
        "lrSchedule=linear",
        "seed=18446744073709551615",
      ].concat(["--eps", "0.01", "--batch-size", "8", "--eval-every", "2"]),
    );
    expect(code).toBe(0);
    const [[options]] = named("sweep") as [[Record<string, unknown>]];
    expect(options).toMatchObject({
      ...{ dir: join(dir, "rates"), data: "train.jsonl" },
      trainer: {
        method: { name: "mezo-sgd", eps: 0.01 },
        ...{ steps: 4, batchSize: 8, evaluation: { data: join(dir, "dev.jsonl"), every: 2 } },
      },
      grid: {
        ...{ learningRate: [1e-7, 1e-6], method: ["mezo-sgd", "fzoo"], "method.schedule.name": ["linear"] },
        seed: [2n ** 64n - 1n],
      },
      trials: [],
    });
    // What no trial says, `microBatchSize`, is left to the plan.
    const workload = { training: true, batchSize: 8, method: { name: "fzoo", directions: 8 } };
    expect(named("loadModel")[0]?.[1]).toHaveProperty("workload", workload);
    expect(out).toMatch(
      /^trial +accuracy +loss +best at\n02-b +75\.0 % +0\.5000 +step 3, .*\n01-a .*diverged after 4 steps\n/,
    );
    expect(out).toContain(`zo2 replay m ${join(dir, "rates", "02-b")} --steps 3 --out DIR`);
    expect(err).toContain("trial 2 of 2: 01-a, goes on");
  });

  test("takes the same from a config file, with listed trials", async () => {
    const config = join(dir, "sweep.yaml");
    await writeFile(
      config,
      "learningRate: 1.0e-6\nsweep:\n  method: [mezo-sgd, {name: es, directions: [4, 8]}]\n  trials: [{steps: 9}]\n",
    );
    const { code, named, out } = await sweep(["--config", config, "--json"]);
    expect(code).toBe(0);
    expect(named("sweep")).toMatchObject([
      [{ grid: { method: ["mezo-sgd", { name: "es", directions: [4, 8] }] }, trials: [{ steps: 9 }] }],
    ]);
    const { trials, report } = JSON.parse(out);
    expect(trials[0]).toEqual({
      ...{ name: "02-b", dir: join(dir, "rates", "02-b"), values: { seed: "9223372036854775808" }, state: "done" },
      ...{ steps: 4, seconds: 1, reused: false, evaluation: { step: 3, loss: 0.5, accuracy: 0.75 } },
    });
    expect(report).toBe(join(dir, "rates", "report.html"));
  });

  test("lists the trials without a model, and which are there already", async () => {
    const dry = () => sweep(["--sweep", "learningRate=1e-7,1e-6", "--dry-run", "--json"]);
    const first = await dry();
    expect([first.code, first.calls]).toEqual([0, []]);
    const { trials } = JSON.parse(first.out);
    expect(trials).toEqual([
      { name: "01-learningRate-1e-7", values: { learningRate: 1e-7 }, state: "new" },
      { name: "02-learningRate-1e-6", values: { learningRate: 1e-6 }, state: "new" },
    ]);
    expect(await readdir(dir)).toEqual(["dev.jsonl"]);
    await mkdir(join(dir, "rates", "07-other"), { recursive: true });
    expect(JSON.parse((await dry()).out).trials.map(({ name }: { name: string }) => name)).toEqual([
      ...["08-learningRate-1e-7", "09-learningRate-1e-6"],
    ]);
  });

  test.each([
    [["--sweep", "learningRate"], '--sweep is "learningRate"; write an option and its values'],
    [["--sweep", "learningRate=1e-7,x"], 'sweep.learningRate[1]: --learning-rate is "x"; must be a number'],
    [["--sweep", "seed=1"], "--learning-rate is missing"],
    [["--sweep", "evalEvery=1", "--learning-rate", "1"], 'option "sweep.evaluation.every" is the same for all trials'],
    [[], "--sweep is missing"],
  ])("refuses what cannot be a sweep before a model is loaded (%#)", async (flags, message) => {
    const { code, err, calls } = await sweep(flags);
    expect([code, calls]).toEqual([2, []]);
    expect(err).toContain(message);
  });

  test("needs something to compare trials by", async () => {
    const { code, err } = await zo2(["sweep", ...base(), "--sweep", "learningRate=1e-7"]);
    expect(code).toBe(2);
    expect(err).toContain("--eval-data is missing");
  });

  test("compares by the examples of a task that are to select by", async () => {
    const flags = ["--model", "m", "--task", "sst2", "--out", join(dir, "rates"), "--steps", "4"];
    const { code, named } = await zo2(["sweep", ...flags, "--sweep", "learningRate=1e-7,1e-6"]);
    expect(code).toBe(0);
    const [[{ trainer }]] = named("sweep") as [[{ trainer: Record<string, unknown> }]];
    expect(trainer).toMatchObject({ truncation: "left", evaluation: { every: 4 } });
    expect((trainer["evaluation"] as { data: { name: string } }).data.name).toBe("dev");
    expect(named("closeTask")).toHaveLength(1);
  });

  test("that is stopped says how it goes on, and ends as the signal has it", async () => {
    const { code, err, named } = await sweep(["--sweep", "learningRate=1e-7"], { abortAfter: 0 });
    expect(code).toBe(1);
    expect(err).toContain("the same command goes on with it");
    expect(named("dispose")).toHaveLength(1);
  });
});
