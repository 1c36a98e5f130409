/**
 * Stage 2: products with every epilogue and attention, beside what cuBLAS, flash attention and cuDNN take for the same
 * through PyTorch; four kernels under the profiler; a part of the tests under compute-sanitizer.
 */
import fs from "node:fs";
import path from "node:path";
import { bench, benchProgram, deviceOf, linesOf } from "./lib/benches.mjs";
import { build } from "./lib/build.mjs";
import { listTests, onCuda, outcome } from "./lib/cpp-tests.mjs";
import { roofline, row } from "./lib/predict.mjs";
import { root } from "./lib/root.mjs";

export const name = "2-kernels";

/** Exit status of torch_peers.py where there is no PyTorch with a device. */
const NO_PEER = 3;
/** Exit status that compute-sanitizer gives when it has something to report; no test program has it. */
const REPORTED = 86;
/** Most of the stage's time that one program may take under a tool, which slows it tens of times. */
const SECONDS_EACH = 60;
/**
 * By tool: tests of kernels whose threads share memory within a block; the most telling first, for time may run out.
 */
const SANITIZED = {
  memcheck: [
    "cuda_linear_sm90_test",
    "cuda_cross_entropy_sm90_test",
    "cuda_attention_test",
    "cuda_cross_entropy_test",
    "cuda_prepare_test",
  ],
  racecheck: ["cuda_linear_test", "cuda_rows_test"],
};
const DRY_SANITIZED = { memcheck: ["cuda_convert_test"] };
const MEMORY = "dram__throughput.avg.pct_of_peak_sustained_elapsed";
const ARITHMETIC = "sm__throughput.avg.pct_of_peak_sustained_elapsed";
/**
 * Kernels by a part of their name, in the bench that runs them; which unit should be busy, and how much of the time.
 */
const PROFILED = [
  { program: "linear_bench", kernel: "linear", metric: ARITHMETIC, predicted: 85 },
  { program: "attention_bench", kernel: "attention", metric: ARITHMETIC, predicted: 60 },
  { program: "memory_bench", kernel: "prepare", metric: ARITHMETIC, predicted: 85 },
  { program: "memory_bench", kernel: "layer_norm", metric: MEMORY, predicted: 85 },
];

const KEY = ["bench", "case", "dtype", "epilogue", "m", "n", "k", "sequences", "length"];
const keyOf = (line) => JSON.stringify(KEY.map((field) => line[field] ?? null));

/** Peers' lines by the case they stand beside. */
export function byCase(peers) {
  const found = new Map();
  for (const line of peers.filter((peer) => peer.peer !== undefined))
    found.set(keyOf(line), [...(found.get(keyOf(line)) ?? []), line]);
  return found;
}

function describe(line) {
  if (line.bench === "linear")
    return `${line.case}, ${line.m} x ${line.n} x ${line.k}, ${line.dtype}, ${line.epilogue}, ${line.kernel}`;
  return `attention, ${line.case}, ${line.sequences} x ${line.length}, ${line.dtype}`;
}

/** Our lines beside the peers' of the same case, one row for each peer; without one, beside the roofline alone. */
export function kernelRows(lines, peers, rates) {
  const beside = byCase(peers);
  return lines.flatMap((line) => {
    const predicted = line.flops / roofline(line, rates);
    const about = { unit: "FLOP/s", measured: line.flopsPerSecond, predicted, basis: `roofline (${rates.source})` };
    const timed = (beside.get(keyOf(line)) ?? []).filter(({ seconds }) => seconds > 0);
    if (timed.length === 0 || line.kernel === "mma" || line.kernel === "sm90")
      return [row({ name: describe(line), ...about, goal: { of: "predicted", least: 0.9 } })];
    return timed.map(({ peer, how, seconds }) =>
      row({
        name: `${describe(line)}, beside ${peer}`,
        ...about,
        peer: line.flops / seconds,
        how,
        goal: { of: "peer", least: line.bench === "linear" ? 0.9 : 0.8 },
      }),
    );
  });
}

function peersOf(stage, lines) {
  const file = path.join(stage.out, `${stage.name}-rows.jsonl`);
  fs.writeFileSync(file, lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
  const run = stage.run("python3", [path.join(root, "bench", "gpu", "torch_peers.py"), file]);
  fs.rmSync(file);
  const peers = linesOf(run.stdout);
  stage.result.peers = peers;
  if (run.status === NO_PEER || run.absent) {
    stage.skip("cuBLAS, flash attention and cuDNN", run.absent ? "there is no python3" : run.tail.trim());
    return [];
  }
  const problem = run.ok ? {} : { problem: run.problem, tail: run.tail };
  stage.add({ name: "PyTorch peers", ok: run.ok, seconds: run.seconds, lines: peers.length, ...problem });
  for (const { peer, absent } of peers.filter((line) => line.absent !== undefined))
    stage.skip(`${peer} for a case of the benches`, absent);
  return peers;
}

/** The value of the last metric in what `ncu --csv` printed; undefined where it has none. */
export function metricOf(csv) {
  const cells = csv
    .split("\n")
    .filter((line) => line.startsWith('"'))
    .map((line) => line.slice(1, -1).split('","'));
  const [head = [], ...rows] = cells;
  const column = head.indexOf("Metric Value");
  const value = Number(rows.at(-1)?.[column]?.replaceAll(",", ""));
  return column >= 0 && Number.isFinite(value) ? value : undefined;
}

function profile(stage) {
  const version = stage.dry ? { ok: false, problem: "a dry run has no GPU" } : stage.run("ncu", ["--version"]);
  if (!version.ok) return stage.skip("the profiler, ncu", version.problem);
  for (const { program, kernel, metric, predicted } of PROFILED) {
    const only = ["--kernel-name", `regex:${kernel}`, "--launch-skip", "2", "--launch-count", "1", "--kill", "yes"];
    const args = ["--csv", "--metrics", metric, ...only, benchProgram(stage, program)];
    const run = stage.run("ncu", args, { seconds: SECONDS_EACH });
    const measured = metricOf(run.stdout);
    if (measured === undefined) {
      // Most hosts let only root count.
      const refused = /ERR_NVGPUCTRPERM/.test(run.stdout) ? "the driver lets only root count" : "ncu named no value";
      stage.skip(`the profiler on ${kernel}`, refused);
      continue;
    }
    const basis = "what such a kernel reaches when it waits for nothing else";
    const goal = { of: "predicted", least: 0.9 };
    stage.measured([row({ name: `${kernel}: ${metric}`, unit: "%", measured, predicted, basis, goal })]);
  }
}

/** The tool that found nothing, the tool that found something, and the tool that never came to its end are three. */
function judged(run, dry) {
  const { ok, ...counts } = outcome(run);
  const summary = /ERROR SUMMARY: .*|RACECHECK SUMMARY: .*/.exec(run.stdout)?.[0];
  if (summary !== undefined) return { ok, ...counts, summary };
  return dry ? { ok, ...counts } : { ok: false, ...counts, problem: run.problem ?? "the tool gave no summary" };
}

function sanitize(stage) {
  const version = stage.dry
    ? { ok: false, problem: "a dry run has no GPU; the tests run without the tool" }
    : stage.run("compute-sanitizer", ["--version"]);
  if (!version.ok) stage.skip("compute-sanitizer", version.problem);
  if (!version.ok && !stage.dry) return;
  const tests = new Map(onCuda(listTests(stage.buildDir)).map((test) => [test.name, test]));
  for (const [tool, names] of Object.entries(stage.dry ? DRY_SANITIZED : SANITIZED)) {
    for (const test of names) {
      const { command = [], env = {} } = tests.get(test) ?? {};
      if (command.length === 0) {
        stage.add({ name: `${tool} ${test}`, ok: false, problem: "the build has no such test" });
        continue;
      }
      const flags = ["--tool", tool, "--error-exitcode", String(REPORTED), "--print-limit", "20"];
      const [program, ...args] = stage.dry ? command : ["compute-sanitizer", ...flags, ...command];
      const run = stage.run(program, args, { env: { ...env, ZO2_TEST_BACKEND: "cuda" }, seconds: SECONDS_EACH });
      const ended = judged(run, stage.dry);
      stage.add({ name: `${tool} ${test}`, ...ended, ...(ended.ok ? {} : { tail: run.tail }) });
    }
  }
}

export async function run(stage) {
  if (!build(stage)) return;
  const { rates } = deviceOf(stage);
  const lines = [...bench(stage, "linear_bench"), ...bench(stage, "attention_bench")];
  stage.measured(kernelRows(lines, stage.dry ? [] : peersOf(stage, lines), rates));
  if (stage.dry) stage.skip("cuBLAS, flash attention and cuDNN", "a dry run has no GPU");
  profile(stage);
  sanitize(stage);
}
