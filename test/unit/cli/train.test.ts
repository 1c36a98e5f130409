import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { IssueLog } from "../../../src/data/index.js";
import { trainArguments, type Script, zo2 } from "./fake.js";

let dir: string;
beforeEach(async () => (dir = await mkdtemp(join(tmpdir(), "zo2-cli-"))));
afterEach(() => rm(dir, { recursive: true, force: true }));

const train = (...more: string[]) => trainArguments(dir, ...more);

describe("train", () => {
  test("hands every flag on to the library, and nothing that was not given", async () => {
    const { calls, code } = await zo2(
      train(
        ...(
          "--batch-size 8 --micro-batch-size 2 --lr-schedule cosine --warmup-steps 1 --eps 0.01 --weight-decay " +
          "0.1 --noise rademacher --seed 18446744073709551615 --freeze a* b --no-deferred-update"
        ).split(" "),
        ...(
          "--device cpu --threads 2 --offload host --wire bf16 --device-memory 4GiB --unit-bytes 1MiB --slots 4 " +
          "--prepare-ahead on --activations host --write-back-every 7 --no-overlap --rounding stochastic " +
          "--max-length 64 --truncation left --reduction sum --save-dtype " +
          "fp32 --label-field y"
        ).split(" "),
        "--prompt",
        "{text} It was",
        "--choices",
        " terrible",
        " great",
      ),
    );
    expect(code).toBe(0);
    expect(calls).toEqual([
      [
        "loadModel",
        "m",
        {
          device: "cpu",
          threads: 2,
          rounding: "stochastic",
          workload: { training: true, batchSize: 8, microBatchSize: 2, maxLength: 64 },
          offload: {
            ...{ to: "host", wire: "bf16", deviceMemory: 2 ** 32, unitBytes: 2 ** 20, slots: 4 },
            ...{ prepareAhead: "on", activations: "host", writeBackEvery: 7, overlap: false },
          },
        },
      ],
      [
        "createTrainer",
        {
          method: {
            name: "mezo-sgd",
            learningRate: 1e-4,
            eps: 0.01,
            weightDecay: 0.1,
            noise: "rademacher",
            schedule: { name: "cosine", warmupSteps: 1 },
          },
          steps: 4,
          batchSize: 8,
          microBatchSize: 2,
          seed: 2n ** 64n - 1n,
          freeze: ["a*", "b"],
          deferredUpdate: false,
          maxLength: 64,
          truncation: "left",
          reduction: "sum",
          template: { prompt: "{text} It was", choices: [" terrible", " great"], labelField: "y" },
          run: join(dir, "tuned.run"),
        },
      ],
      ["fit", "train.jsonl"],
      ["save", join(dir, "tuned"), { dtype: "fp32" }],
      ["dispose"],
    ]);
    const bare = await zo2(train("--no-run"));
    expect(bare.named("loadModel")).toEqual([["m", { workload: { training: true }, offload: {} }]]);
    expect(bare.named("createTrainer")).toEqual([
      [{ method: { name: "mezo-sgd", learningRate: 1e-4, schedule: {} }, steps: 4 }],
    ]);
  });

  test("with --json closes with one line of results on standard output, and people read standard error", async () => {
    const { out, err } = await zo2(train("--json", "--no-run"));
    expect(JSON.parse(out)).toEqual({
      accuracy: null,
      loss: 1.985,
      steps: 4,
      seconds: 2,
      tokensPerSecond: 200,
      out: join(dir, "tuned"),
    });
    expect(out.trimEnd().split("\n")).toHaveLength(1);
    expect(err).toContain("trained 4 steps");
  });

  test("with --quiet says nothing but its result", async () => {
    const { out, err } = await zo2(train("--json", "--quiet"));
    expect(err).toBe("");
    expect(JSON.parse(out)).toMatchObject({ steps: 4 });
  });

  test("hands a method and its own options on, to the trainer and to what memory is planned for", async () => {
    const flags = "--method es --directions 6 --antithetic --fitness rank".split(" ");
    const { named } = await zo2(train(...flags));
    const probes = { name: "es", directions: 6, antithetic: true };
    expect(named("loadModel")[0]?.[1]).toMatchObject({ workload: { method: probes } });
    expect(named("createTrainer")[0]?.[0]).toMatchObject({
      method: { ...probes, fitness: "rank", learningRate: 1e-4 },
    });
    const wrong = await zo2(train("--fitness", "rank"));
    expect([wrong.code, wrong.err]).toEqual([2, expect.stringContaining('--fitness does not go with name "mezo-sgd"')]);
  });

  test("hands an adapter on to the model", async () => {
    const { named } = await zo2(train(..."--lora 4 --lora-alpha 8 --lora-target q_proj fc*".split(" ")));
    expect(named("loadModel")[0]?.[1]).toMatchObject({
      adapter: { name: "lora", rank: 4, alpha: 8, targets: ["q_proj", "fc*"] },
    });
    const prefixed = await zo2(train("--prefix", "7"));
    expect(prefixed.named("loadModel")[0]?.[1]).toMatchObject({ adapter: { name: "prefix", tokens: 7 } });
    const both = await zo2(train("--prefix", "7", "--lora", "4"));
    expect([both.code, both.err]).toEqual([2, "ZO2_ERR_CONFIG: --lora and --prefix are two adapters; give one\n"]);
    const stray = await zo2(train("--lora-target", "q_proj"));
    expect([stray.code, stray.err]).toEqual([2, "ZO2_ERR_CONFIG: --lora-target needs --lora RANK\n"]);
    const wrong = await zo2(train("--lora", "0"));
    expect([wrong.code, wrong.err]).toEqual([2, expect.stringContaining("--lora is 0; must be at least 1")]);
  });

  test("evaluates before, during and after, and what is saved is the best, which nothing worse replaces", async () => {
    const evaluations = [
      { loss: 0.9, accuracy: 0.5 },
      { loss: 0.8, accuracy: 0.6 },
      { loss: 0.4, accuracy: 0.9 },
      { loss: 0.7, accuracy: 0.7 },
    ];
    const { calls, out } = await zo2(train("--eval-data", "dev.jsonl", "--eval-every", "2", "--steps", "5", "--json"), {
      evaluations,
    });
    expect(calls.map(([name]) => name)).toEqual([
      "loadModel",
      "createTrainer",
      "fit",
      "evaluate",
      "save",
      "save",
      "dispose",
    ]);
    expect(JSON.parse(out)).toMatchObject({
      before: { accuracy: 0.5, loss: 0.9 },
      after: { accuracy: 0.9, loss: 0.4 },
      accuracy: 0.9,
      loss: 0.4,
      keptStep: 4,
    });
  });

  test("evaluates before and during training by the same options, those of the run", async () => {
    const options = "--batch-size 3 --max-length 48 --truncation right --reduction sum".split(" ");
    const { named } = await zo2(train("--eval-data", "dev.jsonl", ...options));
    const text = { maxLength: 48, truncation: "right", reduction: "sum" };
    expect(named("evaluate")[0]).toEqual(["dev.jsonl", { batchSize: 3, ...text }]);
    // Without --eval-every once, after the last of four steps.
    const evaluation = { data: "dev.jsonl", every: 4, batchSize: 3 };
    expect(named("createTrainer")[0]?.[0]).toMatchObject({ batchSize: 3, ...text, evaluation });
  });

  test("with --no-keep-best saves once, at the end, and reports the last evaluation", async () => {
    const evaluations = [
      { loss: 0.9, accuracy: 0.5 },
      { loss: 0.4, accuracy: 0.9 },
      { loss: 0.7, accuracy: 0.7 },
    ];
    const { named, out } = await zo2(
      train("--eval-data", "dev.jsonl", "--eval-every", "2", "--no-keep-best", "--json"),
      { evaluations },
    );
    expect(named("save")).toHaveLength(1);
    expect(named("createTrainer")[0]?.[0]).toMatchObject({
      evaluation: { data: "dev.jsonl", every: 2, keepBest: false },
    });
    expect(JSON.parse(out)).toMatchObject({ accuracy: 0.7, loss: 0.7 });
  });

  test("interrupted, it saves what it has and exits with 130", async () => {
    const { code, named, out, calls } = await zo2(train("--json"), { abortAfter: 3 });
    expect(code).toBe(130);
    expect(named("save")).toEqual([[join(dir, "tuned"), {}]]);
    expect(JSON.parse(out)).toMatchObject({ steps: 3, interrupted: true, out: join(dir, "tuned") });
    expect(calls.at(-1)).toEqual(["dispose"]);
  });

  test("after an error nothing is saved, the model is freed, and the metrics so far are there", async () => {
    const metrics = join(dir, "m.jsonl");
    const { code, err, calls } = await zo2(train("--metrics", metrics), {
      failAfter: { step: 2, error: Object.assign(new Error("step 2: NaN"), { code: "ZO2_ERR_NOT_FINITE" }) },
    });
    expect(code).toBe(1);
    expect(err.trimEnd().split("\n").at(-1)).toBe("ZO2_ERR_NOT_FINITE: step 2: NaN");
    expect(calls.map(([name]) => name)).toEqual(["loadModel", "createTrainer", "fit", "dispose"]);
    const rows = (await readFile(metrics, "utf8"))
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as object);
    expect(rows).toHaveLength(2);
    expect(rows[1]).toEqual({
      step: 1,
      loss: 1.99,
      lossPlus: 2,
      lossMinus: 1,
      projectedGradient: 500,
      ...{ coefficients: [500], skipped: false },
      learningRate: 1e-4,
      examples: 4,
      tokens: 100,
      seconds: 0.5,
      tokensPerSecond: 200,
      deviceBytes: 1024,
    });
  });

  test("without a check of the data it evaluates first, and hands on that there is none", async () => {
    const { calls, named } = await zo2(train("--eval-data", "dev.jsonl", "--no-check-data"));
    expect(calls.map(([name]) => name).slice(0, 4)).toEqual(["loadModel", "createTrainer", "evaluate", "fit"]);
    expect(named("createTrainer")[0]?.[0]).toMatchObject({ checkData: false });
    expect(named("evaluate")[0]?.[1]).toEqual({ checkData: false });
  });

  test("says what the data came to, and which lines were left out", async () => {
    const place = "train.jsonl:3";
    const issue = {
      kind: "label",
      code: "ZO2_ERR_DATA",
      place,
      line: 3,
      message: `${place}: option "labelMap"`,
    } as const;
    const skipped = { count: 21, counts: { syntax: 20, label: 1 }, issues: [issue] };
    const { err, out, named } = await zo2(train("--skip-bad-lines", "--json"), { skipped });
    expect(named("createTrainer")[0]?.[0]).toMatchObject({ skipBadLines: true });
    expect(err).toContain("train.jsonl: 1,680 lines, the longest sequence has 54 tokens (train.jsonl:7)\n");
    expect(err).toContain("left out: 21 (20 syntax, 1 label); the first 1\n  train.jsonl:3: --label-map\n");
    expect(JSON.parse(out)).toMatchObject({ skipped: 21 });
  });

  test("lists what is wrong with the data, a line each, in the words of the flags", async () => {
    const log = new IssueLog();
    for (const line of [3, 5]) {
      const message = `d:${line}: label 9; other names need option "labelMap"`;
      log.add({ kind: "label", code: "ZO2_ERR_DATA", place: `d:${line}`, line, message });
    }
    const error = log.error("d", "9 lines", 'mend them, or leave them out with option "skipBadLines"');
    const { err, code } = await zo2(train("--quiet"), { failAfter: { step: 1, error } });
    expect(code).toBe(1);
    expect(err).toBe(
      "ZO2_ERR_DATA: d: 2 of 9 lines cannot be used (2 label); mend them, or leave them out with --skip-bad-lines. " +
        "They are:\n  d:3: label 9; other names need --label-map\n  d:5: label 9; other names need --label-map\n",
    );
  });

  test("a label map is pairs, the last = of each parting them, or an object in a config file", async () => {
    const { named } = await zo2(train("--label-map", "entailment=0", "a=b=1", "=2", "--label-map=-1=0"));
    const labelMap = { entailment: 0, "a=b": 1, "-1": 0, "": 2 };
    expect(named("createTrainer")[0]?.[0]).toMatchObject({ labelMap });
    const path = join(dir, "run.yaml");
    await writeFile(path, "labelMap: {entailment: 0, a=b: 1, '-1': 0, '': 2}");
    expect((await zo2(train("--config", path))).named("createTrainer")[0]?.[0]).toMatchObject({ labelMap });
  });

  test.each([
    [["--label-map", "entailment"], '--label-map is "entailment"; write a label and the index of its choice'],
    [["--label-map", "a=b"], '--label-map is "a=b"; write'],
    [["--label-map", "a=-1"], '--label-map is "a=-1"; write'],
    [["--label-map", "a=1.5"], '--label-map is "a=1.5"; write'],
    [["--label-map", "a=0", "a=1"], '--label-map maps "a" twice'],
    [
      ["--skip-bad-lines", "--no-check-data"],
      "--skip-bad-lines is true; needs the check that --no-check-data turns off",
    ],
  ])("%j is refused before anything is loaded", async (flags, message) => {
    const { err, code, calls } = await zo2(train(...flags));
    expect(err).toContain(`ZO2_ERR_CONFIG: ${message}`);
    expect(code).toBe(2);
    expect(calls).toEqual([]);
  });

  test("a stack is printed with --debug only", async () => {
    const script: Script = {
      failAfter: { step: 1, error: new TypeError("x is not\n a function", { cause: new Error("deeper") }) },
    };
    const plain = await zo2(train(), script);
    expect(plain.err.trimEnd().split("\n").at(-1)).toMatch(
      /^unexpected TypeError: x is not a function; this is a defect of zo2/,
    );
    const debug = await zo2(train("--debug"), script);
    expect(debug.err).toMatch(/\n +at .*fake\.ts|\n +at .*train\.test\.ts/);
    expect(debug.err).toContain("caused by: Error: deeper");
  });
});
