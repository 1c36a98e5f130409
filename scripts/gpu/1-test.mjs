/**
 * Stage 1: builds for the device that is here; runs the C++ tests, first those of the kernels that only a GPU can
 * prove; measures transfers, the locking of host memory, and what device memory limits; runs the native suite.
 */
import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import process from "node:process";
import { bench, deviceOf } from "./lib/benches.mjs";
import { build } from "./lib/build.mjs";
import { listTests, onCuda, outcome } from "./lib/cpp-tests.mjs";
import { drawRate, row } from "./lib/predict.mjs";
import { root } from "./lib/root.mjs";

export const name = "1-test";

/** Longest that one C++ test may take on a GPU, where the slowest needs a few: what hangs must not take the stage. */
const SECONDS_EACH = 60;
/** Tests that a GPU must have before others are worth their time. */
const FIRST = ["cuda_linear_sm90_test", "cuda_linear_test", "cuda_cross_entropy_sm90_test", "cuda_attention_test"];
/** They make the device fail, after which a driver may want a new process. */
const LAST = ["failures_test@cuda"];
/** What a GPU has to skip, with the reason. */
const SKIPPED = [
  [/^test\/native\/model\/race\.test\.ts: /, "waits are left out for the race detector alone"],
  [/smollm2\.test\.ts: /, "weights come by network"],
];
/** Of a dry run: what shows that tests run and are counted. */
const DRY_TESTS = ["cuda_convert_test"];
const DRY_SUITE = ["test/native/handles.test.ts"];

/** First, the others, last. */
export function inOrder(tests) {
  const rank = (test) => {
    if (LAST.includes(test)) return FIRST.length + 1;
    return FIRST.includes(test) ? FIRST.indexOf(test) : FIRST.length;
  };
  return [...tests].sort((a, b) => rank(a.name) - rank(b.name));
}

/** Failures of a suite, without what a GPU has to skip; that is noted as skipped. */
export function unexpected(failures, skip) {
  return failures.filter((failure) => {
    const [, reason] = SKIPPED.find(([known]) => known.test(failure)) ?? [];
    if (reason !== undefined) skip(failure, reason);
    return reason === undefined;
  });
}

function cppTests(stage, tests) {
  const seconds = stage.dry ? Number.POSITIVE_INFINITY : SECONDS_EACH;
  for (const { name: test, command, env } of tests) {
    const run = stage.run(command[0], command.slice(1), { env: { ...env, ZO2_TEST_BACKEND: "cuda" }, seconds });
    const ended = outcome(run);
    stage.add({ name: `cpp ${test}`, ...ended, ...(ended.ok ? {} : { tail: run.tail }) });
  }
}

/** The jest suite of the native layer with every model and device on CUDA: what is skipped and not in SKIPPED fails. */
function nativeSuite(stage) {
  const report = path.join(stage.out, `${stage.name}-native.json`);
  const program = createRequire(import.meta.url).resolve("jest/bin/jest");
  const files = stage.dry ? DRY_SUITE : [];
  const flags = ["--selectProjects", "native", "--json", `--outputFile=${report}`];
  const env = { ZO2_BUILD_DIR: stage.buildDir, ZO2_TEST_DEVICE: "cuda" };
  const run = stage.run(process.execPath, [program, "--rootDir", root, ...flags, ...files], { env });
  if (!fs.existsSync(report)) {
    const problem = run.problem ?? "no report";
    return stage.add({ name: "native suite", ok: false, seconds: run.seconds, problem, tail: run.tail });
  }
  const result = JSON.parse(fs.readFileSync(report, "utf8"));
  fs.rmSync(report);
  const counts = {
    passed: result.numPassedTests,
    failed: result.numFailedTests + result.numRuntimeErrorTestSuites,
    skipped: result.numPendingTests + result.numTodoTests,
  };
  const notPassed = result.testResults.flatMap((file) =>
    file.assertionResults
      .filter((test) => test.status !== "passed")
      .map((test) => `${path.relative(root, file.name)}: ${test.fullName}: ${test.status}`),
  );
  const failures = unexpected(notPassed, (test, reason) => stage.skip(test, reason));
  const ok = run.ok && counts.passed > 0 && counts.failed === 0 && failures.length === 0;
  return stage.add({ name: "native suite", ok, seconds: run.seconds, ...counts, failures });
}

function transferRows(lines, rates) {
  return lines.map((line) => {
    const both = line.case === "both at once";
    return row({
      name: `transfer, ${line.case}, ${line.bytes / (both ? 2 : 1) / 2 ** 20} MiB`,
      unit: "byte/s",
      measured: line.bytesPerSecond,
      predicted: rates.transfer * (both ? 2 : 1),
      basis: `${rates.link}, payload`,
      peer: line.bytesPerSecondCeiling,
      goal: { of: "peer", least: 0.95 },
    });
  });
}

function pinningRows(stage, lines, rates) {
  return lines.flatMap((line) => {
    const size = `${line.bytes / 2 ** 20} MiB of host memory`;
    if (line.skipped !== undefined) {
      stage.skip(`locking ${size}`, line.skipped);
      return [];
    }
    return [
      row({
        name: `locking ${size}`,
        unit: "byte/s",
        measured: line.bytesPerSecond,
        predicted: line.touchedBytesPerSecond,
        basis: "the same pages touched and not locked, in this call",
        goal: { of: "predicted", least: 0.5 },
        seconds: line.seconds,
      }),
      row({
        name: `upload from ${size}`,
        unit: "byte/s",
        measured: line.uploadBytesPerSecond,
        predicted: rates.transfer,
        basis: `${rates.link}, payload`,
        goal: { of: "predicted", least: 0.9 },
      }),
    ];
  });
}

/** Prepare and the norms: limited by device memory, prepare perhaps by the instructions that noise takes. */
export function memoryRows(lines, rates) {
  return lines.map((line) => {
    const prepare = line.bench === "prepare";
    const draws = line.case === "update and perturb" ? 2 : 1;
    const issue = prepare
      ? (drawRate(line.noise, rates) / draws) * (line.bytes / line.elements)
      : Number.POSITIVE_INFINITY;
    const what = prepare ? `${line.case}, ${line.noise}, ${line.wire}` : `${line.case}, ${line.out}`;
    return row({
      name: `${line.bench}, ${what}`,
      unit: "byte/s",
      measured: line.bytesPerSecond,
      predicted: Math.min(rates.memory, issue),
      basis: issue < rates.memory ? "instructions issued" : `memory bandwidth (${rates.source})`,
      peer: line.bytesPerSecondCeiling,
      goal: { of: "predicted", least: 0.85 },
    });
  });
}

function hopperRow({ capability, hopperKernel }) {
  return row({
    name: "the matrix product for Hopper is in this build and chosen",
    unit: "1: yes",
    measured: hopperKernel,
    predicted: capability === 90 ? 1 : 0,
    basis: "compute capability 9.0 has it, no other",
    goal: { of: "predicted", least: 1, most: 1 },
  });
}

export async function run(stage) {
  if (!build(stage)) return;
  const { facts, rates } = deviceOf(stage);
  stage.measured([hopperRow(facts)]);
  const tests = inOrder(onCuda(listTests(stage.buildDir)));
  if (tests.length === 0) throw new Error("the build has no C++ test for the CUDA backend");
  const early = ({ name: test }) => (stage.dry ? DRY_TESTS : FIRST).includes(test);
  cppTests(stage, tests.filter(early));
  stage.measured(transferRows(bench(stage, "upload_bench"), rates));
  stage.measured(pinningRows(stage, bench(stage, "pinning_bench"), rates));
  stage.measured(memoryRows(bench(stage, "memory_bench"), rates));
  const late = tests.filter((test) => !early(test));
  if (stage.dry) stage.skip(`${late.length} C++ tests`, "a dry run takes one; npm test runs them all");
  else cppTests(stage, late);
  nativeSuite(stage);
}
