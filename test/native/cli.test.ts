import { execFile, spawn } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";

/** The command line as users run it: the compiled program in a process of its own, with the addon. */
const root = path.join(__dirname, "../..");
const program = path.join(root, "dist/esm/cli/main.js");
const model = path.join(root, "docs/demo/tiny-opt");
const reviews = path.join(root, "docs/demo/reviews");
const task = [
  "--prompt",
  "{text} How is it?",
  "--choices",
  " terrible",
  " great",
  "--max-length",
  "96",
  "--truncation",
  "left",
];

let work: string;
beforeEach(() => {
  work = fs.mkdtempSync(path.join(os.tmpdir(), "zo2-cli-"));
  const lines = fs.readFileSync(path.join(reviews, "test.jsonl"), "utf8").split("\n").slice(0, 40);
  fs.writeFileSync(path.join(work, "dev.jsonl"), lines.join("\n"));
});
afterEach(() => fs.rmSync(work, { recursive: true, force: true }));

function zo2(args: string[], input?: string): Promise<{ code: number; out: string; err: string }> {
  return new Promise((resolve) => {
    const child = execFile(process.execPath, [program, ...args], { cwd: work }, (error, out, err) => {
      resolve({ code: typeof error?.code === "number" ? error.code : 0, out, err });
    });
    child.stdin?.end(input ?? "");
  });
}
const closing = (out: string) => JSON.parse(out.trimEnd().split("\n").at(-1) ?? "");

it("a model that was trained and saved evaluates to the same numbers when it is loaded again", async () => {
  const train = await zo2([
    "train",
    "--model",
    model,
    "--data",
    path.join(reviews, "train.jsonl"),
    "--out",
    "tuned",
    "--steps",
    "6",
    "--batch-size",
    "8",
    "--learning-rate",
    "1e-4",
    "--wire",
    "fp32",
    "--unit-bytes",
    "600KB",
    "--metrics",
    "steps.jsonl",
    "--eval-data",
    "dev.jsonl",
    "--eval-every",
    "3",
    "--no-keep-best",
    "--json",
    ...task,
  ]);
  expect([train.code, train.err.includes("ZO2_ERR")]).toEqual([0, false]);
  const result = closing(train.out);
  const metrics = fs
    .readFileSync(path.join(work, "steps.jsonl"), "utf8")
    .trimEnd()
    .split("\n")
    .map((l) => JSON.parse(l));
  expect(metrics.filter((m) => "projectedGradient" in m).map((m) => m.step)).toEqual([0, 1, 2, 3, 4, 5]);

  const evaluated = await zo2([
    "eval",
    "--model",
    "tuned",
    "--data",
    "dev.jsonl",
    "--json",
    "--unit-bytes",
    "600KB",
    // That of the evaluations in training: batches of another size are other matrix products, and other last bits.
    "--batch-size",
    "8",
    ...task,
  ]);
  expect(closing(evaluated.out)).toMatchObject({
    accuracy: result.after?.accuracy ?? result.accuracy,
    loss: result.after?.loss ?? result.loss,
  });
  const before = await zo2(["eval", "--model", model, "--data", "dev.jsonl", "--json", ...task]);
  expect(closing(before.out).loss).not.toBe(closing(evaluated.out).loss);

  const config = JSON.parse(fs.readFileSync(path.join(work, "tuned/config.json"), "utf8"));
  expect(config).toMatchObject({ model_type: "opt", torch_dtype: "float32" });
  expect(fs.readdirSync(path.join(work, "tuned")).sort()).toEqual([
    "config.json",
    "merges.txt",
    "model.safetensors",
    "special_tokens_map.json",
    "tokenizer_config.json",
    "vocab.json",
  ]);
});

it("score answers line for line: text with the model's special tokens, ids as they are, null first", async () => {
  const { code, out } = await zo2(
    ["score", "--model", model, "--quiet"],
    '{"text": "The film was great."}\n{"ids": [2, 5]}\n\n{"ids": [7]}\n',
  );
  expect(code).toBe(0);
  const [text, pair, single] = out
    .trimEnd()
    .split("\n")
    .map((l) => JSON.parse(l));
  expect(text.ids[0]).toBe(2);
  expect(text.logprobs[0]).toBeNull();
  expect(text.logprobs).toHaveLength(text.ids.length);
  expect(text.sum).toBeCloseTo(
    text.logprobs.slice(1).reduce((a: number, b: number) => a + b, 0),
    10,
  );
  expect(pair).toMatchObject({ ids: [2, 5], logprobs: [null, pair.sum] });
  expect(single).toEqual({ ids: [7], logprobs: [null], sum: 0 });

  const again = await zo2(["score", "--model", model, "--quiet"], `${JSON.stringify({ ids: text.ids })}\n`);
  expect(closing(again.out).sum).toBeCloseTo(text.sum, 4);
});

it.each([
  [
    "fzoo",
    /^learning rate (\S+), 0\.15 of the inverse curvature: along 8 directions .*method makes \d.*root mean squares/m,
  ],
  ["es", /^learning rate (\S+), 0\.15 of the inverse curvature: along 8 directions .*method makes 1\.00\)/m],
])(
  "a learning rate that was chosen for %s is said with its reasons, and is that of the steps",
  async (method, said) => {
    const few = ["--steps", "1", "--batch-size", "2", "--unit-bytes", "600KB", "--metrics", "steps.jsonl"];
    const { code, err } = await zo2([
      ...["train", "--model", model, "--data", "dev.jsonl", "--out", "tuned", ...few, ...task],
      ...["--method", method, "--directions", "2", "--learning-rate", "auto"],
    ]);
    expect([code, err.includes("ZO2_ERR")]).toEqual([0, false]);
    const [step] = fs.readFileSync(path.join(work, "steps.jsonl"), "utf8").split("\n");
    expect(String(JSON.parse(step ?? "").learningRate)).toBe(said.exec(err)?.[1]);
  },
);

it("SIGINT finishes the step, saves what was learned and exits with 130", async () => {
  const args = [
    "train",
    "--model",
    model,
    "--data",
    path.join(reviews, "train.jsonl"),
    "--out",
    "tuned",
    "--steps",
    "100000",
    "--batch-size",
    "4",
    "--learning-rate",
    "1e-4",
    "--metrics",
    "steps.jsonl",
    ...task,
  ];
  const child = spawn(process.execPath, [program, ...args], { cwd: work, stdio: ["ignore", "pipe", "pipe"] });
  const exit = new Promise<number | null>((resolve) => child.on("exit", resolve));
  const metrics = path.join(work, "steps.jsonl");
  while (
    child.exitCode === null &&
    (!fs.existsSync(metrics) || fs.readFileSync(metrics, "utf8").split("\n").length < 3)
  )
    await new Promise((r) => setTimeout(r, 20));
  child.kill("SIGINT");
  expect(await exit).toBe(130);
  const steps = fs.readFileSync(metrics, "utf8").trimEnd().split("\n").length;
  expect(steps).toBeLessThan(100000);
  expect((await zo2(["eval", "--model", "tuned", "--data", "dev.jsonl", "--json", ...task])).code).toBe(0);
});

it.each([
  [
    ["train", "--model", "nowhere", "--data", "dev.jsonl", "--out", "o", "--steps", "1", "--learning-rate", "1"],
    1,
    /^ZO2_ERR_\w+: .*nowhere.*\n$/,
  ],
  [
    ["eval", "--model", model, "--data", "dev.jsonl"],
    1,
    /ZO2_ERR_DATA: dev\.jsonl: 40 of 40 lines .*\n( {2}dev\.jsonl:\d+: .*--prompt.*\n){20}$/,
  ],
  [["eval", "--model", model, "--data", "dev.jsonl", "--device", "cuda:99", ...task], 1, /^ZO2_ERR_DEVICE: .*\n$/],
  [["train", "--modle", model], 2, /--model/],
])("zo2 %j fails in one line, or one for each line of its data, with an exit code", async (args, code, message) => {
  const result = await zo2(args);
  expect(result.code).toBe(code);
  expect(result.err).toMatch(message);
  expect(result.err).not.toMatch(/\n\s+at /);
});
