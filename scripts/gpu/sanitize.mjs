import { build } from "./lib/build.mjs";
import { listTests, onCuda, outcome } from "./lib/cpp-tests.mjs";
import { runStage } from "./lib/stage.mjs";

/** Exit status that compute-sanitizer gives when it has something to report; no test program has it. */
const REPORTED = 86;
/** Most of the stage's time that one program may take under a tool, which slows it tens of times. */
const SECONDS_EACH = 150;

/** Tests of the kernels whose threads share memory within a block. */
const KERNELS = [
  "cuda_linear_sm90_test",
  "cuda_linear_test",
  "cuda_attention_test",
  "cuda_cross_entropy_test",
  "cuda_rows_test",
  "cuda_prepare_test",
];
const MARKED = {
  memcheck: [...KERNELS, "cuda_loss_test", "cuda_convert_test", "ops_test@cuda", "commands_test@cuda"],
  racecheck: KERNELS,
};

const chosen = (names) => ({ memcheck: names, racecheck: names });

/** The tool that found nothing, the tool that found something, and the tool that never came to its end are three. */
function judged(run, emulated) {
  const { ok, ...counts } = outcome(run);
  const summary = /ERROR SUMMARY: .*|RACECHECK SUMMARY: .*/.exec(run.stdout)?.[0];
  if (summary !== undefined) return { ok, ...counts, summary };
  return emulated ? { ok, ...counts } : { ok: false, ...counts, problem: run.problem ?? "the tool gave no summary" };
}

await runStage("2-sanitize", (stage) => {
  if (!build(stage)) return;
  const tests = new Map(onCuda(listTests(stage.buildDir)).map((test) => [test.name, test]));
  const unknown = (stage.tests ?? []).filter((name) => !tests.has(name));
  if (unknown.length > 0) throw new Error(`no test of the build is called ${unknown.join(", ")}`);
  const version = stage.emulated ? null : stage.run("compute-sanitizer", ["--version"]);
  if (version !== null && !version.ok) {
    stage.add({ name: "compute-sanitizer", ok: false, absent: `it cannot run here: ${version.problem}` });
    return;
  }
  stage.result.tool =
    version === null ? "none: emulated" : (/Version .*/.exec(version.stdout)?.[0] ?? "compute-sanitizer");
  for (const [tool, names] of Object.entries(stage.tests === null ? MARKED : chosen(stage.tests))) {
    for (const name of names) {
      const test = tests.get(name);
      if (test === undefined) {
        stage.add({ name: `${tool} ${name}`, ok: false, problem: "the build has no such test" });
        continue;
      }
      const wrapper = stage.emulated
        ? []
        : ["compute-sanitizer", "--tool", tool, "--error-exitcode", String(REPORTED), "--print-limit", "20"];
      const [command, ...args] = [...wrapper, ...test.command];
      const run = stage.run(command, args, { env: { ...test.env, ZO2_TEST_BACKEND: "cuda" }, seconds: SECONDS_EACH });
      stage.add({ name: `${tool} ${name}`, ...judged(run, stage.emulated) });
    }
  }
});
