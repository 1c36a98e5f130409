import fs from "node:fs";
import path from "node:path";
import process from "node:process";
import { build } from "./lib/build.mjs";
import { root, runStage } from "./lib/stage.mjs";

const PROGRAMS = ["memory_bench", "linear_bench", "attention_bench", "upload_bench"];
/** Exit status of torch_peers.py where there is no PyTorch with a device. */
const NO_PEER = /exit status 3/;
/** A whole decoder of a few layers, tiny in width: the dry run's model. */
const TINY = { layers: 2, hidden: 64, ffn: 128, heads: 2, vocab: 300, maxpos: 64, batch: 2, seq: 32, steps: 1 };

const linesOf = (stdout) =>
  stdout
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line));

/** The rates that the benches measured, which predict a step; undefined while one is missing. */
function measuredRates(rows) {
  const best = (pick) => Math.max(...rows.map(pick).filter((value) => Number.isFinite(value)));
  const rates = {
    "transfer-rate": best((row) =>
      row.bench === "transfer" && row.case === "upload" ? row.bytesPerSecond : Number.NaN,
    ),
    "memory-rate": best((row) => (row.bench === "prepare" ? row.bytesPerSecond : Number.NaN)),
    "flop-rate": best((row) => (row.bench === "linear" && row.kernel === "chosen" ? row.flopsPerSecond : Number.NaN)),
  };
  return Object.values(rates).every(Number.isFinite) ? rates : undefined;
}

/** Our rows with the peer's of the same case beside them: `peerSeconds`, and `speed`, ours over the peer's. */
function besidePeers(rows, peers) {
  const key = (row) =>
    JSON.stringify(["bench", "case", "dtype", "m", "n", "k", "sequences", "length"].map((name) => row[name] ?? null));
  const seconds = new Map(peers.map((row) => [key(row), row.seconds]));
  return rows.map((row) => {
    const peer = row.epilogue === undefined || row.epilogue === "none" ? seconds.get(key(row)) : undefined;
    return peer === undefined ? row : { ...row, peerSeconds: peer, speed: peer / row.seconds };
  });
}

function timeline(stage, rates) {
  const file = path.join(stage.out, `${stage.name}-timeline.json`);
  const options = Object.entries({ ...(stage.emulated ? TINY : {}), ...rates }).flatMap(([name, value]) => [
    `--${name}`,
    String(value),
  ]);
  const args = [path.join(root, "bench", "gpu", "timeline.mjs"), "--json", file, ...options];
  const run = stage.run(process.execPath, args, { env: { ZO2_BUILD_DIR: stage.buildDir } });
  if (!run.ok) return stage.add({ name: "timeline", ok: false, seconds: run.seconds, problem: run.problem });
  const result = JSON.parse(fs.readFileSync(file, "utf8"));
  const steps = result.steps.map(({ spans, ...step }) => ({ ...step, spans: spans.length }));
  stage.result.timeline = { file: path.basename(file), memory: result.memory, waits: result.waits, steps };
  const problem =
    result.device.kind !== (stage.emulated ? "cuda-emulated" : "cuda")
      ? `it ran on ${result.device.kind}`
      : result.waits !== 0
        ? `the JavaScript thread waited ${result.waits} times`
        : !stage.emulated && !result.steps.every((step) => step.overlapped)
          ? "the lanes do not overlap"
          : null;
  return stage.add({
    name: "timeline",
    ok: problem === null,
    seconds: run.seconds,
    ...(problem === null ? {} : { problem }),
  });
}

await runStage("3-bench", (stage) => {
  if (!build(stage)) return;
  const rows = [];
  for (const program of PROGRAMS) {
    const run = stage.run(path.join(stage.buildDir, "bench", program), [], {
      env: stage.emulated ? { ZO2_BENCH_TINY: "1" } : {},
    });
    const found = linesOf(run.stdout);
    rows.push(...found);
    const problem = run.problem === null ? {} : { problem: run.problem };
    stage.add({ name: program, ok: run.ok && found.length > 0, seconds: run.seconds, rows: found.length, ...problem });
  }
  stage.result.rows = rows;

  const peers = stage.run("python3", [path.join(root, "bench", "gpu", "torch_peers.py")]);
  stage.result.peers = linesOf(peers.stdout);
  stage.result.rows = besidePeers(rows, stage.result.peers);
  const absent = peers.problem !== null && NO_PEER.test(peers.problem);
  const reason = absent ? { absent: "no PyTorch with a CUDA device; see the log" } : {};
  stage.add({
    name: "torch peers",
    ok: peers.ok || absent,
    seconds: peers.seconds,
    rows: stage.result.peers.length,
    ...reason,
  });

  timeline(stage, measuredRates(rows));
});
