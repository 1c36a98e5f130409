import { COMMANDS } from "../../../src/cli/program.js";
import { FLAGS, longFlag, type FlagName } from "../../../src/cli/flags.js";
import { knownPaths } from "../../../src/config/describe.js";
import { evaluateOptionsSchema } from "../../../src/config/evaluate.js";
import { generateOptionsSchema } from "../../../src/config/generate.js";
import { planOptionsSchema } from "../../../src/config/plan.js";
import { modelOptionsSchema } from "../../../src/config/model.js";
import { taskEvaluateOptionsSchema, taskOptionsSchema } from "../../../src/config/task.js";
import { trainerOptionsSchema } from "../../../src/config/trainer.js";

const names = Object.keys(FLAGS) as FlagName[];

test("a flag's key is its long name in camelCase, without `no`", () => {
  for (const name of names) {
    const words = longFlag(name).replace(/^--(no-)?/, "");
    expect(name).toBe(words.replace(/-(\w)/g, (_, c: string) => c.toUpperCase()));
  }
});

test("every option that a flag says it sets is one of the library's", () => {
  const known = new Set(
    [
      ...[trainerOptionsSchema, modelOptionsSchema, evaluateOptionsSchema, generateOptionsSchema, planOptionsSchema],
      ...[taskOptionsSchema, taskEvaluateOptionsSchema],
    ].flatMap((schema) => knownPaths(schema)),
  );
  for (const name of names) {
    const flag = FLAGS[name];
    if ("path" in flag && flag.path !== undefined) expect(known).toContain(flag.path);
  }
});

test("`zo2 train` has the flags that users know", () => {
  const expected =
    "model revision ignore-config-fields data out steps batch-size micro-batch-size method directions fitness rank " +
    "interval antithetic learning-rate lr-schedule " +
    "warmup-steps eps weight-decay noise seed device dtype lora lora-alpha lora-target prefix tf32 threads offload " +
    "wire device-memory host-memory adapter " +
    "disk-path disk-memory " +
    "unit-bytes slots prepare-ahead activations no-overlap no-deferred-update rounding write-back-every max-length " +
    "truncation freeze prompt choices completion label-field label-map reduction no-check-data skip-bad-lines " +
    "eval-data eval-every no-keep-best metrics save-dtype run resume durability save-every keep on-divergence " +
    "config json debug quiet task task-data task-train task-dev task-test task-seed faithful objective";
  const train = COMMANDS.find((command) => command.name === "train");
  expect((train?.flags ?? []).map(longFlag).sort()).toEqual(
    expected
      .split(" ")
      .map((flag) => `--${flag}`)
      .sort(),
  );
});
