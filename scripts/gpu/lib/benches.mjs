import path from "node:path";
import { describeLink } from "./facts.mjs";
import { ratesOf } from "./predict.mjs";

/** The objects that a bench printed, one on a line. */
export function linesOf(stdout) {
  return stdout
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line));
}

export const benchProgram = (stage, name) => path.join(stage.buildDir, "bench", name);
export const benchEnvironment = (stage) => (stage.dry ? { ZO2_BENCH_TINY: "1" } : {});

/** Runs one program of bench/gpu as a step. @returns its lines */
export function bench(stage, name) {
  const run = stage.run(benchProgram(stage, name), [], { env: benchEnvironment(stage) });
  const lines = linesOf(run.stdout);
  const problem = run.ok ? {} : { problem: run.problem, tail: run.tail };
  stage.add({ name, ok: run.ok && lines.length > 0, seconds: run.seconds, lines: lines.length, ...problem });
  return lines;
}

/** The device, and what it should reach; both go into the stage's result. @throws Error where it cannot be asked */
export function deviceOf(stage) {
  const [facts] = bench(stage, "device_facts");
  if (facts === undefined) throw new Error("nothing is known of the device, so nothing can be predicted");
  const rates = ratesOf(facts, stage.dry ? null : describeLink());
  Object.assign(stage.result, { device: facts, rates });
  return { facts, rates };
}
