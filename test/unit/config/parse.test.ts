import type { z } from "zod";
import { evaluateOptionsSchema } from "../../../src/config/evaluate.js";
import { modelOptionsSchema } from "../../../src/config/model.js";
import { parseOptions } from "../../../src/config/parse.js";
import { trainerOptionsSchema } from "../../../src/config/trainer.js";
import { isZo2Error } from "../../../src/base/errors.js";

const mezo = { name: "mezo-sgd", learningRate: 1e-6 };
const required = { method: { name: "mezo-sgd", learningRate: 1e-6 }, steps: 10 };

function messageOf(schema: z.ZodType, input: unknown): string {
  try {
    parseOptions(schema, input, "options");
  } catch (error) {
    if (!isZo2Error(error)) throw error;
    expect(error.code).toBe("ZO2_ERR_CONFIG");
    return error.message;
  }
  throw new Error(`was accepted: ${JSON.stringify(input)}`);
}

test("functions of an objective are taken as they are, and nothing else is in their place", () => {
  const objective = { from: "logits", loss: () => 1, positions: () => [0] } as const;
  expect(parseOptions(trainerOptionsSchema, { ...required, objective }, "options").objective).toMatchObject(objective);
  for (const wrong of [{ loss: 1 }, { loss: undefined }, { positions: [0] }]) {
    const [name] = Object.keys(wrong);
    const message = messageOf(trainerOptionsSchema, { ...required, objective: { ...objective, ...wrong } });
    expect(message).toMatch(new RegExp(`"objective\\.${name}".*must be a function of the`));
  }
});

test("what is known beside an unknown option is what stands on its level", () => {
  expect(messageOf(modelOptionsSchema, { offload: { zzzzzzzzz: 1 } })).toContain(
    'unknown option "offload.zzzzzzzzz"; known here: to, wire, deviceMemory, hostMemory, diskPath, diskMemory, ' +
      "slots, unitBytes, prepareAhead, activations, writeBackEvery, overlap",
  );
});

describe("unknown options", () => {
  test.each([
    [trainerOptionsSchema, { ...required, stepz: 1 }, 'unknown option "stepz"; did you mean "steps"?'],
    [
      trainerOptionsSchema,
      { ...required, method: { ...required.method, lerningRate: 1 } },
      'unknown option "method.lerningRate"; did you mean "method.learningRate"?',
    ],
    [
      trainerOptionsSchema,
      { ...required, learningRate: 1 },
      'unknown option "learningRate"; did you mean "method.learningRate"?',
    ],
    [trainerOptionsSchema, { ...required, batch_size: 1 }, 'unknown option "batch_size"; did you mean "batchSize"?'],
    [modelOptionsSchema, { offload: { slot: 2 } }, 'unknown option "offload.slot"; did you mean "offload.slots"?'],
    [
      modelOptionsSchema,
      { deviceMemory: "4GiB" },
      'unknown option "deviceMemory"; did you mean "offload.deviceMemory"?',
    ],
    [
      evaluateOptionsSchema,
      { banana: 1 },
      'unknown option "banana"; known here: batchSize, maxLength, truncation, reduction, template, labelMap, ' +
        "checkData, skipBadLines",
    ],
  ])("are refused with the name that was meant, wherever it stands (%#)", (schema, input, message) => {
    expect(messageOf(schema, input)).toBe(`options: ${message}`);
  });
});

describe("wrong values", () => {
  test.each([
    [{ ...required, steps: 0 }, 'option "steps" is 0; must be at least 1'],
    [{ ...required, steps: 1.5 }, 'option "steps" is 1.5; must be a whole number'],
    [{ ...required, steps: "10" }, 'option "steps" is "10"; must be a number'],
    [{ ...required, steps: undefined }, 'option "steps" is missing; give a number'],
    [
      { ...required, method: { name: "mezo-sgd" } },
      'option "method.learningRate" is missing; give a number, or "auto"',
    ],
    [
      { ...required, method: { name: "mezo-sgd", learningRate: 0 } },
      'option "method.learningRate" is 0; must be more than 0',
    ],
    [
      { ...required, method: { name: "mezo-sgd", learningRate: NaN } },
      'option "method.learningRate" is NaN; must be a finite number, or "auto"',
    ],
    [
      { ...required, method: { name: "mezo-sgd", learningRate: Infinity } },
      'option "method.learningRate" is Infinity; must be a finite number, or "auto"',
    ],
    [
      { ...required, method: { name: "mezo", learningRate: 1 } },
      'option "method.name" is "mezo"; must be "mezo-sgd", "fzoo", "es" or "lozo"',
    ],
    [
      { ...required, method: { ...mezo, learningRate: "best" } },
      'option "method.learningRate" is "best"; must be a number, or "auto"',
    ],
    [
      { ...required, method: { ...mezo, name: "es", learningRate: "measured" } },
      'option "method.learningRate" is "measured"; must be a number, or "auto"',
    ],
    [{ ...required, method: { ...mezo, directions: 0 } }, 'option "method.directions" is 0; must be at least 1'],
    [{ ...required, method: { ...mezo, directions: 65 } }, 'option "method.directions" is 65; must be at most 64'],
    [{ ...required, method: { ...mezo, fitness: "rank" } }, 'option "method.fitness" does not go with name "mezo-sgd"'],
    [
      { ...required, method: { ...mezo, direction: 2 } },
      'unknown option "method.direction"; did you mean "method.directions"?',
    ],
    [
      { ...required, method: { ...mezo, name: "fzoo", directions: 1 } },
      'option "method.directions" is 1; must be at least 2',
    ],
    [
      { ...required, method: { ...mezo, name: "fzoo", noise: "gaussian" } },
      'option "method.noise" is "gaussian"; must be "rademacher"',
    ],
    [
      { ...required, method: { ...mezo, name: "es", directions: 1 } },
      'option "method.directions" is 1; must be at least 2, or antithetic: one loss alone is neither good nor bad',
    ],
    [
      { ...required, method: { ...mezo, name: "es", fitness: "ranks" } },
      'option "method.fitness" is "ranks"; must be "zscore" or "rank"',
    ],
    [{ ...required, truncation: "lft" }, 'option "truncation" is "lft"; must be "error", "left" or "right"'],
    [{ ...required, freeze: ["a", 3] }, 'option "freeze[1]" is 3; must be text'],
    [{ ...required, freeze: "a" }, 'option "freeze" is "a"; must be a list'],
    [{ ...required, microBatchSize: 32 }, 'option "microBatchSize" is 32; must be at most batchSize (16)'],
    [{ ...required, seed: 0.5 }, 'option "seed" is 0.5; must be a safe integer, or a bigint from -2^63 to 2^64 - 1'],
    [
      { ...required, seed: 2n ** 64n },
      'option "seed" is 18446744073709551616n; must be a safe integer, or a bigint from -2^63 to 2^64 - 1',
    ],
    [{ ...required, evaluation: { every: 5 } }, 'option "evaluation.data" is undefined; must be a path or examples'],
    [
      { ...required, template: { prompt: "{a}", completion: "b", choices: ["x", "y"] } },
      'option "template.prompt" is "{a}"; needs choices or a completion, and has both; give one of the two',
    ],
    [
      { ...required, template: { prompt: "{a}", choices: ["x"] } },
      'option "template.choices" holds 1; must hold at least 2',
    ],
    [null, "the value is null; must be an object of options"],
    [undefined, "nothing was given; give an object of options"],
  ])("are refused with what was given and what to give (%#)", (input, message) => {
    expect(messageOf(trainerOptionsSchema, input)).toBe(`options: ${message}`);
  });

  test("every problem is reported at once, on one line", () => {
    const message = messageOf(modelOptionsSchema, {
      device: "gpu",
      threads: 0,
      offload: { deviceMemory: "4 elephants", slts: 3 },
    });
    expect(message).toMatch(/^options: 4 problems: \(1\) .*\(2\) .*\(3\) .*\(4\) /);
    for (const part of [
      '"device" is "gpu"; must be "auto", "cpu", "cuda" or "cuda:N"',
      '"threads" is 0',
      '"offload.deviceMemory" is "4 elephants"',
      '"offload.slots"',
    ]) {
      expect(message).toContain(part);
    }
    expect(message).not.toContain("\n");
  });
});

describe("resolved options", () => {
  test("hold the documented defaults", () => {
    expect(parseOptions(modelOptionsSchema, {}, "m")).toEqual({
      device: "auto",
      hub: {},
      ignoreConfigFields: [],
      journals: [],
      offload: {
        ...{ to: "auto", wire: "stored", prepareAhead: "auto", activations: "auto" },
        ...{ writeBackEvery: 1, overlap: true },
      },
      workload: { training: true, method: { name: "mezo-sgd", directions: 1 }, batchSize: 1 },
      dtype: "fp32",
      tf32: false,
      rounding: "auto",
    });
    expect(parseOptions(trainerOptionsSchema, required, "t")).toEqual({
      method: {
        name: "mezo-sgd",
        directions: 1,
        learningRate: 1e-6,
        eps: 1e-3,
        weightDecay: 0,
        noise: "gaussian",
        schedule: { name: "constant", warmupSteps: 0 },
      },
      steps: 10,
      batchSize: 16,
      seed: 0n,
      truncation: "error",
      reduction: "mean",
      freeze: [],
      deferredUpdate: true,
      durability: "second",
      onDivergence: "stop",
      checkData: true,
      skipBadLines: false,
    });
    const methodOf = (method: object) => parseOptions(trainerOptionsSchema, { ...required, method }, "t").method;
    const { method: own } = parseOptions(trainerOptionsSchema, required, "t");
    expect(methodOf({ name: "fzoo", learningRate: 1e-6 })).toEqual({
      ...{ ...own, name: "fzoo", directions: 8, noise: "rademacher" },
    });
    expect(methodOf({ name: "es", learningRate: 1e-6 })).toEqual({
      ...{ ...own, name: "es", directions: 30, antithetic: false, fitness: "zscore" },
    });
    expect(parseOptions(evaluateOptionsSchema, {}, "e")).toEqual({
      batchSize: 16,
      truncation: "error",
      reduction: "mean",
      checkData: true,
      skipBadLines: false,
    });
  });

  test("are frozen all the way down, while the caller's own objects are left as they were", () => {
    const data = [{ text: "a" }];
    const freeze = ["x*"];
    const input = { ...required, freeze, evaluation: { data, every: 5 } };
    const resolved = parseOptions(trainerOptionsSchema, input, "t");
    for (const part of [resolved, resolved.method, resolved.method.schedule, resolved.freeze, resolved.evaluation])
      expect(Object.isFrozen(part)).toBe(true);
    expect(resolved.evaluation?.data).toBe(data);
    for (const own of [input, data, data[0], freeze, input.evaluation, required.method])
      expect(Object.isFrozen(own)).toBe(false);
  });

  test("leave out what was given as undefined, so that absent is absent", () => {
    const resolved = parseOptions(
      modelOptionsSchema,
      { threads: undefined, offload: { unitBytes: undefined }, test: undefined },
      "m",
    );
    expect(Object.keys(resolved)).not.toContain("threads");
    expect(Object.keys(resolved)).not.toContain("test");
    expect(Object.keys(resolved.offload)).not.toContain("unitBytes");
  });

  test("name one seed by its 64 bits, whichever way it was written", () => {
    const seedOf = (seed: number | bigint) => parseOptions(trainerOptionsSchema, { ...required, seed }, "t").seed;
    expect(seedOf(0)).toBe(0n);
    expect(seedOf(-1)).toBe(2n ** 64n - 1n);
    expect(seedOf(2n ** 64n - 1n)).toBe(2n ** 64n - 1n);
    expect(seedOf(-(2n ** 63n))).toBe(2n ** 63n);
    expect(seedOf(Number.MAX_SAFE_INTEGER)).toBe(2n ** 53n - 1n);
  });

  test("of weights on disk name the folder", () => {
    const to = "disk" as const;
    expect(messageOf(modelOptionsSchema, { offload: { to } })).toMatch(/"offload\.diskPath".*"offload\.to" = "disk"/);
    const { offload } = parseOptions(modelOptionsSchema, { offload: { to, diskPath: "/d", diskMemory: "4KiB" } }, "m");
    expect(offload).toMatchObject({ to, diskPath: "/d", diskMemory: 4096 });
  });

  test("turn amounts of memory into bytes", () => {
    const { offload } = parseOptions(modelOptionsSchema, { offload: { deviceMemory: "4GiB", unitBytes: 4096 } }, "m");
    expect(offload.deviceMemory).toBe(4 * 2 ** 30);
    expect(offload.unitBytes).toBe(4096);
  });
});
