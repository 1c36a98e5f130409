import { spawnSync } from "node:child_process";

/** The C++ tests of a build as ctest lists them: `{name, command, env}`. */
export function listTests(buildDir) {
  const listed = spawnSync("ctest", ["--show-only=json-v1"], { cwd: buildDir, encoding: "utf8", maxBuffer: 1 << 28 });
  if (listed.status !== 0)
    throw new Error(`ctest lists no tests in ${buildDir}: ${listed.stderr ?? listed.error?.message}`);
  return JSON.parse(listed.stdout).tests.map(({ name, command, properties = [] }) => {
    const environment = properties.find((property) => property.name === "ENVIRONMENT")?.value ?? [];
    return { name, command, env: Object.fromEntries(environment.map((pair) => pair.split(/=(.*)/s).slice(0, 2))) };
  });
}

/** Those that run on the CUDA backend: contract tests registered for it, and tests of its kernels. */
export function onCuda(tests) {
  return tests.filter(({ name, env }) => env.ZO2_TEST_BACKEND === "cuda" || name.startsWith("cuda_"));
}

/** What a test program said in its closing line, and how many of its lines say that something was skipped. */
export function outcome({ ok, stdout, problem, seconds }) {
  const closing = /^(\d+) passed, (\d+) failed\s*$/m.exec(stdout);
  const skipped = (stdout.match(/\bskipp(ed|ing)\b/gi) ?? []).length;
  const counts = { passed: Number(closing?.[1] ?? 0), failed: Number(closing?.[2] ?? 1), skipped };
  // Without a closing line, or with an exit status that contradicts it, the program died.
  const good = ok && closing !== null && counts.failed === 0 && counts.passed > 0;
  return { ok: good && skipped === 0, seconds, ...counts, ...(problem === null ? {} : { problem }) };
}
