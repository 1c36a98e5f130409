import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Zo2Error } from "../../../src/base/errors.js";
import { IssueLog } from "../../../src/data/index.js";
import { runCli } from "../../../src/cli/program.js";
import { fakeContext, type Script } from "./fake.js";

let dir: string;
beforeEach(async () => (dir = await mkdtemp(join(tmpdir(), "zo2-cli-"))));
afterEach(() => rm(dir, { recursive: true, force: true }));

async function zo2(args: readonly string[], script: Script = {}) {
  const fake = fakeContext(script);
  const code = await runCli(args, fake.context);
  return { ...fake, code, out: fake.stdout.text, err: fake.stderr.text };
}

const train = (...more: string[]) => [
  "train",
  "--model",
  "m",
  "--data",
  "train.jsonl",
  "--out",
  join(dir, "tuned"),
  "--steps",
  "4",
  "--learning-rate",
  "1e-4",
  ...more,
];

describe("usage errors", () => {
  test.each([
    [["train", "--stps", "3"], "ZO2_ERR_CONFIG: unknown option '--stps'; did you mean --steps?"],
    [["trian"], "ZO2_ERR_CONFIG: unknown command 'trian'; did you mean train?"],
    [["train", "--device", "gpu"], 'ZO2_ERR_CONFIG: --device is "gpu"; must be "auto", "cpu", "cuda" or "cuda:N"'],
    [
      ["train", "--steps", "many"],
      "ZO2_ERR_CONFIG: option '--steps <n>' argument 'many' is invalid. It must be a finite number.",
    ],
    [["train", "--steps"], "ZO2_ERR_CONFIG: option '--steps <n>' argument missing"],
    [
      ["train", "--seed", "1.5"],
      "ZO2_ERR_CONFIG: option '--seed <n>' argument '1.5' is invalid. It must be a whole number.",
    ],
    [["train", "--device-memory", "4G"], "ZO2_ERR_CONFIG: option '--device-memory <bytes>' argument '4G' is invalid."],
    [
      ["train", "--model", "m"],
      "ZO2_ERR_CONFIG: --data, --out, --steps, --learning-rate are missing; give them as flags or in --config FILE",
    ],
    [["score"], "ZO2_ERR_CONFIG: --model is missing; give it as flags or in --config FILE"],
    [["generate", "--prompt", "a"], "ZO2_ERR_CONFIG: --model is missing"],
    [
      ["generate", "--model", "m", "--prompt", "a", "--chat", "b"],
      "ZO2_ERR_CONFIG: --prompt and --chat are both given; give one of the two",
    ],
    [
      ["generate", "--model", "m"],
      "ZO2_ERR_CONFIG: there is nothing to continue; give --prompt TEXT, --chat TEXT, or --jsonl",
    ],
    [
      ["generate", "--model", "m", "--prompt", "a", "--input", "b"],
      "ZO2_ERR_CONFIG: --input and --prompt are both given",
    ],
    [
      ["generate", "--model", "m", "--prompt", "a", "--system", "b"],
      "ZO2_ERR_CONFIG: --system is given without --chat TEXT",
    ],
    [
      ["generate", "--model", "m", "--prompt", "a", "--top-p", "0.9"],
      "ZO2_ERR_CONFIG: --top-p is 0.9; has no effect at temperature 0",
    ],
    [
      ["generate", "--model", "m", "--prompt", "a", "--max-new-tokens", "0"],
      "ZO2_ERR_CONFIG: --max-new-tokens is 0; must be at least 1",
    ],
    [["eval", "--model", "m", "--data", "d", "--choices", "a", "b"], "ZO2_ERR_CONFIG: --prompt is missing; give text"],
    [["eval", "--model", "m", "--data", "d", "extra"], "ZO2_ERR_CONFIG: too many arguments for 'eval'."],
    [
      ["train", "--model", "m", "--data", "d", "--out", "o", "--steps", "0", "--learning-rate", "0"],
      "ZO2_ERR_CONFIG: 2 problems: (1) --learning-rate is 0; must be more than 0 (2) --steps is 0; must be at least 1",
    ],
    [
      [
        "train",
        "--model",
        "m",
        "--data",
        "d",
        "--out",
        "o",
        "--steps",
        "5",
        "--learning-rate",
        "1",
        "--eval-every",
        "2",
      ],
      "ZO2_ERR_CONFIG: --eval-every is 2 and there is nothing to evaluate; give --eval-data FILE",
    ],
  ])("%j: one line that says what to do, exit code 2, before anything is loaded", async (args, message) => {
    const { code, out, err, calls } = await zo2(args);
    expect(err.trimEnd().split("\n")).toHaveLength(1);
    expect(err).toContain(message);
    expect(out).toBe("");
    expect(code).toBe(2);
    expect(calls).toEqual([]);
  });

  test("a bare `zo2` prints the help and fails as wrong usage", async () => {
    const { code, err, out } = await zo2([]);
    expect(code).toBe(2);
    expect(out).toBe("");
    expect(err).toMatch(/^Usage: zo2/);
  });

  test.each(["demo", "train", "eval", "score", "generate", "info", "build"])(
    "`zo2 %s --help` has examples and goes to standard output",
    async (name) => {
      const { code, out, err } = await zo2([name, "--help"]);
      expect(code).toBe(0);
      expect(err).toBe("");
      expect(out).toContain(`Examples:\n  $ `);
      for (const line of out.split("\n").filter((l) => !l.includes("$"))) expect(line.length).toBeLessThanOrEqual(80);
    },
  );

  test("`zo2 --version` prints the version alone", async () => {
    expect(await zo2(["--version"])).toMatchObject({ code: 0, out: "9.9.9\n", err: "" });
  });

  test("an --out that could not be written in the end is refused in the beginning", async () => {
    await writeFile(join(dir, "file"), "");
    await mkdir(join(dir, "full"));
    await writeFile(join(dir, "full", "thesis.tex"), "");
    await mkdir(join(dir, "model"));
    for (const [model, out, code] of [
      ["m", "file", "ZO2_ERR_IO"],
      ["m", "full", "ZO2_ERR_IO"],
      ["m", "file/below", "ZO2_ERR_IO"],
      ["model", "model", "ZO2_ERR_CONFIG"],
    ] as const) {
      const { err, calls } = await zo2([
        "train",
        "--model",
        join(dir, model),
        "--data",
        "d",
        "--out",
        join(dir, out),
        "--steps",
        "1",
        "--learning-rate",
        "1",
      ]);
      expect(err).toMatch(new RegExp(`^${code}: .*choose another --out\\n$`));
      expect(calls).toEqual([]);
    }
  });
});

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
          "--prepare-ahead on --write-back-every 7 --no-overlap --rounding stochastic " +
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
          offload: {
            ...{ to: "host", wire: "bf16", deviceMemory: 2 ** 32, unitBytes: 2 ** 20, slots: 4 },
            ...{ prepareAhead: "on", writeBackEvery: 7, overlap: false },
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
    expect(bare.named("loadModel")).toEqual([["m", { offload: {} }]]);
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
    expect(debug.err).toMatch(/\n +at .*fake\.ts|\n +at .*program\.test\.ts/);
    expect(debug.err).toContain("caused by: Error: deeper");
  });
});

describe("config files", () => {
  test("flags go over the file", async () => {
    const path = join(dir, "run.yaml");
    await writeFile(
      path,
      "model: m\ndata: d.jsonl\nsteps: 9\nlearningRate: 1e-5\nseed: 18446744073709551615\noverlap: " +
        "false\nfreeze: [a, b]\ndeviceMemory: 2GiB\n",
    );
    const { named, err, code } = await zo2([
      "train",
      "--config",
      path,
      "--steps",
      "2",
      "--out",
      join(dir, "o"),
      "--device-memory",
      "1GiB",
    ]);
    expect(err).not.toContain("ZO2_ERR");
    expect(code).toBe(0);
    expect(named("createTrainer")[0]?.[0]).toMatchObject({
      steps: 2,
      seed: 2n ** 64n - 1n,
      freeze: ["a", "b"],
      method: { learningRate: 1e-5 },
    });
    expect(named("loadModel")[0]).toEqual(["m", { offload: { deviceMemory: 2 ** 30, overlap: false } }]);
  });

  test("--no-overlap goes over `overlap: true`", async () => {
    const path = join(dir, "run.json");
    await writeFile(path, '{"overlap": true}');
    expect((await zo2(train("--config", path, "--no-overlap"))).named("loadModel")[0]?.[1]).toEqual({
      offload: { overlap: false },
    });
  });

  test.each([
    ["lerningRate: 1", 'run.yaml: unknown option "lerningRate"; did you mean "learningRate"?'],
    ["learning-rate: 1", 'run.yaml: unknown option "learning-rate"; did you mean "learningRate"?'],
    ["noOverlap: true", 'run.yaml: unknown option "noOverlap"; did you mean "overlap"?'],
    ["config: other.yaml", 'run.yaml: unknown option "config"'],
    ["steps: ten", 'run.yaml: option "steps" is "ten"; must be a number'],
    ["choices: [1, 2]", 'option "choices[0]" is 1; must be text'],
    ["overlap: 'no'", 'option "overlap" is "no"; must be true or false'],
    ["steps: [1", "run.yaml:1: neither JSON nor YAML"],
    ["steps: 1\nsteps: 2", "run.yaml:2: neither JSON nor YAML: Map keys must be unique"],
    ["- steps", 'run.yaml: holds a list; give options by name, such as "steps: 500"'],
  ])("%j is refused by name and place", async (text, message) => {
    const path = join(dir, "run.yaml");
    await writeFile(path, text);
    const { code, err } = await zo2(train("--config", path));
    expect(err).toContain(message);
    expect(err).toMatch(/^ZO2_ERR_CONFIG: [^\n]*\n$/);
    expect(code).toBe(2);
  });

  test("a file that is not there is an error of input, an empty one sets nothing", async () => {
    expect(await zo2(train("--config", join(dir, "none.yaml")))).toMatchObject({
      code: 1,
      err: expect.stringContaining("ZO2_ERR_IO") as unknown,
    });
    await writeFile(join(dir, "empty.yaml"), "# nothing\n");
    expect(await zo2(train("--config", join(dir, "empty.yaml")))).toMatchObject({ code: 0 });
  });
});

describe("eval, score, info, demo", () => {
  test("eval closes with accuracy and loss", async () => {
    const { out, named, code } = await zo2(
      ["eval", "--model", "m", "--data", "d.jsonl", "--batch-size", "4", "--json"],
      { evaluations: [{ loss: 0.25, accuracy: 0.75 }] },
    );
    expect(JSON.parse(out)).toEqual({ accuracy: 0.75, loss: 0.25, examples: 415, tokens: 1000, seconds: 1 });
    expect(named("evaluate")).toEqual([["d.jsonl", { batchSize: 4 }]]);
    expect(code).toBe(0);
    expect(
      (await zo2(["eval", "--model", "m", "--data", "d", "--quiet"], { evaluations: [{ loss: 0.25, accuracy: null }] }))
        .out,
    ).toMatch(/^loss {6}0\.2500\n/);
  });

  test("score answers line for line, in order", async () => {
    const { out, code } = await zo2(["score", "--model", "m"], { stdin: ['{"ids": [5, 6]}\n{"te', 'xt": "abc"}\n'] });
    expect(code).toBe(0);
    expect(out).toBe(
      '{"ids":[5,6],"logprobs":[null,-1.5],"sum":-1.5}\n{"ids":[2,3],"logprobs":[null,-1.5],"sum":-1.5}\n',
    );
  });

  test.each([
    '{"ids": []}',
    '{"ids": [1.5]}',
    '{"ids": [4096]}',
    '{"ids": "1"}',
    '{"text": 3}',
    '{"text": "a", "ids": [1]}',
    "{}",
    "[1]",
    "{",
  ])("score refuses %s by its line, after the answers to the lines before it", async (bad) => {
    const { out, err, code } = await zo2(["score", "--model", "m"], { stdin: [`{"ids": [5, 6]}\n${bad}\n`] });
    expect(out.trimEnd().split("\n")).toHaveLength(1);
    expect(err.trimEnd().split("\n").at(-1)).toMatch(/^ZO2_ERR_DATA: stdin:2: /);
    expect(code).toBe(1);
  });

  test("info says what there is and why the rest is not, and with a model where its bytes go", async () => {
    const { out } = await zo2(["info"]);
    for (const part of ["9.9.9", "OpenBLAS", "not available: not compiled in", "avx2 fma", "4 GiB free of 8 GiB"])
      expect(out).toContain(part);
    const model = await zo2(["info", "--model", "m", "--json"]);
    expect(JSON.parse(model.out)).toMatchObject({
      versions: { zo2: "9.9.9" },
      backends: [{ kind: "cpu" }, { kind: "cuda" }],
      model: { plan: { deviceBytes: 6 * 2 ** 20 } },
    });
    expect((await zo2(["info", "--model", "m"])).out).toContain("decoder.layers.0");
  });

  describe("where the addon is not built", () => {
    const addonError = new Zo2Error("ZO2_ERR_ADDON", "the native addon is not built\nbuild it: npx zo2 build");

    test.each([
      ["demo"],
      ["train", "--model", "m", "--data", "d.jsonl", "--out", "/no/o", "--steps", "1", "--learning-rate", "1e-6"],
      ["eval", "--model", "m", "--data", "d.jsonl"],
      ["score", "--model", "m"],
      ["generate", "--model", "m", "--prompt", "p"],
      ["info", "--model", "m"],
    ])("zo2 %s says so in two lines", async (...args) => {
      const { code, out, err } = await zo2(args, { addonError });
      expect({ code, out, err }).toEqual({
        code: 1,
        out: "",
        err: "ZO2_ERR_ADDON: the native addon is not built\nbuild it: npx zo2 build\n",
      });
    });

    test("info says what it knows, and why it knows no more", async () => {
      const { code, out, err } = await zo2(["info"], { addonError });
      expect({ code, err }).toEqual({ code: 0, err: "" });
      expect(out).toMatch(
        /^zo2 {7}9\.9\.9, Node .*\naddon {5}the native addon is not built\n {10}build it: npx zo2 build\n$/,
      );
      const { out: line } = await zo2(["info", "--json"], { addonError });
      expect(JSON.parse(line)).toEqual({ versions: expect.any(Object) as unknown, addonError: addonError.message });
    });
  });

  test("build compiles in place and shows that what it built loads; a build that fails is a coded error", async () => {
    const { code, out, named } = await zo2(["build", "--force", "--json"]);
    expect(code).toBe(0);
    expect(named("buildAddon")).toEqual([[{ force: true, quiet: false, toStderr: true }]]);
    expect(JSON.parse(out)).toMatchObject({ file: "/pkg/build/Release/zo2.node", backends: [{ kind: "cpu" }, {}] });
    expect((await zo2(["build", "--quiet"])).named("buildAddon")).toEqual([
      [{ force: false, quiet: true, toStderr: false }],
    ]);
    const failed = await zo2(["build"], { buildFails: true });
    expect(failed).toMatchObject({ code: 1, out: "" });
    expect(failed.err).toMatch(/^ZO2_ERR_ADDON: the native addon was not built; [^\n]*\n$/);
  });

  test("demo tunes the model of the package on its reviews, and closes with before and after", async () => {
    const { out, named, code } = await zo2(["demo", "--json", "--steps", "3", "--seed", "7"], {
      evaluations: [
        { loss: 0.9, accuracy: 0.5 },
        { loss: 0.5, accuracy: 0.7 },
      ],
    });
    expect(code).toBe(0);
    expect(JSON.parse(out)).toEqual({
      before: { accuracy: 0.5, loss: 0.9 },
      after: { accuracy: 0.7, loss: 0.5 },
      steps: 3,
      seconds: 1.5,
    });
    expect(named("fit")).toEqual([["/pkg/docs/demo/reviews/train.jsonl"]]);
    expect(named("evaluate").map(([data]) => data)).toEqual([
      "/pkg/docs/demo/reviews/test.jsonl",
      "/pkg/docs/demo/reviews/test.jsonl",
    ]);
    expect(named("createTrainer")[0]?.[0]).toMatchObject({
      steps: 3,
      seed: 7n,
      batchSize: 32,
      microBatchSize: 16,
      maxLength: 96,
      method: { learningRate: 1e-4, eps: 1e-3, schedule: { name: "linear" } },
      template: { prompt: "{text} How is it?", choices: [" terrible", " great"] },
    });
    expect(named("save")).toEqual([]);
  });

  test("demo without --json draws its bars on standard output", async () => {
    const { out } = await zo2(["demo", "--steps", "1"], {
      evaluations: [
        { loss: 0.9, accuracy: 0.5 },
        { loss: 0.5, accuracy: 0.7 },
      ],
    });
    expect(out).toMatch(/before .*50\.0 %[\s\S]*after .*70\.0 %[\s\S]*\+20\.0 points/);
  });

  test("demo streams within a budget, which a resident model does not get", async () => {
    const streamed = (await zo2(["demo", "--steps", "1"])).named("loadModel")[0]?.[1];
    expect(streamed).toMatchObject({ offload: { to: "host", wire: "fp32", deviceMemory: 16 * 2 ** 20 } });
    const resident = (await zo2(["demo", "--steps", "1", "--offload", "device"])).named("loadModel")[0]?.[1];
    expect(resident).toMatchObject({ offload: { to: "device", wire: "fp32" } });
    expect(resident).not.toHaveProperty("offload.deviceMemory");
  });
});

describe("generate", () => {
  test("prints the text as it comes, and hands every flag on", async () => {
    const { out, code, named, err } = await zo2([
      "generate",
      "--model",
      "m",
      "--prompt",
      "Once",
      ...(
        "--max-new-tokens 9 --temperature 0.5 --top-k 4 --top-p 0.9 --seed 18446744073709551615 --ignore-eos " +
        "--cache host --batch-size 3 --quiet"
      ).split(" "),
      "--stop",
      "\n",
      "END",
    ]);
    expect({ out, code, err }).toEqual({ out: "one two three\n", code: 0, err: "" });
    expect(named("generate")).toEqual([
      [
        { text: "Once", place: "--prompt" },
        {
          maxNewTokens: 9,
          temperature: 0.5,
          topK: 4,
          topP: 0.9,
          seed: 2n ** 64n - 1n,
          stop: ["\n", "END"],
          ignoreEos: true,
          batchSize: 3,
          cache: "host",
        },
      ],
    ]);
    expect(named("dispose")).toHaveLength(1);
  });

  test("a chat is one turn of the user, behind what the system says", async () => {
    const { named } = await zo2(["generate", "--model", "m", "--chat", "Hi", "--system", "Be brief"]);
    expect(named("generate")).toEqual([
      [
        {
          messages: [
            { role: "system", content: "Be brief" },
            { role: "user", content: "Hi" },
          ],
          place: "--chat",
        },
        {},
      ],
    ]);
    expect((await zo2(["generate", "--model", "m", "--chat", "Hi"])).named("generate")).toMatchObject([
      [{ messages: [{ role: "user", content: "Hi" }] }, {}],
    ]);
  });

  test("--json prints one line of JSON instead", async () => {
    const { out } = await zo2(["generate", "--model", "m", "--prompt", "Once", "--json"]);
    expect(out).toBe('{"ids":[1,2,3],"text":"one two three","reason":"eos"}\n');
  });

  test("Ctrl-C ends it with 130 on a line of its own, and frees the model", async () => {
    const { out, code, err, named } = await zo2(["generate", "--model", "m", "--prompt", "Once", "--quiet"], {
      abortAfter: 2,
    });
    expect({ out, code, err }).toEqual({ out: "one two\n", code: 130, err: "ZO2_ERR_ABORTED: stopped after 2\n" });
    expect(named("dispose")).toHaveLength(1);
  });

  test("answers lines in order, and refuses a bad one by its place after the answers to those before", async () => {
    const { out, err, code, named } = await zo2(
      ["generate", "--model", "m", "--jsonl", "--max-new-tokens", "5", "--quiet"],
      { stdin: ['{"ids": [5, 6]}\n{"id', 's": [7]}\n{"ids": []}\n'] },
    );
    expect(out).toBe('{"ids":[5,6],"text":null,"reason":"length"}\n{"ids":[7],"text":null,"reason":"length"}\n');
    expect(err).toMatch(/^ZO2_ERR_DATA: stdin:3: /);
    expect(code).toBe(1);
    expect(named("generateAll")).toEqual([[{ maxNewTokens: 5 }]]);
  });

  test("reads lines from --input", async () => {
    const path = join(dir, "prompts.jsonl");
    await writeFile(path, '{"ids": [9]}\n');
    expect((await zo2(["generate", "--model", "m", "--input", path])).out).toBe(
      '{"ids":[9],"text":null,"reason":"length"}\n',
    );
  });

  test("the help says what shared flags mean here", async () => {
    const { out } = await zo2(["generate", "--help"]);
    expect(out).toMatch(/--prompt <text> +the text to continue/);
    expect((await zo2(["eval", "--help"])).out).toMatch(/--prompt <text> +prompt with/);
  });
});
