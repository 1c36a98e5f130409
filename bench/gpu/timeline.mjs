/**
 * What the lanes did during streamed MeZO steps, command by command: begin and end of each by events on its own
 * lane, through the native API. Writes the spans, how much of them overlapped, the step that bytes and operations
 * predict, and device memory at its peak beside the plan's.
 *
 *   node bench/gpu/timeline.mjs --json FILE [--device cuda] [--layers 8 --hidden 2048 --ffn 8192 --heads 32 ...]
 *   [--batch 8 --seq 256]
 *     [--wire fp16 --dtype fp16 --slots 3] [--steps 3] [--transfer-rate B/s --memory-rate B/s --flop-rate FLOP/s]
 *
 * The rates are measured ones of the other benches; without them nothing is predicted. Default: a third of OPT-1.3B's
 * layers, whole in width.
 */
import fs from "node:fs";
import { packBatch } from "../../dist/esm/data/index.js";
import { loadModel } from "../../dist/esm/index.js";
import { mezoStep, sessionOf } from "../lib/session.mjs";
import { readOptions, runMain } from "../lib/options.mjs";
import { idsFor } from "../lib/tokens.mjs";
import { DEFAULT_CACHE, ensureModel } from "../peer/make-model.mjs";
import { overlapOf, predictStep } from "./lanes.mjs";

const DEFAULTS = {
  device: "cuda",
  layers: 8,
  hidden: 2048,
  ffn: 8192,
  heads: 32,
  vocab: 50272,
  maxpos: 2048,
  seed: 0,
  cache: DEFAULT_CACHE,
  batch: 8,
  seq: 256,
  steps: 3,
  warmup: 2,
  slots: 3,
  wire: "fp16",
  dtype: "fp16",
  json: null,
  "transfer-rate": Number.NaN,
  "memory-rate": Number.NaN,
  "flop-rate": Number.NaN,
};

async function step(model, o, index) {
  const ids = idsFor({ seed: 0, step: index, batch: o.batch, seq: o.seq, vocab: model.vocabSize });
  const batch = packBatch(ids.map((row) => ({ kind: "tokens", ids: row, labels: row })));
  const session = sessionOf(model);
  const settings = { step: index, seed: 1n, eps: 1e-3, learningRate: 1e-7, weightDecay: 0, noise: "gaussian" };
  const losses = await mezoStep(session, [batch], settings);
  await session.settle();
  return losses;
}

function summary(spans, o) {
  const overlap = overlapOf(spans);
  const rates = { transferRate: o["transfer-rate"], memoryRate: o["memory-rate"], flopRate: o["flop-rate"] };
  const known = Object.values(rates).every((rate) => rate > 0);
  const predicted = known ? { predicted: { ...rates, ...predictStep(spans, rates) } } : {};
  return { ...overlap, overlapped: overlap.twoLanesSeconds + overlap.threeLanesSeconds > 0, ...predicted };
}

await runMain("timeline", async () => {
  const o = readOptions(process.argv.slice(2), DEFAULTS);
  if (o.json === null) throw new Error("--json is missing: the file to write");
  const model = await loadModel(ensureModel(o), {
    device: o.device,
    dtype: o.dtype,
    maxTokens: o.batch * o.seq,
    offload: { to: "host", wire: o.wire, slots: o.slots },
  });
  try {
    for (let i = 0; i < o.warmup; i++) await step(model, o, i);
    const session = sessionOf(model);
    const trace = session.trace();
    const steps = [];
    for (let i = 0; i < o.steps; i++) {
      const losses = await step(model, o, o.warmup + i);
      const spans = trace.take();
      const zero = Math.min(...spans.map((span) => span.begin));
      steps.push({
        losses,
        ...summary(spans, o),
        spans: spans.map((span) => ({ ...span, begin: span.begin - zero, end: span.end - zero })),
      });
    }
    const info = session.info();
    const result = {
      bench: "timeline",
      options: o,
      device: { kind: info.kind, name: info.name, features: info.features },
      parameters: model.parameterCount,
      waits: session.waits,
      memory: {
        peakBytes: info.deviceBytesPeak,
        predictedBytes: model.plan().deviceBytes,
        freeBytes: info.memoryFree,
        totalBytes: info.memoryTotal,
      },
      steps,
    };
    fs.writeFileSync(o.json, JSON.stringify(result));
    for (const { wallSeconds, serialSeconds, twoLanesSeconds, threeLanesSeconds, predicted } of steps) {
      console.log(
        JSON.stringify({
          wallSeconds,
          serialSeconds,
          twoLanesSeconds,
          threeLanesSeconds,
          predictedSeconds: predicted?.seconds ?? null,
        }),
      );
    }
  } finally {
    await model.dispose();
  }
});
