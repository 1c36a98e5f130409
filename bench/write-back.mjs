/**
 * What writing back less often and preparing ahead bring and cost: bytes that a step moves to the host, and seconds of
 * a step as a ratio to one that writes back at every visit and prepares in turn. All ways take the same steps in turn,
 * in one run.
 *
 *   node bench/write-back.mjs --model DIR     a folder that peer/make-model.mjs wrote; else docs/demo/tiny-opt
 *   node bench/write-back.mjs --out FILE      writes JSON too
 */
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { packBatch } from "../dist/esm/data/index.js";
import { loadModel } from "../dist/esm/index.js";
import { describeCommit, describeMachine, machineSeconds, processSeconds } from "./lib/machine.mjs";
import { readOptions, runMain } from "./lib/options.mjs";
import { mezoStep, sessionOf } from "./lib/session.mjs";
import { compareSpeed, median } from "./lib/summary.mjs";
import { idsFor } from "./lib/tokens.mjs";

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
/** As many steps as come round to the same place of every rhythm. */
const STEPS = 14;
const WAYS = [1, 2, 7].flatMap((writeBackEvery) =>
  ["off", "on"].map((prepareAhead) => ({ writeBackEvery, prepareAhead })),
);

async function open(o, way) {
  const moved = { bytes: 0 };
  const onPass = (_pass, commands) => {
    for (const { work } of commands)
      if (work.kind === "offload") moved.bytes += sessionOf(model).units[work.unit].wireBytes;
  };
  const offload = { to: "host", wire: o.wire, ...way };
  const model = await loadModel(o.model, { device: o.device, threads: o.threads, offload, test: { onPass } });
  let step = 0;
  const take = async () => {
    const ids = idsFor({ seed: 1, step, batch: o.batch, seq: o.seq, vocab: model.vocabSize });
    const examples = ids.map((row) => ({ kind: "tokens", ids: row, labels: row }));
    const settings = { seed: 1n, eps: 1e-3, learningRate: 1e-7, weightDecay: 0, noise: "gaussian" };
    await mezoStep(sessionOf(model), [packBatch(examples)], { step: step++, ...settings });
  };
  const round = async () => {
    const before = { bytes: moved.bytes, own: processSeconds(process.pid), all: machineSeconds() };
    const begin = performance.now();
    for (let i = 0; i < STEPS; i++) await take();
    await sessionOf(model).settle();
    const seconds = (performance.now() - begin) / 1000;
    const foreign =
      before.all === null
        ? null
        : Math.max(0, machineSeconds() - before.all - (processSeconds(process.pid) - before.own)) / seconds;
    return { t: seconds / STEPS, foreign, bytes: (moved.bytes - before.bytes) / STEPS };
  };
  return { way, model, take, round, rounds: [] };
}

await runMain("write-back", async () => {
  const defaults = { model: path.join(root, "docs/demo/tiny-opt"), device: "cpu", wire: "fp32", out: null };
  const o = readOptions(process.argv.slice(2), { ...defaults, batch: 4, seq: 64, threads: 2, rounds: 5 });
  const ways = [];
  for (const way of WAYS) ways.push(await open(o, way));
  // The first step makes the plan, and has no update.
  for (const { take } of ways) for (let i = 0; i <= STEPS; i++) await take();
  for (let r = 0; r < o.rounds; r++)
    for (const way of r % 2 === 0 ? ways : [...ways].reverse()) way.rounds.push(await way.round());
  const [base] = ways;
  const rows = ways.map(({ way, rounds }) => ({
    ...way,
    offloadedBytes: median(rounds.map(({ bytes }) => bytes)),
    seconds: median(rounds.map(({ t }) => t)),
    speed: compareSpeed(rounds, base.rounds),
  }));
  for (const { writeBackEvery, prepareAhead, offloadedBytes, seconds, speed } of rows) {
    const [least, most] = [speed.least, speed.most].map((ratio) => ratio.toFixed(2));
    const range = `${least} to ${most}, ${speed.quiet} of ${speed.rounds} rounds quiet`;
    console.log(
      `every ${writeBackEvery}, ahead ${prepareAhead}: ${Math.round(offloadedBytes)} bytes to the host a step, ` +
        `${seconds.toFixed(4)} s, ${speed.ratio.toFixed(2)} times the speed (${range})`,
    );
  }
  const { batch, seq, threads, wire } = o;
  const parameters = base.model.parameterCount;
  const result = { ...describeMachine(), ...describeCommit(root), parameters, batch, seq, threads, wire, rows };
  if (o.out !== null) fs.writeFileSync(o.out, `${JSON.stringify(result, null, 2)}\n`);
  for (const { model } of ways) await model.dispose();
});
