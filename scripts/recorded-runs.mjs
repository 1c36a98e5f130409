/**
 * Trains small fixture models in ways that cover the ways of the schedule, and compares the weights that come out, and
 * every loss on the way, with what an earlier commit recorded: a change that is meant to change no bit changes none of
 * these.
 *
 *   node scripts/recorded-runs.mjs                    compares with scripts/recorded-runs.json
 *   node scripts/recorded-runs.mjs --package DIR      runs the package in another folder (an older checkout, built)
 *   node scripts/recorded-runs.mjs --device cuda      with ZO2_BUILD_DIR naming an emulated build: the emulated run
 *   node scripts/recorded-runs.mjs --record           writes what it finds, under the device and the build
 *
 * Only the package's public surface is used. Losses depend on the matrix product and on the C library's functions, so a
 * hash holds for one kind of build on one kind of processor; both are recorded, and a run on another kind is said to be
 * incomparable. Exit code 1 when a hash differs.
 */
import { createHash } from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { fileURLToPath, pathToFileURL } from "node:url";

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const RECORDED = path.join(root, "scripts", "recorded-runs.json");

const option = (name, otherwise) => {
  const at = process.argv.indexOf(`--${name}`);
  return at < 0 ? otherwise : process.argv[at + 1];
};

/** Token ids of `count` texts below `vocab`, of lengths 3 to 17: a fixed linear congruential sequence. */
function texts(count, vocab) {
  let state = 12345;
  const next = (below) => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return (state >>> 8) % below;
  };
  return Array.from({ length: count }, () => ({ ids: Array.from({ length: 3 + next(15) }, () => next(vocab)) }));
}

const method = (o) => ({ name: "mezo-sgd", learningRate: 1e-3, eps: 1e-3, ...o });

/**
 * What each run is: a fixture, how it is loaded, how it is trained. `steps` is a multiple of what keeps two steps in
 * flight.
 */
const RUNS = {
  "fp32 streamed": {
    model: "opt",
    load: { offload: { to: "host", wire: "fp32", unitBytes: 40_000, slots: 2 } },
    train: {
      method: method({}),
      steps: 24,
      batchSize: 6,
      microBatchSize: 2,
      seed: 7,
      evaluation: { data: texts(9, 60), every: 10 },
    },
  },
  "fp16 stochastic": {
    model: "llama",
    load: { dtype: "fp16", rounding: "stochastic", offload: { to: "host", wire: "fp16", slots: 3 } },
    train: {
      method: method({ weightDecay: 0.1, schedule: { name: "linear", warmupSteps: 3 } }),
      steps: 20,
      batchSize: 4,
      seed: 11n,
    },
  },
  "frozen parameters": {
    model: "gpt2",
    load: { offload: { to: "device", wire: "bf16" }, rounding: "stochastic" },
    train: {
      method: method({ noise: "rademacher" }),
      steps: 16,
      batchSize: 5,
      seed: -3,
      freeze: ["*.wte.weight", "*.h.0.*", "*.ln_f.*"],
      deferredUpdate: false,
    },
  },
  emulated: {
    model: "opt",
    load: { offload: { to: "host", wire: "fp16", unitBytes: 60_000 }, dtype: "fp16", rounding: "stochastic" },
    train: { method: method({ weightDecay: 0.01 }), steps: 4, batchSize: 3, seed: 5, freeze: ["*.final_layer_norm.*"] },
  },
};

async function takeRun({ loadModel, Trainer }, device, { model: name, load, train }) {
  const model = await loadModel(path.join(root, "test", "fixtures", "models", name), { device, threads: 2, ...load });
  const out = fs.mkdtempSync(path.join(os.tmpdir(), "zo2-run-"));
  try {
    const losses = createHash("sha256");
    const trainer = new Trainer(model, train);
    const data = texts(31, Math.min(model.vocabSize, 60));
    const onEvaluation = ({ loss }) => void losses.update(`evaluation ${loss}\n`);
    for await (const step of trainer.fit(data, { onEvaluation })) {
      losses.update(`${step.index} ${step.lossPlus} ${step.lossMinus} ${step.projectedGradient}\n`);
    }
    await model.save(path.join(out, "model"));
    const weights = createHash("sha256").update(fs.readFileSync(path.join(out, "model", "model.safetensors")));
    return { weights: weights.digest("hex"), losses: losses.digest("hex") };
  } finally {
    await model.dispose();
    fs.rmSync(out, { recursive: true, force: true });
  }
}

const folder = path.resolve(option("package", root));
const device = option("device", "cpu");
const api = await import(pathToFileURL(path.join(folder, "dist", "esm", "index.js")).href);
const native = (await import(pathToFileURL(path.join(folder, "binding", "native.cjs")).href)).default;
const products = /matrix product: OpenBLAS/.test(native.loadNative().build) ? "OpenBLAS" : "our own matrix product";
/** Two generations may have one name, and libraries choose their kernels by generation. */
function processor() {
  const info = fs.readFileSync("/proc/cpuinfo", "utf8");
  const field = (name) => new RegExp(`^${name}\\s*: (.*)$`, "m").exec(info)?.[1] ?? "?";
  return `${os.cpus()[0]?.model ?? "unknown processor"}, family ${field("cpu family")}, model ${field("model")}`;
}

const kind = `${device}; ${processor()}${device === "cpu" ? `; ${products}` : ""}`;
const recorded = fs.existsSync(RECORDED) ? JSON.parse(fs.readFileSync(RECORDED, "utf8")) : {};
const names = Object.keys(RUNS).filter((name) => (name === "emulated") === (device !== "cpu"));

let different = 0;
const found = {};
for (const name of names) {
  found[name] = await takeRun(api, device, RUNS[name]);
  const before = recorded[kind]?.[name];
  const same =
    before === undefined
      ? "nothing is recorded for this kind of build"
      : JSON.stringify(before) === JSON.stringify(found[name])
        ? "the same"
        : "DIFFERENT";
  if (same === "DIFFERENT") different++;
  console.log(
    `${name}: weights ${found[name].weights.slice(0, 16)}, losses ${found[name].losses.slice(0, 16)}: ${same}`,
  );
}
if (process.argv.includes("--record")) {
  recorded[kind] = { ...recorded[kind], ...found };
  fs.writeFileSync(RECORDED, `${JSON.stringify(recorded, null, 2)}\n`);
  console.log(`recorded for ${kind}`);
}
process.exit(different === 0 ? 0 : 1);
