/**
 * Streamed MeZO steps of an OPT model of any size, whose weights are made in memory: seconds of each step, then one
 * step command by command, begin and end of each by events on its own lane; how much of that overlapped; device memory
 * beside the plan's.
 *
 *   node bench/gpu/timeline.mjs --json FILE [--device cuda] [--layers 40 --hidden 5120 --ffn 20480 --heads 40 ...]
 *     [--batch 1 --seq 2048] [--wire fp16 --slots 3 --unit-bytes 0] [--resident] [--no-overlap] [--steps 3]
 *
 * `--unit-bytes 0`: whole layers. The file has `{skipped: reason}` where the model does not fit. Default: OPT-13B.
 */
import fs from "node:fs";
import { isZo2Error } from "../../dist/esm/base/errors.js";
import { packBatch } from "../../dist/esm/data/index.js";
import { deviceBytes, hostBytes } from "../../dist/esm/memory/plan.js";
import { readOptions, runMain } from "../lib/options.mjs";
import { mezoStep } from "../lib/session.mjs";
import { openSynthetic } from "../lib/synthetic.mjs";
import { idsFor } from "../lib/tokens.mjs";
import { overlapOf } from "./lanes.mjs";

const DEFAULTS = {
  device: "cuda",
  layers: 40,
  hidden: 5120,
  ffn: 20480,
  heads: 40,
  vocab: 50272,
  maxpos: 2048,
  batch: 1,
  seq: 2048,
  steps: 3,
  warmup: 1,
  slots: 3,
  wire: "fp16",
  "unit-bytes": 0,
  resident: false,
  "no-overlap": false,
  json: null,
};
/** What says that the host or the device is too small for the model. */
const TOO_SMALL = ["ZO2_ERR_OUT_OF_MEMORY", "ZO2_ERR_MEMORY_BUDGET"];

async function step(session, o, index) {
  const ids = idsFor({ seed: 0, step: index, batch: o.batch, seq: o.seq, vocab: o.vocab });
  const batch = packBatch(ids.map((row) => ({ kind: "tokens", ids: row, labels: row })));
  const settings = { step: index, seed: 1n, eps: 1e-3, learningRate: 1e-7, weightDecay: 0, noise: "gaussian" };
  const begin = performance.now();
  const losses = await mezoStep(session, [batch], settings);
  await session.settle();
  return { seconds: (performance.now() - begin) / 1000, ...losses };
}

async function measure(session, o) {
  const steps = [];
  for (let i = 0; i < o.warmup + o.steps; i++) steps.push(await step(session, o, i));
  const trace = session.trace();
  await step(session, o, o.warmup + o.steps);
  const spans = trace.take();
  const zero = Math.min(...spans.map((span) => span.begin));
  const info = session.info();
  return {
    device: { kind: info.kind, name: info.name },
    parameters: session.recording.parameters.reduce((sum, { count }) => sum + count, 0),
    units: session.units.length,
    waits: session.waits,
    memory: {
      planBytes: deviceBytes(session.plan),
      hostBytes: hostBytes(session.plan),
      peakBytes: info.deviceBytesPeak,
      usedBytes: info.memoryTotal - info.memoryFree,
    },
    steps: steps.slice(o.warmup),
    traced: overlapOf(spans),
    spans: spans.map(({ work: _, reads: __, writes: ___, ...span }) => ({
      ...{ ...span, begin: span.begin - zero, end: span.end - zero },
    })),
  };
}

await runMain("timeline", async () => {
  const o = readOptions(process.argv.slice(2), DEFAULTS);
  if (o.json === null) throw new Error("--json is missing: the file to write");
  const { device, wire, slots } = o;
  const options = { device, wire, slots, overlap: !o["no-overlap"], to: o.resident ? "device" : "host" };
  const unitBytes = o["unit-bytes"] > 0 ? o["unit-bytes"] : undefined;
  const { layers, hidden, ffn, heads, vocab, maxpos } = o;
  const begin = performance.now();
  let session;
  try {
    session = await openSynthetic({ layers, hidden, ffn, heads, vocab, maxpos }, { ...options, unitBytes });
    const loadSeconds = (performance.now() - begin) / 1000;
    fs.writeFileSync(
      o.json,
      JSON.stringify({ bench: "timeline", options: o, loadSeconds, ...(await measure(session, o)) }),
    );
  } catch (error) {
    if (!isZo2Error(error) || !TOO_SMALL.includes(error.code)) throw error;
    fs.writeFileSync(
      o.json,
      JSON.stringify({ bench: "timeline", options: o, skipped: `${error.code}: ${error.message}` }),
    );
  } finally {
    await session?.dispose();
  }
});
