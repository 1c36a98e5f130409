import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import process from "node:process";
import { build } from "./lib/build.mjs";
import { listTests, onCuda, outcome } from "./lib/cpp-tests.mjs";
import { root, runStage } from "./lib/stage.mjs";

/** The jest suite of the native layer with every model and device on CUDA. A skipped test fails the step. */
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
  const ok = run.ok && counts.passed > 0 && counts.failed === 0 && counts.skipped === 0;
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
  for (const { name, command, env } of tests) {
    const run = stage.run(command[0], command.slice(1), { env: { ...env, ZO2_TEST_BACKEND: "cuda" } });
    stage.add({ name: `cpp ${name}`, ...outcome(run) });
  }
  jest(stage, "native");
});
