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

await runStage("2-sanitize", (stage) => {
  if (!build(stage)) return;
  const tests = new Map(onCuda(listTests(stage.buildDir)).map((test) => [test.name, test]));
  const version = stage.emulated ? null : stage.run("compute-sanitizer", ["--version"]);
  stage.result.tool =
    version === null ? "none: emulated" : (/Version .*/.exec(version.stdout)?.[0] ?? "compute-sanitizer");
  for (const [tool, names] of Object.entries(MARKED)) {
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
      const summary = /ERROR SUMMARY: .*|RACECHECK SUMMARY: .*/.exec(run.stdout)?.[0];
      const { ok, ...counts } = outcome(run);
      const found = summary === undefined ? {} : { summary };
      stage.add({ name: `${tool} ${name}`, ok: ok && (stage.emulated || summary !== undefined), ...counts, ...found });
    }
  }
});
