import { inModule } from "../bench/modules.js";

const outcome = (stdout: string, problem: string | null = null) =>
  inModule("scripts/gpu/lib/cpp-tests.mjs", "return m.outcome(args[0])", {
    ok: problem === null,
    stdout,
    problem,
    seconds: 1,
  });

test("a program that passes is good, whatever it prints besides", () => {
  expect(outcome("a note\n3 passed, 0 failed\n")).toEqual({ ok: true, seconds: 1, passed: 3, failed: 0, skipped: 0 });
});

test.each([
  ["a failed check", "2 passed, 1 failed\n", null, { passed: 2, failed: 1 }],
  ["nothing was checked", "0 passed, 0 failed\n", null, { passed: 0, failed: 0 }],
  [
    "it died without a closing line",
    "halfway\n",
    "ended by SIGSEGV",
    { passed: 0, failed: 1, problem: "ended by SIGSEGV" },
  ],
  [
    "its exit status contradicts the line",
    "2 passed, 0 failed\n",
    "exit status 86",
    { passed: 2, problem: "exit status 86" },
  ],
  ["something was skipped", "far offsets: skipped, no memory\n2 passed, 0 failed\n", null, { passed: 2, skipped: 1 }],
])("%s: the step fails", (_what, stdout, problem, expected) => {
  expect(outcome(stdout, problem)).toMatchObject({ ok: false, ...expected });
});

test("the tests of the CUDA backend are those registered for it and those of its kernels", () => {
  const tests = [
    { name: "ops_test", env: { ZO2_TEST_BACKEND: "cpu" } },
    { name: "ops_test@cuda", env: { ZO2_TEST_BACKEND: "cuda" } },
    { name: "cuda_linear_test", env: {} },
    { name: "pool_test", env: {} },
  ];
  const names = inModule("scripts/gpu/lib/cpp-tests.mjs", "return m.onCuda(args[0]).map((test) => test.name)", tests);
  expect(names).toEqual(["ops_test@cuda", "cuda_linear_test"]);
});
