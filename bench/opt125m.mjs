/**
 * Tokens per second and peak memory of a MeZO step for OPT-125M shapes in fp32 on the CPU, every position labelled: zo2
 * with resident and with streamed weights, alternating step by step in one run with a PyTorch program that takes the
 * same step.
 *
 *   node bench/opt125m.mjs --peer PATH/opt_mezo_torch.py [--python /usr/bin/python3] [--rounds 5] [--shapes
 *   8x128,1x512]
 *
 * Without --peer it runs zo2 alone and says so. The peer is a program of its own, described in bench/README.md. Writes
 * bench/results/opt125m-cpu.json (--out); `node scripts/bench-tables.mjs` makes the README's table from it.
 */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { describeCommit, describeMachine } from "./lib/machine.mjs";
import { OPT_125M, parameterCount } from "./lib/opt-shape.mjs";
import { readOptions, readShapes, runMain } from "./lib/options.mjs";
import { alternate, Program } from "./lib/program.mjs";
import { compareSpeed, largestDifference, median, preferQuiet, summarise } from "./lib/summary.mjs";
import { DEFAULT_CACHE, ensureModel } from "./peer/make-model.mjs";

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));

/** The program with the losses to agree with, and the one that the goals are about. */
const ORIGINAL = "torch original";
const OURS = [
  { name: "zo2 resident", offload: "device" },
  { name: "zo2 streamed", offload: "host" },
];
const PEERS = [
  { name: ORIGINAL, impl: "original" },
  { name: "torch addcmul", impl: "addcmul" },
];
/** Times the speed of the original that a shape is meant to reach. */
const GOALS = { "8x128": 2.2, "1x512": 3.4 };
/** Largest relative difference of the losses of one step from the same weights along the same direction. */
const AGREEMENT = 1e-5;
/** The second step stands on weights that the first has updated. */
const AGREEMENT_STEPS = 2;
/**
 * Debian's OpenBLAS that shares torch's thread pool; the default one has a pool of its own, and the two get into each
 * other's way.
 */
const OPENMP_BLAS = "/usr/lib/x86_64-linux-gnu/openblas-openmp";

const DEFAULTS = {
  ...OPT_125M,
  peer: null,
  python: "/usr/bin/python3",
  rounds: 5,
  shapes: "8x128,1x512",
  threads: 2,
  "profile-steps": 3,
  cache: DEFAULT_CACHE,
  out: path.join(root, "bench", "results", "opt125m-cpu.json"),
};

function peerEnvironment(threads) {
  return {
    OMP_NUM_THREADS: String(threads),
    OMP_PROC_BIND: "true",
    ...(fs.existsSync(OPENMP_BLAS) ? { LD_LIBRARY_PATH: OPENMP_BLAS } : {}),
  };
}

/** Makes the programs of one shape. Extra arguments come last. */
class Programs {
  constructor(o, model, scratch) {
    this.o = o;
    this.model = model;
    this.scratch = scratch;
    this.made = [];
  }

  ours(spec, shape, extra = []) {
    const file = this.summaryFile();
    const args = [
      path.join(root, "bench", "mezo-step.mjs"),
      "--stdin",
      "--model",
      this.model,
      "--offload",
      spec.offload,
      ...this.common(shape),
      "--json",
      file,
      ...extra,
    ];
    return this.add(new Program(spec.name, { file: process.execPath, args }, file));
  }

  peer(spec, shape, extra = []) {
    const file = this.summaryFile();
    const { o } = this;
    const sizes = Object.keys(OPT_125M).flatMap((name) => [`--${name}`, String(o[name])]);
    const args = [
      o.peer,
      "--stdin",
      "--load",
      path.join(this.model, "model.safetensors"),
      "--impl",
      spec.impl,
      ...sizes,
      ...this.common(shape),
      "--json",
      file,
      ...extra,
    ];
    return this.add(new Program(spec.name, { file: o.python, args, env: peerEnvironment(o.threads) }, file));
  }

  async killAll() {
    await Promise.all(this.made.map((p) => p.kill()));
  }

  common(shape) {
    return ["--batch", String(shape.batch), "--seq", String(shape.seq), "--threads", String(this.o.threads)];
  }

  summaryFile() {
    return path.join(this.scratch, `summary-${this.made.length}.json`);
  }

  add(program) {
    this.made.push(program);
    return program;
  }
}

/**
 * Both programs along the direction of ones, whose steps do not depend on a generator. @throws Error where their losses
 * differ
 */
async function checkAgreement(programs, shape) {
  const losses = async (program) => {
    const [steps] = await alternate([program], AGREEMENT_STEPS - 1);
    await program.finish();
    return steps.flatMap((s) => [s.loss, s.loss2]);
  };
  const theirs = await losses(programs.peer(PEERS[0], shape, ["--z", "ones"]));
  const ours = await losses(programs.ours(OURS[1], shape, ["--noise", "ones"]));
  const difference = largestDifference(ours, theirs);
  if (!(difference <= AGREEMENT)) {
    throw new Error(
      `${shape.name}: the losses differ by ${difference.toExponential(1)} (${AGREEMENT} is allowed): zo2 ` +
        `${ours.join(", ")}; ${ORIGINAL} ${theirs.join(", ")}; ` +
        "a time would mean nothing",
    );
  }
  return { steps: AGREEMENT_STEPS, largestRelativeDifference: difference, allowed: AGREEMENT, ours, theirs };
}

function memoryOf(summary) {
  const { rss_import_mib: runtime, rss_peak_mib: peak } = summary;
  return { peakMiB: peak, runtimeMiB: runtime, netMiB: peak - runtime };
}

function rowOf(shape, program, steps, summary) {
  const measured = steps.slice(1);
  const row = {
    shape: shape.name,
    batch: shape.batch,
    seq: shape.seq,
    program: program.name,
    ...summarise(measured, shape.batch * shape.seq),
    memory: memoryOf(summary),
    losses: measured.map((s) => s.loss),
  };
  if (summary.plan !== undefined)
    return { ...row, plan: summary.plan, eventLoop: summary.loop, waits: summary.waits, flushSeconds: summary.flush_s };
  const part = (field) => median(preferQuiet(measured).used.map((s) => s[field]));
  return { ...row, parts: { forward: part("t_forward"), perturb: part("t_perturb"), update: part("t_update") } };
}

/** Every program against every peer but itself. */
function comparisons(shape, rows, steps) {
  const of = (name) => rows.findIndex((row) => row.program === name);
  return rows.flatMap((row, i) =>
    PEERS.filter(({ name }) => name !== row.program).map(({ name: against }) => ({
      shape: shape.name,
      program: row.program,
      against,
      speed: compareSpeed(steps[i].slice(1), steps[of(against)].slice(1)),
      netMemory: row.memory.netMiB / rows[of(against)].memory.netMiB,
      ...(row.plan !== undefined && against === ORIGINAL && GOALS[shape.name] !== undefined
        ? { goal: GOALS[shape.name] }
        : {}),
    })),
  );
}

async function measureShape(programs, o, shape) {
  const alone = o.peer === null;
  const agreement = alone ? null : await checkAgreement(programs, shape);
  if (agreement !== null)
    console.log(
      `${shape.name}: losses agree within ${agreement.largestRelativeDifference.toExponential(1)} along the ` +
        "direction of ones",
    );
  const running = [
    ...(alone ? [] : PEERS.map((spec) => programs.peer(spec, shape))),
    ...OURS.map((spec) => programs.ours(spec, shape)),
  ];
  const steps = await alternate(running, o.rounds, (program, step, round) => {
    const foreign = step.foreign === null ? "?" : step.foreign.toFixed(2);
    console.log(
      `${shape.name} ${round === 0 ? "warm-up" : `round ${round}/${o.rounds}`} ${program.name}: ` +
        `${step.t.toFixed(3)} s, ${foreign} cores used by others`,
    );
  });
  const summaries = [];
  for (const program of running) summaries.push(await program.finish());
  const rows = running.map((program, i) => rowOf(shape, program, steps[i], summaries[i]));
  const profiled = programs.ours(OURS[1], shape, ["--profile"]);
  const [profileSteps] = await alternate([profiled], o["profile-steps"]);
  const profile = await profiled.finish();
  return {
    about: { build: profile.build, torch: alone ? null : summaries[0].impl.split("-")[1] },
    agreement: agreement === null ? null : { shape: shape.name, ...agreement },
    rows,
    ratios: alone ? [] : comparisons(shape, rows, steps),
    breakdown: {
      shape: shape.name,
      program: OURS[1].name,
      overlap: false,
      step: summarise(profileSteps.slice(1), shape.batch * shape.seq),
      ...profile.breakdown,
    },
  };
}

function report(result) {
  for (const row of result.rows) {
    console.log(
      `${row.shape} ${row.program}: ${row.seconds.toFixed(3)} s, ${row.tokensPerSecond.toFixed(1)} tokens/s, ` +
        `peak ${row.memory.peakMiB.toFixed(0)} MiB ` +
        `(net ${row.memory.netMiB.toFixed(0)}), ${row.quiet} of ${row.steps} steps quiet`,
    );
  }
  for (const { shape, program, against, speed, netMemory, goal } of result.ratios) {
    const aim = goal === undefined ? "" : `, goal ${goal}`;
    console.log(
      `${shape} ${program} / ${against}: ${speed.ratio.toFixed(2)} times the speed (${speed.least.toFixed(2)} ` +
        `to ${speed.most.toFixed(2)} over ` +
        `${speed.quiet === 0 ? `${speed.rounds} rounds, none quiet` : `${speed.quiet} quiet rounds`}${aim}), ` +
        `${netMemory.toFixed(2)} times the net memory`,
    );
  }
  for (const { shape, seconds, rows, matrixProducts } of result.breakdown) {
    const parts = rows
      .slice(0, 6)
      .map((r) => `${r.what} ${(100 * r.share).toFixed(0)} %`)
      .join(", ");
    console.log(
      `${shape} without overlap: ${seconds.toFixed(3)} s; ${parts}; matrix products at ` +
        `${matrixProducts.gflops.toFixed(0)} GFLOP/s`,
    );
  }
}

await runMain("opt125m", async () => {
  const o = readOptions(process.argv.slice(2), DEFAULTS);
  const shapes = readShapes(o.shapes);
  if (!(Number.isInteger(o.rounds) && o.rounds >= 1))
    throw new Error(`--rounds is ${o.rounds}; it has to be at least 1`);
  if (o.peer === null) console.log("no --peer PATH/opt_mezo_torch.py: zo2 runs alone, and nothing is compared");
  else if (!fs.existsSync(o.peer)) throw new Error(`--peer ${o.peer}: no such file`);
  if (!fs.existsSync(path.join(root, "dist", "esm", "index.js")))
    throw new Error("dist/ is missing; run npm run build:all first");
  const shape = Object.fromEntries(Object.keys(OPT_125M).map((name) => [name, o[name]]));
  const model = ensureModel({ cache: o.cache, ...shape });
  const scratch = fs.mkdtempSync(path.join(os.tmpdir(), "zo2-bench-run-"));
  const programs = new Programs(o, model, scratch);
  const stop = () => void programs.killAll().finally(() => process.exit(130));
  process.once("SIGINT", stop);
  try {
    const measured = [];
    for (const s of shapes) measured.push(await measureShape(programs, o, s));
    const { build, torch } = measured[0].about;
    const result = {
      bench: "opt125m",
      date: new Date().toISOString(),
      ...describeCommit(root),
      device: describeMachine(),
      node: process.version,
      build,
      torch,
      model: { ...shape, parameters: parameterCount(shape), dtype: "fp32" },
      threads: o.threads,
      labels: "all",
      peerEnvironment: o.peer === null ? null : peerEnvironment(o.threads),
      agreement: measured.map((m) => m.agreement).filter((a) => a !== null),
      rows: measured.flatMap((m) => m.rows),
      ratios: measured.flatMap((m) => m.ratios),
      breakdown: measured.map((m) => m.breakdown),
    };
    report(result);
    fs.mkdirSync(path.dirname(o.out), { recursive: true });
    fs.writeFileSync(o.out, `${JSON.stringify(result, null, 2)}\n`);
    console.log(`written: ${o.out}`);
  } finally {
    process.off("SIGINT", stop);
    await programs.killAll();
    fs.rmSync(scratch, { recursive: true, force: true });
  }
});
