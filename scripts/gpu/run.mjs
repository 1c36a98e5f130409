/**
 * One command for a host with a GPU: checks, builds, tests, measures, and leaves one file, which docs/gpu.md describes.
 *
 *   npm run gpu                        all three stages
 *   npm run gpu -- 1                   one of them: 1 (tests, transfers, host memory), 2 (kernels), 3 (whole steps)
 *   npm run gpu -- --dry               tiny sizes on the emulated backend, without a GPU: no figure means anything
 *   npm run gpu -- 1 --build-only 9.0  builds for that compute capability, and runs nothing
 *
 * --out DIR        where results go (default $OUT, or gpu-out/ here)
 * --build-dir DIR  where the build lies (default build-gpu/, dry build-gpu-emulated/)
 * --original DIR   a checkout of the original ZO2, which stage 3 then measures too
 * --limit SECONDS  longest that one stage may take (default 480; a dry run 3600)
 *
 * Exit status: 0 all is well, 1 something failed, 2 an argument is wrong, 3 something is missing here (one line with
 * the code of the error, one with what to do).
 */
import fs from "node:fs";
import path from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { missing } from "./lib/check.mjs";
import { root } from "./lib/root.mjs";
import { LIMIT_SECONDS, runStage } from "./lib/stage.mjs";
import * as tests from "./1-test.mjs";
import * as kernels from "./2-kernels.mjs";
import * as steps from "./3-steps.mjs";

const STAGES = [tests, kernels, steps];
const DRY_LIMIT_SECONDS = 60 * 60;
const OPTIONS = {
  dry: { type: "boolean", default: false },
  out: { type: "string" },
  limit: { type: "string" },
  original: { type: "string" },
  "build-dir": { type: "string" },
  "build-only": { type: "string" },
};
const [WRONG_ARGUMENT, MISSING] = [2, 3];

/** @throws Error that says which argument is wrong */
function readArguments(args) {
  const { values, positionals } = parseArgs({ args, options: OPTIONS, allowPositionals: true });
  const chosen = positionals.map((text) => STAGES.find(({ name }) => name === text || name.startsWith(`${text}-`)));
  const wrong = positionals.find((_, i) => chosen[i] === undefined);
  if (wrong !== undefined) throw new Error(`there is no stage ${wrong}; there are 1, 2 and 3`);
  const capability = values["build-only"] ?? null;
  if (capability !== null && !/^\d+\.\d$/.test(capability))
    throw new Error(`--build-only ${capability} is no compute capability, such as 9.0`);
  const limitSeconds = Number(values.limit ?? (values.dry || capability !== null ? DRY_LIMIT_SECONDS : LIMIT_SECONDS));
  if (!(limitSeconds > 0)) throw new Error(`--limit ${values.limit} is no number of seconds`);
  return {
    stages: chosen.length > 0 ? STAGES.filter((stage) => chosen.includes(stage)) : STAGES,
    dry: values.dry,
    out: path.resolve(values.out ?? process.env.OUT ?? "gpu-out"),
    buildDir: path.resolve(root, values["build-dir"] ?? `build-gpu${values.dry ? "-emulated" : ""}`),
    buildOnly: capability,
    original: values.original ?? null,
    limitSeconds,
  };
}

/** What is closest to its goal comes last, what is furthest from it first. */
const shortfall = ({ goal, ratio, toPeer }) => {
  const reached = (goal.of === "peer" ? toPeer : ratio) ?? 0;
  return goal.least === undefined ? goal.most / reached : reached / goal.least;
};

function summary(results, dry, file) {
  const rows = dry ? [] : results.flatMap((result) => result.rows);
  const missed = rows.filter((row) => row.met === false).sort((a, b) => shortfall(a) - shortfall(b));
  for (const { name, measured, predicted, unit, goal } of missed) {
    const beside = `predicted ${predicted.toPrecision(4)} (goal ${JSON.stringify(goal)})`;
    console.log(`short of its goal: ${name}: ${measured.toPrecision(4)} ${unit}, ${beside}`);
  }
  const taken = results.flatMap((result) => result.steps);
  const passed = taken.filter((step) => step.ok).length;
  console.log(`the file to send: ${file}`);
  const counts = `${passed} passed, ${taken.length - passed} failed`;
  // The second line is the one that CI adds up.
  console.log(`gpu: ${counts}`);
  console.log(counts);
}

async function main(args) {
  let options;
  try {
    options = readArguments(args);
  } catch (error) {
    console.error(`gpu: ${error.message}`);
    return WRONG_ARGUMENT;
  }
  const lacking = missing(options);
  if (lacking !== null) {
    console.error(`${lacking.code}: ${lacking.message}`);
    return MISSING;
  }
  const results = [];
  const file = path.join(options.out, "zo2-gpu.json");
  for (const { name, run } of options.stages) {
    results.push(await runStage(name, run, options));
    // What is there so far: a later stage may take the machine with it.
    fs.writeFileSync(file, `${JSON.stringify({ dry: options.dry, stages: results }, null, 1)}\n`);
  }
  summary(results, options.dry, file);
  return results.every((result) => result.ok) ? 0 : 1;
}

process.exitCode = await main(process.argv.slice(2));
