/**
 * Stage 3: whole steps. OPT-13B at 1 x 2048 in fp16, streamed in units of a layer, 256 MiB and 64 MiB, without overlap,
 * and resident; six layers of OPT-175B's width, for what a context takes beside the plan; waits on the JavaScript
 * thread; and the original ZO2 on the same model where a checkout of it is given.
 */
import fs from "node:fs";
import path from "node:path";
import process from "node:process";
import { predictStep } from "../../bench/gpu/lanes.mjs";
import { median } from "../../bench/lib/summary.mjs";
import { deviceOf, linesOf } from "./lib/benches.mjs";
import { build } from "./lib/build.mjs";
import { CONTEXT_BYTES, drawRate, row } from "./lib/predict.mjs";
import { root } from "./lib/root.mjs";

export const name = "3-steps";

/** Exit status of original_zo2.py where something that it needs is not there. */
const ABSENT = 3;
const MIB = 2 ** 20;
const OPT_13B = { layers: 40, hidden: 5120, ffn: 20480, heads: 40 };
const OPT_175B_WIDTH = { layers: 6, hidden: 12288, ffn: 49152, heads: 96 };
const CASES = [
  { name: "13B, units of a layer", ...OPT_13B },
  { name: "13B, units of 256 MiB", ...OPT_13B, "unit-bytes": 256 * MIB },
  { name: "13B, units of 64 MiB", ...OPT_13B, "unit-bytes": 64 * MIB },
  { name: "175B's width, 6 layers, units of 256 MiB", ...OPT_175B_WIDTH, "unit-bytes": 256 * MIB, steps: 2 },
  { name: "13B, resident", ...OPT_13B, resident: true },
  { name: "13B, units of 256 MiB, no overlap", ...OPT_13B, "unit-bytes": 256 * MIB, "no-overlap": true, steps: 2 },
];
const TINY = { layers: 2, hidden: 64, ffn: 128, heads: 2, vocab: 300, maxpos: 64, seq: 32, steps: 1 };
const DRY_CASES = [
  { name: "tiny, units of a layer", ...TINY },
  { name: "tiny, units of 16 KiB", ...TINY, "unit-bytes": 16384 },
  { name: "tiny, resident", ...TINY, resident: true },
  { name: "tiny, no overlap", ...TINY, "no-overlap": true },
];

/** `--name value` of a case; a switch has no value. */
const argumentsOf = (options) =>
  Object.entries(options).flatMap(([option, value]) =>
    value === true ? [`--${option}`] : [`--${option}`, String(value)],
  );

/** What the lanes of a step that was traced should take. */
export function predictedStep(spans, overlap, rates) {
  const given = { transferRate: rates.transfer, memoryRate: rates.memory, flopRate: rates.matrix };
  return predictStep(spans, { ...given, drawRate: drawRate("gaussian", rates) }, overlap);
}

/** The rows of one case, `result` being what timeline.mjs wrote. */
export function stepRows(about, result, rates) {
  const { options, steps, traced, memory, waits, spans } = result;
  const overlap = !options["no-overlap"];
  const predicted = predictedStep(spans, overlap, rates);
  const lanes = Object.values(predicted.laneSeconds).sort((a, b) => b - a);
  const rows = [
    row({
      name: `${about}: a step`,
      unit: "s",
      measured: median(steps.map((step) => step.seconds)),
      predicted: predicted.seconds,
      basis: `${overlap ? "the busiest lane" : "all lanes in a row"}: ${rates.link}, ${rates.source}`,
      // 85 % of the roofline.
      goal: { of: "predicted", most: 1 / 0.85 },
      laneSeconds: predicted.laneSeconds,
    }),
    row({
      name: `${about}: waits on the JavaScript thread`,
      unit: "1",
      measured: waits,
      predicted: 0,
      basis: "nothing waits there",
      goal: { of: "predicted", least: 1, most: 1 },
    }),
    row({
      name: `${about}: device memory at its peak`,
      unit: "byte",
      measured: memory.peakBytes,
      predicted: memory.planBytes,
      basis: "the memory plan, to the byte",
      goal: { of: "predicted", least: 1, most: 1 },
    }),
    row({
      name: `${about}: the context, beside the plan`,
      unit: "byte",
      measured: memory.usedBytes - memory.planBytes,
      predicted: CONTEXT_BYTES,
      basis: "what is reported of contexts with all kernels loaded; another program on the device counts here too",
      goal: { of: "predicted", most: 1.5 },
    }),
  ];
  if (!overlap || options.resident) return rows;
  rows.push(
    row({
      name: `${about}: share of a step in which two lanes or more work`,
      unit: "1",
      measured: (traced.twoLanesSeconds + traced.threeLanesSeconds) / traced.wallSeconds,
      predicted: (lanes[1] ?? 0) / (lanes[0] ?? 1),
      basis: "the second busiest lane hides behind the busiest",
      goal: { of: "predicted", least: 0.8 },
    }),
  );
  return rows;
}

function timeline(stage, rates, { name: about, ...options }) {
  const file = path.join(stage.out, `${stage.name}-case.json`);
  fs.rmSync(file, { force: true });
  const args = [path.join(root, "bench", "gpu", "timeline.mjs"), "--json", file, ...argumentsOf(options)];
  const run = stage.run(process.execPath, args, { env: { ZO2_BUILD_DIR: stage.buildDir } });
  if (!run.ok) return stage.add({ name: about, ok: false, seconds: run.seconds, problem: run.problem, tail: run.tail });
  const result = JSON.parse(fs.readFileSync(file, "utf8"));
  fs.rmSync(file);
  if (result.skipped !== undefined) return stage.skip(about, result.skipped);
  const expected = stage.dry ? "cuda-emulated" : "cuda";
  const problem = result.device.kind === expected ? {} : { problem: `it ran on ${result.device.kind}` };
  const { units, parameters, loadSeconds } = result;
  stage.add({
    name: about,
    ok: problem.problem === undefined,
    seconds: run.seconds,
    units,
    parameters,
    loadSeconds,
    ...problem,
  });
  stage.measured(stepRows(about, result, rates));
  // One line a command: lane, what, unit, begin and end in seconds.
  const commands = result.spans.map((span) => [span.lane, span.what, span.unit ?? null, span.begin, span.end]);
  stage.result.timelines[about] = { traced: result.traced, steps: result.steps, memory: result.memory, commands };
  return stage.write();
}

function original(stage) {
  const about = "the original ZO2, 13B";
  if (stage.original === null) return stage.skip(about, "no checkout of it was given (--original FOLDER)");
  const program = path.join(root, "bench", "gpu", "original_zo2.py");
  const run = stage.run("python3", [program, "--original", path.resolve(stage.original)]);
  const [found] = linesOf(run.stdout);
  if (run.status === ABSENT || run.absent)
    return stage.skip(about, run.absent ? "there is no python3" : run.tail.trim());
  stage.add({
    name: about,
    ok: run.ok && found !== undefined,
    seconds: run.seconds,
    ...(run.ok ? {} : { tail: run.tail }),
  });
  const ours = stage.result.rows.find((line) => line.name === "13B, units of a layer: a step");
  if (found === undefined || ours === undefined) return undefined;
  const rest = { ...ours, name: "13B, units of a layer, beside the original ZO2: a step", peer: median(found.seconds) };
  return stage.measured([row({ ...rest, goal: { of: "peer", most: 1 } })]);
}

export async function run(stage) {
  if (!build(stage)) return;
  stage.result.timelines = {};
  const { rates } = deviceOf(stage);
  for (const each of stage.dry ? DRY_CASES : CASES) timeline(stage, rates, each);
  original(stage);
}
