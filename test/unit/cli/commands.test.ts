import { Zo2Error } from "../../../src/base/errors.js";
import { zo2 } from "./fake.js";

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
