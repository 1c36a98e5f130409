import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Zo2Error } from "../../../src/base/errors.js";
import { zo2 } from "./fake.js";

let dir: string;
beforeEach(async () => (dir = await mkdtemp(join(tmpdir(), "zo2-run-"))));
afterEach(() => rm(dir, { recursive: true, force: true }));

const begin = (...more: string[]) => {
  const flags = ["--model", dir, "--data", join(dir, "d.jsonl"), "--out", join(dir, "tuned")];
  return ["train", ...flags, "--steps", "4", "--learning-rate", "1e-4", "--seed", "18446744073709551615", ...more];
};

describe("the folder of a run", () => {
  test("keeps the flags, which a run is resumed with, and others go over them", async () => {
    await zo2(begin("--freeze", "a*", "b", "--no-overlap"));
    const run = join(dir, "tuned.run");
    const { calls, code, err } = await zo2(["train", "--resume", run, "--steps", "6"], { resumedAt: 4 });
    expect(code).toBe(0);
    expect(err).toContain(`${run}: 4 of 6 steps were taken before`);
    expect(calls.slice(0, 3)).toEqual([
      ["loadModel", dir, { workload: { training: true }, offload: { overlap: false, unitBytes: 2 ** 20 } }],
      [
        "resumeTrainer",
        run,
        {
          ...{ method: { name: "mezo-sgd", learningRate: 1e-4, schedule: {} }, steps: 6 },
          ...{ seed: 2n ** 64n - 1n, freeze: ["a*", "b"], run },
        },
      ],
      ["fit", join(dir, "d.jsonl")],
    ]);
  });

  test("is one that holds no other run, unless it is named", async () => {
    const runs = [];
    for (let i = 0; i < 3; i++) {
      const { named } = await zo2(begin());
      const options = named("createTrainer")[0]?.[0] as { run: string };
      runs.push(options.run);
      await writeFile(join(options.run, "run.zo2"), "");
    }
    expect(runs).toEqual(["tuned.run", "tuned.run-2", "tuned.run-3"].map((name) => join(dir, name)));
    const named = await zo2(begin("--run", join(dir, "mine")));
    expect(named.named("createTrainer")[0]?.[0]).toMatchObject({ run: join(dir, "mine") });
    const none = await zo2(begin("--no-run"));
    expect(none.named("createTrainer")[0]?.[0]).not.toHaveProperty("run");
  });

  test("keeps snapshots, and says what becomes of a step that went wrong", async () => {
    const { named } = await zo2(begin("--save-every", "2", "--keep", "3", "--on-divergence", "rollback:20"));
    const options = { snapshots: { every: 2, keep: 3 }, onDivergence: "rollback:20" };
    expect(named("createTrainer")[0]?.[0]).toMatchObject(options);
    const again = await zo2(["train", "--resume", join(dir, "tuned.run"), "--on-divergence", "skip"], { resumedAt: 1 });
    expect(again.named("resumeTrainer")[0]?.[1]).toMatchObject({ ...options, onDivergence: "skip" });
  });

  test.each([
    [["--keep", "3"], "--keep needs --save-every N"],
    [["--save-every", "0"], "--save-every is 0"],
    [["--save-every", "2", "--no-run"], "--save-every is 2; needs --run"],
    [
      ["--on-divergence", "rollback"],
      '--on-divergence is "rollback"; must be "stop", "skip", "ignore", or "rollback:"',
    ],
    [["--on-divergence", "rollback:0"], '--on-divergence is "rollback:0"'],
    [["--on-divergence", "skip", "--no-run"], '--on-divergence is "skip"; needs --run'],
  ])("refuses %j", async (flags, message) => {
    const { code, err } = await zo2(begin(...flags));
    expect(err).toContain(message);
    expect(code).toBe(2);
  });

  test("is named where a step went wrong, with what goes on without it", async () => {
    const error = new Zo2Error("ZO2_ERR_DIVERGED", "step 2: the projected gradient is 1000");
    const { code, err } = await zo2(begin(), { failAfter: { step: 2, error } });
    expect(code).toBe(1);
    const run = join(dir, "tuned.run");
    expect(err).toContain(`whole up to the step before: zo2 train --resume ${run} --on-divergence skip goes on`);
    const without = await zo2(begin("--no-run"), { failAfter: { step: 2, error } });
    expect(without.err).not.toContain("--resume");
  });

  test("goes on with the metrics, without those of steps that come again", async () => {
    await zo2(begin());
    const metrics = join(dir, "tuned.run", "metrics.jsonl");
    const before = (await readFile(metrics, "utf8")).split("\n");
    await writeFile(metrics, `${before.slice(0, 3).join("\n")}\n{"step": 3, "lo`);
    await zo2(["train", "--resume", join(dir, "tuned.run")], { resumedAt: 2 });
    const lines = (await readFile(metrics, "utf8")).trimEnd().split("\n");
    expect(lines.map((line) => (JSON.parse(line) as { step: number }).step)).toEqual([0, 1, 2, 3]);
    expect(lines.slice(0, 2)).toEqual(before.slice(0, 2));
  });

  test("says how to go on where the run is stopped", async () => {
    const { out, code } = await zo2(begin(), { abortAfter: 2 });
    expect(code).toBe(130);
    expect(out).toContain(`to go on: zo2 train --resume ${join(dir, "tuned.run")}\n`);
  });

  test("leaves the best weights of an earlier process where they are, until something is better", async () => {
    const evaluations = ["--eval-data", "e.jsonl", "--eval-every", "2"];
    await zo2(begin(...evaluations));
    const resume = ["train", "--resume", join(dir, "tuned.run")];
    const bestBefore = { step: 2, loss: 0.5, accuracy: 0.9 };
    const script = { resumedAt: 2, bestBefore, evaluations: [{ loss: 7, accuracy: 0.1 }] };
    const worse = await zo2(resume, { ...script, neverBest: true });
    expect(worse.named("save")).toEqual([]);
    expect(worse.out).toContain("saved the weights after step 2");
    const better = await zo2(resume, script);
    expect(better.named("save")).toHaveLength(1);
  });

  test("is refused where there is none, and where its flags are not to be understood", async () => {
    const { err, code } = await zo2(["train", "--resume", join(dir, "none")]);
    expect([code, err]).toEqual([
      2,
      `ZO2_ERR_CONFIG: --resume ${join(dir, "none")}: keeps no run: there is no options.json in it, which ` +
        "stands there before the first step; start the run anew\n",
    ]);
    await mkdir(join(dir, "program"));
    await writeFile(join(dir, "program", "run.zo2"), "");
    const program = await zo2(["train", "--resume", join(dir, "program")]);
    expect(program.err).toContain("start the run anew, or where a program began it resume it there");
    await mkdir(join(dir, "bad"));
    await writeFile(join(dir, "bad", "options.json"), '{"stps": 4}');
    expect((await zo2(["train", "--resume", join(dir, "bad")])).err).toContain('"steps"');
  });
});
