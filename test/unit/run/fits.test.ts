import type { RunHeader } from "../../../src/journal/header.js";
import { checkFits } from "../../../src/run/fits.js";

const method = { name: "mezo-sgd", learningRate: 1e-6, eps: 1e-3, weightDecay: 0, noise: "gaussian" };
const schedule = { name: "constant", warmupSteps: 0 };

function headerOf(training: object): RunHeader {
  const data = { path: "train.jsonl", examples: 4, hash: "0" };
  return { numerics: { compute: "fp32", tf32: false }, training, data } as unknown as RunHeader;
}

it("a run goes on that began before its method had an option, by the option's default alone", () => {
  const before = headerOf({ method: { ...method, schedule } });
  const now = (directions: number) => headerOf({ method: { ...method, directions, schedule } });
  expect(() => checkFits(before, now(1), "run.zo2")).not.toThrow();
  expect(() => checkFits(before, now(2), "run.zo2")).toThrow('option "method"');
  expect(() => checkFits(headerOf({ method: { name: "later" } }), now(1), "run.zo2")).toThrow('option "method"');
});
