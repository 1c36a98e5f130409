/**
 * The program under test: takes MeZO steps on an OPT-shaped folder and prints one JSON line for each, so that another
 * program can alternate it with the peer (`opt_mezo_torch.py --stdin`, whose options have the same names).
 *
 *   node bench/mezo-step.mjs --model DIR --stdin            one step for each line on standard input
 *   node bench/mezo-step.mjs --model DIR --steps 3          or so many, after --warmup
 *   node bench/mezo-step.mjs --model DIR --steps 3 --profile   and where the time goes, one command after another
 *
 * A step's time `t` is all of it, from packing the batch until the losses are back and the weights rest again: noise,
 * both forward passes, loss, transfers, and one update. The update is that of the step before (it is applied in the
 * next visit of each unit), so the first step has none and counts as warm-up. One step is in flight at a time, which is
 * fair for a time per step; training has two.
 */
import fs from "node:fs";
import readline from "node:readline";
import { packBatch } from "../dist/esm/data/index.js";
import { loadModel } from "../dist/esm/index.js";
import { canonicalLength } from "../dist/esm/ops/parameter.js";
import { loadNative } from "zo2/native";
import { breakdown } from "./lib/breakdown.mjs";
import { watchLoop } from "./lib/loop-delay.mjs";
import { ownMemory } from "./lib/machine.mjs";
import { oneOf, readOptions, runMain } from "./lib/options.mjs";
import { profile } from "./lib/profile.mjs";
import { mezoStep, sessionOf } from "./lib/session.mjs";
import { median } from "./lib/summary.mjs";
import { idsFor } from "./lib/tokens.mjs";

const NOT_SCORED = -100;

const DEFAULTS = {
  model: null,
  batch: 8,
  seq: 128,
  steps: 3,
  warmup: 1,
  threads: 2,
  seed: 0,
  "zo-seed": 1,
  eps: 1e-3,
  lr: 1e-7,
  wd: 0,
  offload: "host",
  overlap: "on",
  wire: "stored",
  slots: 3,
  "unit-bytes": null,
  "device-memory": null,
  noise: "gaussian",
  labels: "all",
  stdin: false,
  profile: false,
  json: null,
};

function modelOptions(o) {
  return {
    device: "cpu",
    threads: o.threads,
    offload: {
      to: oneOf(o, "offload", ["host", "device"]),
      wire: o.wire,
      slots: o.slots,
      overlap: oneOf(o, "overlap", ["on", "off"]) === "on" && !o.profile,
      ...(o["unit-bytes"] === null ? {} : { unitBytes: o["unit-bytes"] }),
      ...(o["device-memory"] === null ? {} : { deviceMemory: o["device-memory"] }),
    },
  };
}

function examplesOf(o, step, vocab) {
  return idsFor({ seed: o.seed, step, batch: o.batch, seq: o.seq, vocab }).map((ids) => ({
    kind: "tokens",
    ids,
    labels: o.labels === "all" ? ids : ids.map((id, t) => (t === ids.length - 1 ? id : NOT_SCORED)),
  }));
}

function noiseOf(o, model) {
  return o.noise === "ones" ? { z: new Float32Array(canonicalLength(model.parameters)).fill(1) } : o.noise;
}

function stepper(model, o) {
  const noise = noiseOf(o, model);
  const session = sessionOf(model);
  return async (index) => {
    const examples = examplesOf(o, index, model.vocabSize);
    const { value, delay } = await watchLoop(async () => {
      const begin = performance.now();
      const losses = await mezoStep(session, [packBatch(examples)], {
        step: index,
        seed: BigInt(o["zo-seed"]),
        eps: o.eps,
        learningRate: o.lr,
        weightDecay: o.wd,
        noise,
      });
      const back = performance.now();
      // Losses may be back before the last unit is.
      await session.settle();
      const end = performance.now();
      return { ...losses, t: (end - begin) / 1000, t_losses: (back - begin) / 1000 };
    });
    const { lossPlus, lossMinus, projectedGradient, t, t_losses } = value;
    return {
      step: index,
      loss: lossPlus,
      loss2: lossMinus,
      g: projectedGradient,
      t,
      t_losses,
      loop: delay,
      waits: session.waits,
    };
  };
}

async function timedFlush(model) {
  const begin = performance.now();
  await sessionOf(model).flush();
  return (performance.now() - begin) / 1000;
}

/** The steps that were asked for; `show` is called with each. */
async function takeSteps(o, step, show) {
  const taken = [];
  const take = async () => {
    taken.push(await step(taken.length));
    show(taken.at(-1));
  };
  if (o.stdin) {
    for await (const _line of readline.createInterface({ input: process.stdin })) await take();
  } else {
    while (taken.length < o.warmup + o.steps) await take();
  }
  return taken;
}

function summary(model, o, steps, about) {
  const measured = steps.length > o.warmup ? steps.slice(o.warmup) : steps;
  const plan = model.plan();
  const seconds = median(measured.map((s) => s.t));
  return {
    impl: `zo2-${o.offload}`,
    build: loadNative().build,
    node: process.version,
    params: model.parameterCount,
    batch: o.batch,
    seq: o.seq,
    threads: o.threads,
    t_step: seconds,
    tokens_per_s: (o.batch * o.seq) / seconds,
    // Percentiles of single steps cannot be pooled: the middle of the medians, the worst of the rest.
    loop: {
      p50: median(measured.map((s) => s.loop.p50)),
      p99: Math.max(...measured.map((s) => s.loop.p99)),
      max: Math.max(...measured.map((s) => s.loop.max)),
    },
    waits: sessionOf(model).waits,
    plan: {
      deviceBytes: plan.deviceBytes,
      hostBytes: plan.hostBytes,
      deviceParts: plan.parts,
      units: plan.units.length,
    },
    ...about,
  };
}

await runMain("mezo-step", async () => {
  const o = readOptions(process.argv.slice(2), DEFAULTS);
  if (o.model === null) throw new Error("--model is missing: a folder that bench/peer/make-model.mjs wrote");
  oneOf(o, "noise", ["gaussian", "rademacher", "ones"]);
  oneOf(o, "labels", ["all", "last"]);
  loadNative();
  const rss_import_mib = ownMemory().now;
  const model = await loadModel(o.model, modelOptions(o));
  try {
    const rss_model_mib = ownMemory().now;
    let profiler = null;
    const profiles = [];
    const step = stepper(model, o);
    const steps = await takeSteps(o, step, (s) => {
      console.log(JSON.stringify(s));
      const entries = profiler?.take() ?? [];
      if (entries.length > 0) profiles.push(entries);
      // The first step makes the plan: steps from the next on are timed.
      if (o.profile) profiler ??= profile(model);
    });
    const flush_s = await timedFlush(model);
    const result = summary(model, o, steps, { flush_s, rss_import_mib, rss_model_mib, rss_peak_mib: ownMemory().peak });
    if (profiler !== null && profiles.length > 0) result.breakdown = breakdown(profiles);
    if (o.json === null) {
      if (!o.stdin) console.log(JSON.stringify(result));
    } else {
      fs.writeFileSync(o.json, JSON.stringify({ ...result, steps }));
    }
  } finally {
    await model.dispose();
  }
});
