/**
 * What the three lanes did during streamed MeZO steps, command by command: begin and end of each by events on its own
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
import { CommandList } from "../../dist/esm/device/words.js";
import { unitProgram } from "../../dist/esm/memory/operands.js";
import { OPS } from "../../dist/esm/ops/table.js";
import { inside, weightsAtRest } from "../lib/inside.mjs";
import { readOptions, runMain } from "../lib/options.mjs";
import { splitProgram } from "../lib/split-program.mjs";
import { idsFor } from "../lib/tokens.mjs";
import { DEFAULT_CACHE, ensureModel } from "../peer/make-model.mjs";
import { overlapOf, predictStep } from "./lanes.mjs";

const OPCODES = Object.fromEntries(Object.entries(OPS).map(([name, { code }]) => [name, code]));

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

/**
 * Puts an event before and after every command of the passes that `model` submits from now on, each on the command's
 * own lane.
 */
class Tracer {
  constructor(model) {
    const { device, executor, recording } = inside(model);
    this.device = device;
    this.executor = executor;
    this.passes = [];
    const { plan } = executor;
    this.flops = plan.units.map((unit) =>
      splitProgram(unitProgram(plan, unit, recording.inputs), OPCODES).map(({ flops }) => flops),
    );
    executor.submit = (commands, data, doneEvent) => this.submit(commands, data, doneEvent);
  }

  async submit(commands, data, doneEvent) {
    const { executor, device } = this;
    const list = new SymbolList();
    const spans = [];
    for (const command of commands) {
      if (command.kind === "record" || command.kind === "wait") {
        executor.encode(list, command, data);
        continue;
      }
      const stream = executor.stream(command.lane);
      const span = { command, before: device.createEvent(), after: device.createEvent() };
      list.record(stream, span.before);
      executor.encode(list, command, data);
      list.record(stream, span.after);
      spans.push({ ...span, amounts: this.amounts(command, list.symbols) });
    }
    this.passes.push(spans);
    device.submit(list.words, list.handles);
    await executor.event(doneEvent).done();
  }

  /**
   * What a command moves and computes: `bytes` between host and device, `deviceBytes` within the device, `flops` of
   * matrix products.
   */
  amounts(command, symbols) {
    const unit = this.executor.plan.units[command.unit];
    switch (command.kind) {
      case "upload":
      case "offload":
        return { bytes: unit.wireBytes };
      case "prepare":
        return {
          deviceBytes: unit.wireBytes * (command.update ? 2 : 1) + (command.scratch ? 2 * unit.scratchBytes : 0),
        };
      case "run":
        return {
          deviceBytes: unit.scratchBytes,
          flops: this.flops[command.unit].reduce((sum, flops) => sum + flops(symbols), 0),
        };
      default:
        return {};
    }
  }

  /**
   * The passes since the last call, their times read and their events given back. Everything submitted must have run.
   */
  take() {
    const taken = this.passes.map((spans) =>
      spans.map(({ command, before, after, amounts }) => {
        const { kind, lane, unit, branch } = command;
        const where = { ...(unit === undefined ? {} : { unit }), ...(branch === undefined ? {} : { branch }) };
        const span = { lane, kind, ...where, begin: before.time(), end: after.time(), ...amounts };
        before.dispose();
        after.dispose();
        return span;
      }),
    );
    this.passes = [];
    return taken;
  }
}

/** A command list that keeps the symbols of its latest run. */
class SymbolList extends CommandList {
  symbols = [];

  run(stream, args) {
    this.symbols = args.symbols;
    super.run(stream, args);
  }
}

async function step(model, o, index) {
  const ids = idsFor({ seed: 0, step: index, batch: o.batch, seq: o.seq, vocab: model.vocabSize });
  const batch = packBatch(ids.map((row) => ({ kind: "tokens", ids: row, labels: row })));
  const { result } = await model.engine.train([batch], {
    step: index,
    seed: 1n,
    eps: 1e-3,
    learningRate: 1e-7,
    weightDecay: 0,
    noise: "gaussian",
  });
  const losses = await result;
  model.engine.commit();
  if (index > 0) await weightsAtRest(model);
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
    const tracer = new Tracer(model);
    const steps = [];
    for (let i = 0; i < o.steps; i++) {
      const losses = await step(model, o, o.warmup + i);
      const spans = tracer.take().flat();
      const zero = Math.min(...spans.map((span) => span.begin));
      steps.push({
        losses,
        ...summary(spans, o),
        spans: spans.map((span) => ({ ...span, begin: span.begin - zero, end: span.end - zero })),
      });
    }
    const { device } = inside(model);
    const info = device.info();
    const result = {
      bench: "timeline",
      options: o,
      device: { kind: info.kind, name: info.name, features: info.features },
      parameters: model.parameterCount,
      waits: device.waits,
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
