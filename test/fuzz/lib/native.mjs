/** The native targets: built with clang and libFuzzer, each a program of its own, run and read here. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import process from "node:process";

export const NATIVE_TARGETS = ["native-program", "native-prepare", "native-loss"];

const COMPILERS = ["clang++", ...[21, 20, 19, 18, 17, 16, 15, 14].map((version) => `clang++-${version}`)];
const MOST_MEMORY_MIB = 1024;
const LONGEST_ALLOCATION_MIB = 256;
const HANG_SECONDS = 30;
const LONGEST_INPUT = 8192;
const LINES_OF_A_REPORT = 60;

const program = (folder, name) => path.join(folder, name.replace("native-", "fuzz_"));

const SMALLEST =
  '#include <fuzzer/FuzzedDataProvider.h>\nextern "C" int LLVMFuzzerTestOneInput(const uint8_t*, size_t) { return 0; }';

/** A clang with the headers and the runtime of libFuzzer, which Debian packs apart from it. */
function compiler() {
  const args = ["-fsanitize=fuzzer,address", "-x", "c++", "-", "-o", "/dev/null"];
  return COMPILERS.find((name) => spawnSync(name, args, { input: SMALLEST, stdio: "pipe" }).status === 0);
}

/**
 * Builds the programs into build-fuzz/.
 * @returns {{folder: string} | {reason: string, failed?: true}} why the native targets cannot run; `failed` where that
 *   is a defect
 */
export function buildNative(root) {
  const clang = compiler();
  if (clang === undefined)
    return { reason: "there is no clang++ with libFuzzer; apt-get install clang libclang-rt-dev" };
  const folder = path.join(root, "build-fuzz");
  const settings = [`-DCMAKE_CXX_COMPILER=${clang}`, "-DCMAKE_BUILD_TYPE=RelWithDebInfo", "-DZO2_BLAS=off"];
  for (const args of [
    ["-S", path.join(root, "test", "fuzz", "native"), "-B", folder, ...settings],
    ["--build", folder, "--parallel", "2"],
  ]) {
    const { status, stdout, stderr } = spawnSync("cmake", args, { encoding: "utf8", maxBuffer: 1 << 28 });
    if (status === 0) continue;
    console.error(`${stdout ?? ""}${stderr ?? ""}`.slice(-4000));
    return { reason: `cmake ${args[0]} failed`, failed: true };
  }
  return { folder };
}

const LIMITS = [
  `-rss_limit_mb=${MOST_MEMORY_MIB}`,
  `-malloc_limit_mb=${LONGEST_ALLOCATION_MIB}`,
  `-timeout=${HANG_SECONDS}`,
];
// A new allocation that cannot be served is an error of the backend, not of the program.
const environment = {
  ...process.env,
  ASAN_OPTIONS: "allocator_may_return_null=1",
  UBSAN_OPTIONS: "print_stacktrace=1",
};

/** The part of libFuzzer's output that says what went wrong. */
function reportOf(output) {
  const lines = output.split("\n");
  const at = lines.findIndex((line) => /ERROR: |runtime error: |^fuzz: /.test(line));
  return lines.slice(Math.max(0, at)).slice(0, LINES_OF_A_REPORT).join("\n");
}

/** The report of one input, or undefined where all is well. */
export function replayNative(folder, name, file) {
  const { status, stderr } = spawnSync(program(folder, name), [...LIMITS, file], {
    encoding: "utf8",
    env: environment,
    maxBuffer: 1 << 28,
  });
  return status === 0 ? undefined : reportOf(stderr);
}

/** Fills `corpus` with valid inputs where the target has a program that makes some. */
function makeSeeds(folder, name, corpus) {
  const seeds = `${program(folder, name)}_seeds`;
  if (!existsSync(seeds)) return;
  const { status, stderr } = spawnSync(seeds, [corpus], { encoding: "utf8" });
  if (status !== 0) throw new Error(`${seeds}: ${stderr}`);
}

/**
 * Runs one target until `seconds` or `runs` executions are over, or something was found.
 * @returns {{executions: number, corpus: number, blocks: number, findings: number}}
 */
export function fuzzNative({ folder, name, regressions, seed, runs, seconds, onFinding }) {
  const scratch = mkdtempSync(path.join(os.tmpdir(), "zo2-fuzz-"));
  try {
    const corpus = path.join(scratch, "corpus");
    mkdirSync(corpus);
    makeSeeds(folder, name, corpus);
    const limits = [
      ...LIMITS,
      `-max_len=${LONGEST_INPUT}`,
      `-seed=${seed + 1}`,
      "-print_final_stats=1",
      `-artifact_prefix=${scratch}/found-`,
    ];
    // 0 seconds would be no limit.
    const length = [
      `-runs=${Number.isSafeInteger(runs) && runs < 2 ** 31 ? runs : -1}`,
      `-max_total_time=${seconds < 2 ** 31 ? Math.max(1, Math.round(seconds)) : 0}`,
    ];
    const folders = [corpus, ...(existsSync(regressions) ? [regressions] : [])];
    const { status, stderr } = spawnSync(program(folder, name), [...limits, ...length, ...folders], {
      encoding: "utf8",
      env: environment,
      maxBuffer: 1 << 28,
    });
    const last = (pattern) => Number([...stderr.matchAll(pattern)].at(-1)?.[1] ?? 0);
    const found = readdirSync(scratch).filter(
      (file) => file.startsWith("found-") && !file.startsWith("found-slow-unit"),
    );
    for (const file of found) onFinding({ input: readFileSync(path.join(scratch, file)), report: reportOf(stderr) });
    if (status !== 0 && found.length === 0)
      onFinding({ input: Buffer.alloc(0), report: `the program ended with ${status}\n${reportOf(stderr)}` });
    return {
      executions: last(/number_of_executed_units: (\d+)/g),
      corpus: last(/corp: (\d+)/g),
      blocks: last(/ cov: (\d+)/g),
      findings: Math.max(found.length, status === 0 ? 0 : 1),
    };
  } finally {
    rmSync(scratch, { recursive: true });
  }
}
