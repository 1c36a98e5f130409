import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import process from "node:process";
import { build } from "./lib/build.mjs";
import { listTests, onCuda, outcome } from "./lib/cpp-tests.mjs";
import { root, runStage } from "./lib/stage.mjs";

/** Longest that one C++ test may take on a GPU, where the slowest needs a few: what hangs must not take the stage. */
const SECONDS_EACH = 60;
/** Tests that a GPU must have before others are worth their time. */
const FIRST = ["cuda_linear_sm90_test", "cuda_linear_test", "cuda_attention_test"];
/** They make the device fail, after which a driver may want a new process. */
const LAST = ["failures_test@cuda"];
/** What a GPU has to skip, with the reason: waits are left out for the race detector, and weights come by network. */
const SKIPPED = [/^test\/native\/model\/race\.test\.ts: /, /smollm2\.test\.ts: /];

/** First, the others, last. */
function inOrder(tests) {
  const rank = ({ name }) =>
    FIRST.includes(name) ? FIRST.indexOf(name) : FIRST.length + (LAST.includes(name) ? 1 : 0);
  return [...tests].sort((a, b) => rank(a) - rank(b));
}

/**
 * The jest suite of the native layer with every model and device on CUDA. A test that is skipped and not in SKIPPED
 * fails the step.
 */
function jest(stage, project) {
  const report = path.join(stage.out, `${stage.name}-${project}.json`);
  const program = createRequire(import.meta.url).resolve("jest/bin/jest");
  const flags = ["--selectProjects", project, "--json", `--outputFile=${report}`];
  const env = { ZO2_BUILD_DIR: stage.buildDir, ZO2_TEST_DEVICE: "cuda" };
  const run = stage.run(process.execPath, [program, "--rootDir", root, ...flags], { env });
  if (!fs.existsSync(report))
    return stage.add({ name: `jest ${project}`, ok: false, seconds: run.seconds, problem: run.problem ?? "no report" });
  const result = JSON.parse(fs.readFileSync(report, "utf8"));
  fs.rmSync(report);
  const counts = {
    passed: result.numPassedTests,
    failed: result.numFailedTests + result.numRuntimeErrorTestSuites,
    skipped: result.numPendingTests + result.numTodoTests,
  };
  const failures = result.testResults.flatMap((file) =>
    file.assertionResults
      .filter((test) => test.status !== "passed")
      .map((test) => `${path.relative(root, file.name)}: ${test.fullName}: ${test.status}`),
  );
  const unexpected = failures.filter((failure) => !SKIPPED.some((known) => known.test(failure)));
  const ok = run.ok && counts.passed > 0 && counts.failed === 0 && unexpected.length === 0;
  return stage.add({
    name: `jest ${project}`,
    ok,
    seconds: run.seconds,
    ...counts,
    ...(failures.length > 0 ? { failures } : {}),
  });
}

await runStage("1-build-and-test", (stage) => {
  if (!build(stage)) return;
  const tests = onCuda(listTests(stage.buildDir));
  if (tests.length === 0) throw new Error("the build has no C++ test for the CUDA backend");
  const seconds = stage.emulated ? Number.POSITIVE_INFINITY : SECONDS_EACH;
  for (const { name, command, env } of inOrder(tests)) {
    if (stage.tests !== null && !stage.tests.includes(name)) continue;
    const run = stage.run(command[0], command.slice(1), { env: { ...env, ZO2_TEST_BACKEND: "cuda" }, seconds });
    stage.add({ name: `cpp ${name}`, ...outcome(run) });
  }
  if (stage.tests === null) jest(stage, "native");
});
