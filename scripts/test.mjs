/**
 * What `npm test` runs, with one closing line "N passed, N failed" over all runners; exit code 1 when anything failed.
 *
 *   npm test                          everything but the stress tests and those in a browser
 *   npm test -- unit native           some parts: typecheck, api, layers, cpp, unit, native, stress, browser
 *   npm test -- unit config           one part, of it the files (of cpp: the programs) whose path has "config"
 *   ZO2_SANITIZE=address|thread npm test -- cpp      the C++ tests under a sanitizer
 *   ZO2_CUDA=emulated npm test -- cpp                with the CUDA backend too; off when it is not set
 *   ZO2_BUILD_DIR=DIR, ZO2_BLAS=off, ZO2_IO_URING=off   as in scripts/install.mjs; the C++ tests follow them
 *   ZO2_TEST_DEVICE=cuda              the native tests on the CUDA backend: a GPU, or the emulator in a build with
 *                                     ZO2_CUDA=emulated
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { buildPage } from "./build-page.mjs";

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const require = createRequire(import.meta.url);
const PARTS = ["typecheck", "api", "layers", "cpp", "unit", "native", "stress", "browser"];

/** @typedef {{passed: number, failed: number, skipped: number}} Counts */

const counts = (passed, failed, skipped = 0) => ({ passed, failed, skipped });

/** Runs a command with its output shown; the exit code, or 1 when it could not run. */
function show(command, args, options = {}) {
  const result = spawnSync(command, args, { stdio: "inherit", cwd: root, ...options });
  if (result.error !== undefined) console.error(`${command}: ${result.error.message}`);
  return result.status ?? 1;
}

const one = (status) => (status === 0 ? counts(1, 0) : counts(0, 1));
const script = (name) => one(show(process.execPath, [path.join(root, "scripts", name)]));

/** The environment that CMake gives a test. */
function environmentOf({ properties }) {
  const entries = properties?.find(({ name }) => name === "ENVIRONMENT")?.value ?? [];
  return Object.fromEntries(
    entries.map((entry) => [entry.slice(0, entry.indexOf("=")), entry.slice(entry.indexOf("=") + 1)]),
  );
}

/**
 * Configures, builds and runs the programs of test/native/cpp in build-tests/, or those whose names have one of
 * `patterns` in them.
 */
function cpp(patterns) {
  const sanitize = process.env.ZO2_SANITIZE ?? "";
  const blas = process.env.ZO2_BLAS || "auto";
  const ioUring = process.env.ZO2_IO_URING || "auto";
  const cuda = process.env.ZO2_CUDA || "off";
  const own = [blas === "auto" ? "" : `blas-${blas}`, ioUring === "auto" ? "" : `io-uring-${ioUring}`];
  const parts = [sanitize, ...own, cuda === "off" ? "" : `cuda-${cuda}`];
  const suffix = parts
    .filter((part) => part !== "")
    .map((part) => `-${part}`)
    .join("");
  // With a folder of its own, the addon is there, and its libraries serve both.
  const shared = process.env.ZO2_TESTS === "on";
  const folder = shared ? path.resolve(root, process.env.ZO2_BUILD_DIR) : path.join(root, `build-tests${suffix}`);
  const settings = [
    "-DZO2_TESTS=ON",
    `-DZO2_SANITIZE=${sanitize}`,
    `-DZO2_BLAS=${blas}`,
    `-DZO2_IO_URING=${ioUring}`,
    `-DZO2_CUDA=${cuda}`,
    "-DCMAKE_BUILD_TYPE=Release",
  ];
  if (shared) {
    if (show(process.execPath, [path.join(root, "scripts", "install.mjs")]) !== 0) return counts(0, 1);
  } else {
    if (show("cmake", ["-S", root, "-B", folder, ...settings]) !== 0) return counts(0, 1);
    if (show("cmake", ["--build", folder, "--parallel", "2"]) !== 0) return counts(0, 1);
  }
  // The names come from CMake's own list, so that a program left behind by an older build does not run.
  const listed = JSON.parse(spawnSync("ctest", ["--show-only=json-v1"], { cwd: folder, encoding: "utf8" }).stdout);
  const total = counts(0, 0);
  for (const test of listed.tests) {
    const { name, command } = test;
    if (patterns.length > 0 && !patterns.some((pattern) => name.includes(pattern))) continue;
    const env = { ...process.env, ...environmentOf(test) };
    const result = spawnSync(command[0], command.slice(1), { cwd: root, encoding: "utf8", maxBuffer: 1 << 28, env });
    const closing = /^(\d+) passed, (\d+) failed\s*$/m.exec(result.stdout ?? "");
    const passed = Number(closing?.[1] ?? 0);
    // Without a closing line, or with an exit code that contradicts it, the program died.
    const failed = Math.max(Number(closing?.[2] ?? 1), result.status === 0 && closing !== null ? 0 : 1);
    process.stderr.write(result.stderr ?? "");
    console.log(
      `cpp: ${name}: ${passed} passed, ${failed} failed${result.signal ? ` (ended by ${result.signal})` : ""}`,
    );
    total.passed += passed;
    total.failed += failed;
  }
  return total;
}

function jest(project, patterns) {
  const folder = mkdtempSync(path.join(os.tmpdir(), "zo2-test-"));
  const report = path.join(folder, "jest.json");
  const flags = ["--selectProjects", project, "--json", `--outputFile=${report}`, "--passWithNoTests"];
  // Garbage collection on demand, for the leak tests.
  const node = project === "stress" ? ["--expose-gc"] : [];
  try {
    const status = show(process.execPath, [...node, require.resolve("jest/bin/jest"), ...flags, ...patterns], {
      stdio: ["inherit", "ignore", "inherit"],
    });
    if (!existsSync(report)) return counts(0, 1);
    const result = JSON.parse(readFileSync(report, "utf8"));
    const failed = result.numFailedTests + result.numRuntimeErrorTestSuites;
    return counts(
      result.numPassedTests,
      status !== 0 && failed === 0 ? 1 : failed,
      result.numPendingTests + result.numTodoTests,
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function withAddon(project, patterns) {
  if (show(process.execPath, [path.join(root, "scripts", "install.mjs")]) !== 0) return counts(0, 1);
  return jest(project, patterns);
}

const runners = {
  typecheck: async () => {
    await buildPage();
    return ["tsconfig.test.json", path.join("src", "page", "browser")]
      .map((project) => one(show(process.execPath, [require.resolve("typescript/bin/tsc"), "-p", project])))
      .reduce((a, b) => counts(a.passed + b.passed, a.failed + b.failed));
  },
  api: () => script("check-api.mjs"),
  layers: () => script("check-layers.mjs"),
  cpp,
  unit: (patterns) => jest("unit", patterns),
  native: (patterns) => withAddon("native", patterns),
  stress: (patterns) => withAddon("stress", patterns),
  browser: (patterns) => jest("browser", patterns),
};

const args = process.argv.slice(2);
const asked = PARTS.filter((part) => args.includes(part));
const patterns = args.filter((arg) => !PARTS.includes(arg));
const chosen = asked.length > 0 ? asked : PARTS.filter((part) => part !== "stress" && part !== "browser");
if (chosen.includes("cpp") && process.env.ZO2_BUILD_DIR && !process.env.ZO2_SANITIZE) process.env.ZO2_TESTS = "on";
const total = counts(0, 0);
const lines = [];
for (const part of chosen) {
  console.log(`\n== ${part}`);
  const result = await runners[part](patterns);
  lines.push(
    `${part}: ${result.passed} passed, ${result.failed} ` +
      `failed${result.skipped > 0 ? `, ${result.skipped} skipped` : ""}`,
  );
  for (const key of Object.keys(total)) total[key] += result[key];
}
console.log(`\n${lines.join("\n")}`);
console.log(`${total.passed} passed, ${total.failed} failed${total.skipped > 0 ? `, ${total.skipped} skipped` : ""}`);
process.exit(total.failed > 0 || total.passed + total.skipped === 0 ? 1 : 0);
