/** `--adapter DIR`, for every command that loads a model. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { MODEL_FLAGS } from "../../../src/cli/flags.js";
import { COMMANDS } from "../../../src/cli/program.js";
import { trainArguments, zo2 } from "./fake.js";

let work: string;
beforeEach(() => {
  work = mkdtempSync(join(tmpdir(), "zo2-adapter-"));
});
afterEach(() => rmSync(work, { recursive: true }));

test("it is among the flags of a model, and reaches loadModel as a folder", async () => {
  expect(MODEL_FLAGS).toContain("adapter");
  const names = COMMANDS.filter(({ flags }) => flags.includes("adapter")).map(({ name }) => name);
  expect(names).toEqual(["train", "sweep", "eval", "score", "generate", "merge", "plan", "timeline", "info"]);
  const { code, named } = await zo2(["eval", "--model", "m", "--data", "d.jsonl", "--adapter", "tuned"]);
  expect([code, named("loadModel")[0]?.[1]]).toEqual([
    0,
    expect.objectContaining({ adapter: { name: "peft", folder: "tuned" } }),
  ]);
});

test("a folder and the shape of a new adapter do not go together", async () => {
  for (const more of [
    ["--lora", "8"],
    ["--lora-alpha", "2"],
    ["--lora-target", "q_proj"],
  ]) {
    const { code, err } = await zo2(["eval", "--model", "m", "--data", "d.jsonl", "--adapter", "tuned", ...more]);
    expect([code, err]).toEqual([2, expect.stringContaining("ZO2_ERR_CONFIG: --adapter and --lora are both given")]);
  }
});

test("what is trained may replace an adapter, and neither the one that it begins with nor a model", async () => {
  const [older, model] = [join(work, "tuned"), join(work, "model")];
  for (const dir of [older, model]) mkdirSync(dir);
  writeFileSync(join(older, "adapter_config.json"), "{}");
  writeFileSync(join(model, "config.json"), '{"model_type": "opt"}');
  const train = (out: string, ...more: string[]) => zo2([...trainArguments(work, ...more), "--out", out]);
  expect((await train(older, "--lora", "4", "--no-run")).code).toBe(0);
  expect((await train(older, "--adapter", "another", "--no-run")).code).toBe(0);
  const own = await train(older, "--adapter", older, "--no-run");
  expect([own.code, own.err]).toEqual([2, expect.stringContaining("is the folder of the adapter itself")]);
  for (const [dir, flags, what] of [
    [model, ["--lora", "4"], "is not the folder of an adapter"],
    [older, [], "is not the folder of a model"],
  ] as const) {
    const { code, err } = await train(dir, "--no-run", ...flags);
    expect([code, err]).toEqual([1, expect.stringContaining(what)]);
  }
});

test("a run that is taken up again elsewhere finds its adapter", async () => {
  const run = join(work, "run");
  await zo2(trainArguments(work, "--adapter", "tuned", "--run", run));
  const { named } = await zo2(["train", "--resume", run]);
  expect(named("loadModel")[0]?.[1]).toMatchObject({ adapter: { name: "peft", folder: resolve("tuned") } });
});
