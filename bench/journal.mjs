/**
 * What a journal costs a training step, for OPT-125M shapes at a small batch on the CPU, where a step is short and the
 * share is the largest: steps with a run that is kept in each durability, beside steps without, block by block in one
 * process. Beside the ratio, which the noise of steps limits, the time of a record itself, and its bytes. And what
 * fingerprints cost while weights are read: loading with and without them, beside a plain read of the same file.
 *
 *   node bench/journal.mjs [--batch 1] [--seq 32] [--steps 8] [--rounds 5] [--threads 2]
 *
 * The journals are on the disk of the system's temporary folder (TMPDIR). Writes bench/results/journal-cpu.json
 * (--out); `node scripts/bench-tables.mjs` makes the table of docs/journal.md from it.
 */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { openCheckpoint } from "../dist/esm/checkpoint/index.js";
import { TensorHashes } from "../dist/esm/checkpoint/tensor-hashes.js";
import { checkTensors, loadWeights } from "../dist/esm/checkpoint/weights.js";
import { loadModel, Trainer } from "../dist/esm/index.js";
import { JournalWriter } from "../dist/esm/journal/writer.js";
import { loadedOf } from "../dist/esm/loaded.js";
import { loadNative } from "zo2/native";
import { timed } from "./lib/kept-runs.mjs";
import { describeCommit, describeMachine, machineSeconds, processSeconds } from "./lib/machine.mjs";
import { OPT_125M } from "./lib/opt-shape.mjs";
import { readOptions, runMain } from "./lib/options.mjs";
import { foreignCores, orderOf } from "./lib/program.mjs";
import { compareSpeed, median, preferQuiet } from "./lib/summary.mjs";
import { idsFor } from "./lib/tokens.mjs";
import { DEFAULT_CACHE, ensureModel } from "./peer/make-model.mjs";

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const DEFAULTS = {
  ...OPT_125M,
  ...{ batch: 1, seq: 32, steps: 8, rounds: 5, threads: 2, cache: DEFAULT_CACHE },
  out: path.join(root, "bench", "results", "journal-cpu.json"),
};
const NO_RUN = "no run";
const WAYS = [NO_RUN, "second", "step", "never"];
const PIECE_BYTES = 8 * 2 ** 20;

const clock = () => ({
  at: performance.now() / 1000,
  machine: machineSeconds(),
  own: processSeconds(process.pid),
});

/**
 * Times every record from the call until it is in the file.
 * @returns `take()`: those since the last call, `{seconds, bytes}`
 */
function watchRecords() {
  let times = [];
  const { step } = JournalWriter.prototype;
  JournalWriter.prototype.step = async function (record) {
    const before = this.bytes;
    const { seconds } = await timed(() => step.call(this, record));
    times.push({ seconds, bytes: this.bytes - before });
  };
  return {
    take: () => {
      const taken = times;
      times = [];
      return taken;
    },
  };
}

/** A block of steps in one way, the first left out: it waits for what a fit does before. */
async function block(model, way, o, examples, scratch, seed) {
  const run = path.join(scratch, `run-${seed}`);
  const kept = way === NO_RUN ? {} : { run, durability: way };
  const method = { name: "mezo-sgd", learningRate: 1e-7 };
  const trainer = new Trainer(model, {
    method,
    steps: o.steps + 1,
    batchSize: o.batch,
    seed,
    checkData: false,
    ...kept,
  });
  const seconds = [];
  let before = clock();
  for await (const step of trainer.fit(examples)) {
    if (step.index === 0) before = clock();
    else seconds.push(step.seconds);
  }
  const foreign = foreignCores(before, clock());
  fs.rmSync(run, { recursive: true, force: true });
  return { t: median(seconds), foreign };
}

async function measureSteps(model, o, scratch) {
  const ids = idsFor({ seed: 1, step: 0, batch: 16, seq: o.seq, vocab: model.vocabSize });
  const examples = ids.map((row) => ({ ids: [...row] }));
  const records = watchRecords();
  const blocks = WAYS.map(() => []);
  const written = WAYS.map(() => []);
  let seed = 0;
  for (let round = 0; round <= o.rounds; round++) {
    for (const i of orderOf(round, WAYS.length)) {
      const taken = await block(model, WAYS[i], o, examples, scratch, seed++);
      const found = records.take();
      // Round 0 is warm-up.
      if (round === 0) continue;
      blocks[i].push(taken);
      written[i].push(...found);
    }
  }
  return WAYS.map((way, i) => {
    const { used, quiet } = preferQuiet(blocks[i]);
    const seconds = median(used.map(({ t }) => t));
    const row = { way, seconds, quiet, blocks: blocks[i].length, all: blocks[i] };
    if (way === NO_RUN) return row;
    const times = written[i].map((record) => record.seconds).sort((a, b) => a - b);
    const record = median(times);
    return {
      ...{ ...row, speed: compareSpeed(blocks[i], blocks[0]), record, recordMost: times.at(-1) },
      ...{ records: times.length, share: record / seconds, bytes: median(written[i].map(({ bytes }) => bytes)) },
    };
  });
}

/** GB/s of reading the weights, and of the file alone. */
async function measureReading(model, folder, o) {
  const { session, parameters, definition } = loadedOf(model);
  const file = path.join(folder, "model.safetensors");
  const { size } = fs.statSync(file);
  const { add } = TensorHashes.prototype;
  const load = async (hashed) => {
    TensorHashes.prototype.add = hashed ? add : async () => undefined;
    const checkpoint = await openCheckpoint(folder);
    try {
      const entries = checkTensors(checkpoint, parameters, definition.namePrefixes, definition.aliases);
      await session.rewrite(true, async () => {
        await loadWeights(session.store, session.units, checkpoint, entries, { isBase: true });
      });
    } finally {
      await checkpoint.close();
      TensorHashes.prototype.add = add;
    }
  };
  const plain = async () => {
    const handle = await fs.promises.open(file);
    const piece = new Uint8Array(PIECE_BYTES);
    while ((await handle.read(piece, 0, PIECE_BYTES)).bytesRead > 0);
    await handle.close();
  };
  const ways = [
    { what: "with fingerprints", work: () => load(true), samples: [] },
    { what: "without", work: () => load(false), samples: [] },
    { what: "the file alone", work: plain, samples: [] },
  ];
  for (let round = 0; round <= o.rounds; round++) {
    for (const i of orderOf(round, ways.length)) {
      const before = clock();
      const { seconds } = await timed(ways[i].work);
      if (round > 0) ways[i].samples.push({ t: seconds, foreign: foreignCores(before, clock()) });
    }
  }
  return {
    bytes: size,
    rows: ways.map(({ what, samples }) => {
      const { used, quiet } = preferQuiet(samples);
      const seconds = median(used.map(({ t }) => t));
      return { what, seconds, gigabytesPerSecond: size / seconds / 1e9, quiet, all: samples };
    }),
    speed: compareSpeed(ways[0].samples, ways[1].samples),
  };
}

await runMain("journal", async () => {
  const o = readOptions(process.argv.slice(2), DEFAULTS);
  const folder = ensureModel(o);
  const scratch = fs.mkdtempSync(path.join(os.tmpdir(), "zo2-journal-"));
  const model = await loadModel(folder, { device: "cpu", threads: o.threads, offload: { to: "host" } });
  try {
    const reading = await measureReading(model, folder, o);
    for (const { what, gigabytesPerSecond } of reading.rows)
      console.log(`${what}: ${gigabytesPerSecond.toFixed(2)} GB/s`);
    const steps = await measureSteps(model, o, scratch);
    for (const { way, seconds, record, share } of steps)
      console.log(
        `${way}: ${seconds.toFixed(4)} s a step` +
          (record === undefined ? "" : `, ${(record * 1e6).toFixed(0)} us a record, ${(share * 100).toFixed(3)} %`),
      );
    const { batch, seq, threads, rounds } = o;
    const result = {
      ...{ bench: "journal", date: new Date().toISOString(), ...describeCommit(root), device: describeMachine() },
      ...{ node: process.version, build: loadNative().build, parameters: model.parameterCount },
      ...{ batch, seq, threads, rounds, stepsOfBlock: o.steps, steps, reading },
    };
    fs.writeFileSync(o.out, `${JSON.stringify(result, null, 2)}\n`);
    console.log(`written: ${o.out}`);
  } finally {
    await model.dispose();
    fs.rmSync(scratch, { recursive: true });
  }
});
