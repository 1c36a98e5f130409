import { sweptPath } from "../../../src/config/sweep.js";
import { planTrials, type SweepParts } from "../../../src/sweep/trials.js";
import { folderName, numberOf, valuesText } from "../../../src/sweep/names.js";

const trainer = { steps: 10, method: { name: "mezo-sgd", learningRate: 1e-6, directions: 4 } };
const plan = (more: Partial<SweepParts>) => planTrials({ trainer, grid: {}, trials: [], ...more });
const messageOf = (more: Partial<SweepParts>): string => {
  try {
    plan(more);
  } catch (error) {
    expect(error).toMatchObject({ code: "ZO2_ERR_CONFIG" });
    return (error as Error).message;
  }
  throw new Error("was accepted");
};

test("an option is meant by its path, or by its last part where that is no other's", () => {
  expect(sweptPath("batchSize")).toEqual({ path: "batchSize" });
  expect(sweptPath("learningRate")).toEqual({ path: "method.learningRate" });
  expect(sweptPath("method.learningRate")).toEqual({ path: "method.learningRate" });
  expect(sweptPath("schedule")).toEqual({ path: "method.schedule" });
  expect(sweptPath("method.name")).toEqual({ path: "method" });
  expect(sweptPath("name")).toEqual({ problem: expect.stringContaining('"method.name" or "method.schedule.name"') });
  expect(sweptPath("lerningRate")).toEqual({ problem: 'is no option of a trainer; did you mean "learningRate"?' });
  for (const name of ["run", "evaluation", "evaluation.every", "test.noise"])
    expect(sweptPath(name)).toEqual({ problem: expect.stringContaining("the same for all trials") });
});

test("a grid has every combination, its last option changing fastest, and listed trials stand behind it", () => {
  const trials = plan({ grid: { learningRate: [1e-6, 1e-5], seed: [1, 2] }, trials: [{ eps: 0.01 }] });
  expect(trials.map(({ values }) => valuesText(values))).toEqual([
    ...["learningRate 1e-6, seed 1", "learningRate 1e-6, seed 2"],
    ...["learningRate 1e-5, seed 1", "learningRate 1e-5, seed 2", "eps 0.01"],
  ]);
  expect(trials[3]?.resolved).toMatchObject({
    ...{ steps: 10, seed: 2n },
    method: { learningRate: 1e-5, eps: 1e-3, directions: 4 },
  });
  expect(trials[4]?.resolved).toMatchObject({ seed: 0n, method: { learningRate: 1e-6, eps: 0.01 } });
});

test("another method keeps what methods have alike, and its own goes over what all are tried with", () => {
  const trials = plan({
    grid: { method: ["mezo-sgd", { name: "fzoo", learningRate: [1e-8, 1e-9] }, "es"], learningRate: [1e-7, 1e-6] },
  });
  expect(trials.map(({ resolved: { method } }) => [method.name, method.learningRate, method.directions])).toEqual([
    ["mezo-sgd", 1e-7, 4],
    ["mezo-sgd", 1e-6, 4],
    // Each once: the rates of the others are not its own.
    ["fzoo", 1e-8, 8],
    ["fzoo", 1e-9, 8],
    ["es", 1e-7, 30],
    ["es", 1e-6, 30],
  ]);
  expect(trials[2]?.values).toEqual({ method: "fzoo", learningRate: 1e-8 });
});

test("what was given is left as it was", () => {
  const given = { grid: { "schedule.warmupSteps": [1] }, trainer: { ...trainer } };
  const before = structuredClone(given);
  expect(messageOf(given)).toContain('"grid.schedule.warmupSteps" is no option');
  plan({ ...given, grid: { warmupSteps: [1] } });
  expect(given).toEqual(before);
});

describe("wrong sweeps", () => {
  test.each<[Partial<SweepParts>, string]>([
    [{}, 'option "grid" is empty; give options to try, such as learningRate: [1e-7, 1e-6]'],
    [{ grid: { seed: [] } }, 'option "grid.seed" holds no value; give those to try'],
    [{ grid: { seeed: [1] } }, 'option "grid.seeed" is no option of a trainer; did you mean "seed"?'],
    [{ trials: [{}, { run: "x" }] }, 'option "trials[1].run" is the same for all trials; give it with what they have'],
    [{ grid: { eps: [1, -1] } }, 'grid.eps[1]: option "method.eps" is -1; must be more than 0'],
    [{ grid: { method: ["mezo"] } }, 'grid.method[0]: option "method.name" is "mezo"; must be'],
    [
      { grid: { method: ["es", { name: "fzoo", fitness: "rank" }] } },
      'grid.method[1]: option "method.fitness" does not go with name "fzoo"',
    ],
    [{ trials: [{ steps: 0 }] }, 'trials[0].steps: option "steps" is 0; must be at least 1'],
    [{ grid: { seed: [1, 2] }, trainer: {} }, 'option "method" is missing'],
    [{ grid: { seed: Array(101).fill(1), eps: Array(101).fill(1) } }, 'option "grid" makes 10201 trials'],
  ])("are refused with the place of what is wrong (%#)", (more, message) => {
    expect(messageOf(more)).toContain(message);
  });

  test("say each problem once, whatever number of trials have it", () => {
    const message = messageOf({ grid: { eps: [-1, 1], seed: [1, 2, 0.5] }, trainer: { ...trainer, steps: 0 } });
    expect(message).toMatch(/^sweep options: 3 problems: /);
    for (const part of ['option "steps" is 0', 'grid.eps[0]: option "method.eps" is -1', "grid.seed[2]: "])
      expect(message.split(part)).toHaveLength(2);
  });
});

test("a folder is called by its number and its values, in what every file system takes", () => {
  expect(folderName(3, { learningRate: 1e-7, seed: -1 })).toBe("03-learningRate-1e-7-seed--1");
  expect(folderName(120, { method: "fzoo", schedule: { name: "linear" } })).toBe(
    "120-method-fzoo-schedule-name-linear",
  );
  expect(folderName(1, { prompt: "{text} / It was:\n" })).toBe("01-prompt--text-It-was");
  expect(folderName(1, {})).toBe("01");
  expect(folderName(1, { freeze: ["a".repeat(300)] })).toHaveLength(100);
  expect(["03-seed-1", "120", "x-3", "3x"].map(numberOf)).toEqual([3, 120, 0, 0]);
});
