import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { zo2 } from "./fake.js";

let dir: string;
beforeEach(async () => (dir = await mkdtemp(join(tmpdir(), "zo2-cli-"))));
afterEach(() => rm(dir, { recursive: true, force: true }));

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
