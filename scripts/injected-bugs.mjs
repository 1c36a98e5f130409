/**
 * Proves that the emulated CUDA builds, and the tests of the schedule, still see: each bug of test/bugs/*.json is put
 * into a copy of the sources, the ordinary test is built and run, and must fail, with a report of the emulator that
 * names the place. The clean copy must pass with no report at all.
 *
 *   node scripts/injected-bugs.mjs                  all bugs, in every build they name
 *   node scripts/injected-bugs.mjs --build race     one build: plain, race, asan or typescript
 *   node scripts/injected-bugs.mjs --only missing   the bugs whose name has "missing"
 *   node scripts/injected-bugs.mjs --folder DIR     works in DIR and leaves it there, so that the next run builds less
 *
 * A bug: {name, row, file, find, replace, test, builds}. `find` occurs exactly once in `file`. `row` is what kind of
 * mistake it stands for. `environment`: of the test (optional). `builds` maps a build to what must be seen there:
 *   {"kind": "racecheck", "at": "text"}   a report of this kind (or one of these) that names the line of `file`, as
 *                                         patched, that has "text" in it; with "file", the line of that file
 *   "fails"                               any failure of the test: a wrong result is one. The first report, if any, is
 *                                         printed
 *   "unseen"                              nothing: the build is known to be blind here (documents why the others exist)
 *
 * The build "typescript" builds nothing: a bug of src/ is seen by a test file of jest (`test`: "unit/schedule"), on the
 * CPU backend as this checkout has it. It knows "fails" only.
 */
import { spawnSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const SOURCES = [
  "CMakeLists.txt",
  "package.json",
  "cmake",
  "numerics",
  "contract",
  "cpu",
  "cuda",
  "disk",
  "emulator",
  "test/native/cpp",
  "test/fixtures/linear-stores.txt",
];
const BUILDS = {
  race: ["-DZO2_CUDA=emulated-race"],
  plain: ["-DZO2_CUDA=emulated"],
  asan: ["-DZO2_CUDA=emulated", "-DZO2_SANITIZE=address"],
};
/** Of the build "typescript": what is copied, and what the copy only refers to. */
const TYPESCRIPT = {
  copied: ["package.json", "jest.config.cjs", "scripts", "src", "test/unit", "test/native", "test/support"],
  linked: ["node_modules", "binding", "build", "dist", "docs", "test/fixtures"],
};
const TEST_TIMEOUT_MS = 300_000;
/** AddressSanitizer and UndefinedBehaviorSanitizer, as kinds of reports. */
const SANITIZER = /AddressSanitizer: |runtime error: /;

const { values: options } = parseArgs({
  options: { build: { type: "string" }, only: { type: "string" }, folder: { type: "string" } },
});

function readBugs() {
  const folder = path.join(root, "test", "bugs");
  const files = readdirSync(folder)
    .filter((name) => name.endsWith(".json"))
    .sort();
  const bugs = files.flatMap((name) => JSON.parse(readFileSync(path.join(folder, name), "utf8")));
  const chosen = bugs.filter((bug) => options.only === undefined || bug.name.includes(options.only));
  // Bugs of one file after each other, so that restoring and patching it cost one compilation.
  return chosen.sort((a, b) => a.test.localeCompare(b.test) || a.file.localeCompare(b.file));
}

/** The file with its bug in it. */
function patched(bug) {
  const text = readFileSync(path.join(root, bug.file), "utf8");
  const found = text.split(bug.find).length - 1;
  if (found !== 1) throw new Error(`"find" occurs ${found} times in ${bug.file}; it must occur once: ${bug.find}`);
  return text.replace(bug.find, () => bug.replace);
}

/** `name:line` of the one line that must be named. */
function placeOf(bug, patchedText, { at, file = bug.file }) {
  const text = file === bug.file ? patchedText : readFileSync(path.join(root, file), "utf8");
  const lines = text.split("\n").flatMap((line, index) => (line.includes(at) ? [index + 1] : []));
  if (lines.length !== 1)
    throw new Error(`"at" is on ${lines.length} lines of ${file} as patched; it must be on one: ${at}`);
  return `${path.basename(file)}:${lines[0]}`;
}

function copySources(folder, names) {
  for (const name of names) {
    const from = path.join(root, name);
    const to = path.join(folder, name);
    // A file that is the same stays as it is, so that it is not compiled again.
    cpSync(from, to, {
      recursive: true,
      preserveTimestamps: true,
      filter: (source, target) => {
        if (!existsSync(target) || !path.extname(source)) return true;
        return !readFileSync(source).equals(readFileSync(target));
      },
    });
  }
}

function run(command, args, settings = {}) {
  const result = spawnSync(command, args, { encoding: "utf8", maxBuffer: 1 << 28, ...settings });
  return {
    status: result.status,
    output: `${result.stdout ?? ""}\n${result.stderr ?? ""}\n${result.error?.message ?? ""}`,
  };
}

function make(folder, targets) {
  const { status, output } = run("cmake", ["--build", folder, "--parallel", "2", "--target", ...targets]);
  return status === 0
    ? null
    : output
        .split("\n")
        .filter((line) => /error|Error/.test(line))
        .slice(0, 5)
        .join("\n");
}

function runTest(build, test, environment = {}) {
  return run(path.join(build, "tests", test), [], {
    cwd: path.dirname(build),
    timeout: TEST_TIMEOUT_MS,
    env: { ...process.env, ASAN_OPTIONS: "detect_leaks=0", ...environment },
  });
}

/** Runs a test file by the TypeScript of a copy. */
function runJest(folder, test) {
  const [project, ...pattern] = test.split("/");
  const jest = path.join(root, "node_modules", "jest", "bin", "jest.js");
  const args = [jest, "--selectProjects", project, `--testPathPatterns=test/${project}/${pattern.join("/")}`];
  return run(process.execPath, args, { cwd: folder, timeout: TEST_TIMEOUT_MS });
}

const firstReport = (output) => output.split("\n").find((line) => line.startsWith("EMU[") || SANITIZER.test(line));

/** What is wrong with how the patched test ended; null when the bug was seen as it must be. */
function judge(bug, text, expected, { status, output }) {
  const lines = output.split("\n");
  const first = firstReport(output) ?? `no report at all; the test ends with ${output.trim().slice(-300)}`;
  if (expected === "unseen") return status === 0 ? null : `was seen, though listed as unseen: ${first}`;
  if (status === 0) return "the test passes";
  if (expected === "fails") return null;
  const place = placeOf(bug, text, expected);
  if (expected.kind === "asan") {
    // The report and its stack, several lines.
    return SANITIZER.test(output) && output.includes(place) ? null : `no sanitizer's report at ${place}: ${first}`;
  }
  const kinds = [expected.kind].flat();
  const named = new RegExp(`\\b${place.replace(".", "\\.")}(?!\\d)`);
  const seen = lines.some((line) => kinds.some((kind) => line.startsWith(`EMU[${kind}]`)) && named.test(line));
  return seen ? null : `no report [${kinds.join(" or ")}] at ${place}: ${first}`;
}

const bugs = readBugs();
const folder =
  options.folder === undefined ? mkdtempSync(path.join(os.tmpdir(), "zo2-bugs-")) : path.resolve(options.folder);
mkdirSync(folder, { recursive: true });
copySources(folder, SOURCES);

let passed = 0;
let failed = 0;
function conclude(what, problem, started) {
  const seconds = ((Date.now() - started) / 1000).toFixed(1);
  console.log(
    `${problem === null ? "ok    " : "FAILED"} ${what} (${seconds} s)${problem === null ? "" : `: ${problem}`}`,
  );
  if (problem === null) passed++;
  else failed++;
}

/** Runs with the file patched; what is wrong with how that ended. */
function withBug(bug, file, body) {
  const original = readFileSync(file);
  try {
    const text = patched(bug);
    writeFileSync(file, text);
    return body(text);
  } catch (error) {
    return error.message;
  } finally {
    writeFileSync(file, original);
  }
}

function tryTypescript() {
  const ours = bugs.filter((bug) => bug.builds.typescript !== undefined);
  if (ours.length === 0) return;
  const copy = path.join(folder, "typescript");
  copySources(copy, TYPESCRIPT.copied);
  for (const name of TYPESCRIPT.linked)
    if (!existsSync(path.join(copy, name))) symlinkSync(path.join(root, name), path.join(copy, name));
  for (const test of new Set(ours.map((bug) => bug.test))) {
    const started = Date.now();
    const { status, output } = runJest(copy, test);
    conclude(`typescript: ${test}, clean`, status === 0 ? null : output.trim().slice(-300), started);
  }
  for (const bug of ours) {
    const started = Date.now();
    const problem = withBug(bug, path.join(copy, bug.file), () => {
      const { status, output } = runJest(copy, bug.test);
      if (status === 0) return "the test passes";
      const failed = output.split("\n").find((line) => line.includes("●"));
      if (failed === undefined) return `no test has failed: ${output.trim().slice(-300)}`;
      console.log(`       ${failed.trim()}`);
      return null;
    });
    conclude(`typescript: ${bug.row}: ${bug.name}`, problem, started);
  }
}

if (options.build === undefined || options.build === "typescript") tryTypescript();
for (const [name, settings] of Object.entries(BUILDS)) {
  if (options.build !== undefined && options.build !== name) continue;
  const ours = bugs.filter((bug) => bug.builds[name] !== undefined);
  if (ours.length === 0) continue;
  const build = path.join(folder, `build-${name}`);
  const tests = [...new Set(ours.map((bug) => bug.test))];
  let started = Date.now();
  const configured = run("cmake", ["-S", folder, "-B", build, "-DZO2_TESTS=ON", "-DZO2_BLAS=off", ...settings]);
  const broken = configured.status === 0 ? make(build, tests) : configured.output;
  if (broken !== null) {
    conclude(`${name}: the clean sources`, `do not build: ${broken}`, started);
    continue;
  }
  for (const test of tests) {
    started = Date.now();
    const environments = new Map(
      ours.filter((bug) => bug.test === test).map((bug) => [JSON.stringify(bug.environment ?? {}), bug.environment]),
    );
    for (const environment of environments.values()) {
      const { status, output } = runTest(build, test, environment);
      const report = firstReport(output);
      const problem =
        status === 0 && report === undefined ? null : (report ?? `ends with ${status}: ${output.slice(-300)}`);
      conclude(`${name}: ${test}, clean`, problem, started);
    }
  }
  for (const bug of ours) {
    started = Date.now();
    const problem = withBug(bug, path.join(folder, bug.file), (text) => {
      const error = make(build, [bug.test]);
      if (error !== null) return `does not compile: ${error}`;
      const result = runTest(build, bug.test, bug.environment);
      const fault = judge(bug, text, bug.builds[name], result);
      if (fault === null && bug.builds[name] === "fails")
        console.log(`       ${firstReport(result.output) ?? "no report: a wrong result"}`);
      return fault;
    });
    conclude(`${name}: ${bug.row}: ${bug.name}`, problem, started);
  }
}

if (options.folder === undefined) rmSync(folder, { recursive: true });
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 && passed > 0 ? 0 : 1;
