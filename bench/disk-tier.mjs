/**
 * Training a model whose weights rest on disk, in less memory than they take: a shape of OPT-1.3B in fp32 (5.3 GB,
 * synthetic weights) takes the same MeZO steps with its weights on disk, in a control group whose memory is limited,
 * and with its weights in host memory and no limit. One process each, one after the other.
 *
 *   node bench/disk-tier.mjs --disk /nvme/scratch           as root, where cgroup v1 or v2 has a memory controller
 *   node bench/disk-tier.mjs --disk FOLDER --limit 1.5e9    bytes that the group may have; 1.25 times the plan's
 *   node bench/disk-tier.mjs --disk FOLDER --out FILE       writes JSON
 *
 * The limit counts everything that the process makes the kernel hold: its memory, and pages of files. Peaks are those
 * of resident memory (VmHWM); `runtime` is what Node and the addon had before the model was opened.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { loadNative } from "zo2/native";
import { packBatch } from "../dist/esm/data/index.js";
import { diskBytes, hostBytes, deviceBytes } from "../dist/esm/memory/plan.js";
import { describeCommit, describeMachine, machineSeconds, ownMemory, processSeconds } from "./lib/machine.mjs";
import { OPT_MODELS, parameterCount } from "./lib/opt-shape.mjs";
import { readOptions, runMain } from "./lib/options.mjs";
import { foreignCores } from "./lib/program.mjs";
import { mezoStep } from "./lib/session.mjs";
import { preferQuiet, median } from "./lib/summary.mjs";
import { openSynthetic } from "./lib/synthetic.mjs";
import { idsFor } from "./lib/tokens.mjs";

const self = fileURLToPath(import.meta.url);
const root = path.dirname(path.dirname(self));
const DEFAULTS = {
  disk: null,
  limit: 0,
  model: "OPT-1.3B",
  layers: 0,
  "unit-bytes": 64 * 2 ** 20,
  slots: 3,
  batch: 1,
  seq: 128,
  threads: 2,
  steps: 4,
  out: null,
  to: null,
};
const HEADROOM = 1.25;
const LEARNING_RATE = 1e-6;

function shapeOf(o) {
  const shape = OPT_MODELS[o.model];
  if (shape === undefined) throw new Error(`--model has to be one of ${Object.keys(OPT_MODELS).join(", ")}`);
  return o.layers === 0 ? shape : { ...shape, layers: o.layers };
}

/** The process that is measured: prints one line of JSON. */
async function measure(o) {
  loadNative();
  const runtime = ownMemory().now;
  const shape = shapeOf(o);
  const begun = performance.now();
  const session = await openSynthetic(shape, {
    ...{ device: "cpu", threads: o.threads, wire: "fp32", unitBytes: o["unit-bytes"], slots: o.slots, overlap: true },
    ...{ to: o.to, diskPath: o.disk },
  });
  try {
    await session.store.ready();
    const loadSeconds = (performance.now() - begun) / 1000;
    const steps = [];
    const numbers = [];
    const step = async (index) => {
      const ids = idsFor({ seed: 1, step: index, batch: o.batch, seq: o.seq, vocab: shape.vocab });
      const batch = packBatch(ids.map((row) => ({ kind: "tokens", ids: row, labels: row })));
      const before = { at: performance.now() / 1000, machine: machineSeconds(), own: processSeconds(process.pid) };
      const settings = { seed: 1n, eps: 1e-3, learningRate: LEARNING_RATE, weightDecay: 0, noise: "gaussian" };
      const { lossPlus, lossMinus } = await mezoStep(session, [batch], { step: index, ...settings });
      await session.settle();
      const after = { at: performance.now() / 1000, machine: machineSeconds(), own: processSeconds(process.pid) };
      numbers.push(lossPlus, lossMinus);
      return { t: after.at - before.at, foreign: foreignCores(before, after) };
    };
    // The first makes the plan, and has no update.
    await step(0);
    for (let i = 1; i <= o.steps; i++) steps.push(await step(i));
    const peak = ownMemory().peak;
    const trace = session.trace();
    await step(o.steps + 1);
    const plan = session.plan;
    const mebibytes = (bytes) => bytes / 2 ** 20;
    console.log(
      JSON.stringify({
        ...{ to: o.to, loadSeconds, steps, numbers },
        plan: { deviceBytes: deviceBytes(plan), hostBytes: hostBytes(plan), diskBytes: diskBytes(plan) },
        units: plan.units.length,
        memoryMiB: { runtime, peak, plan: mebibytes(deviceBytes(plan) + hostBytes(plan)) },
        lanes: lanesOf(trace.take()),
      }),
    );
  } finally {
    await session.dispose();
  }
}

/** Of each lane of a traced step: seconds that it worked, bytes to or from disk, and how fast those went. */
function lanesOf(spans) {
  const lanes = {};
  for (const { lane, begin, end, diskBytes: bytes = 0 } of spans) {
    lanes[lane] ??= { seconds: 0, diskBytes: 0 };
    const own = lanes[lane];
    own.seconds += end - begin;
    own.diskBytes += bytes;
  }
  for (const own of Object.values(lanes))
    own.gigabytesPerSecond = own.diskBytes === 0 ? null : own.diskBytes / own.seconds / 1e9;
  return lanes;
}

/** A control group of its own whose memory is limited; null where there is none to be had. */
function limitedGroup(bytes) {
  const name = `zo2-disk-tier-${process.pid}`;
  for (const [folder, limit, peak] of [
    ["/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.max_usage_in_bytes"],
    ["/sys/fs/cgroup", "memory.max", "memory.peak"],
    ["/sys/fs/cgroup/unified", "memory.max", "memory.peak"],
  ]) {
    const group = path.join(folder, name);
    try {
      fs.mkdirSync(group);
    } catch {
      continue;
    }
    try {
      fs.writeFileSync(path.join(group, limit), String(Math.ceil(bytes)));
      return { group, limit: Number(fs.readFileSync(path.join(group, limit), "utf8")), peak: path.join(group, peak) };
    } catch {
      fs.rmdirSync(group);
    }
  }
  return null;
}

/** Runs `measure` in a process of its own. */
async function child(o, to, group) {
  const named = ["disk", "model", "layers", "unit-bytes", "slots", "batch", "seq", "threads", "steps"];
  const args = [...named.flatMap((name) => [`--${name}`, String(o[name])]), "--to", to];
  const enter = group === null ? "" : `echo $$ > ${path.join(group.group, "cgroup.procs")} && `;
  const process_ = spawn("sh", ["-c", `${enter}exec "$@"`, "sh", process.execPath, self, ...args], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let out = "";
  process_.stdout.on("data", (chunk) => (out += chunk));
  const [code, signal] = await once(process_, "close");
  if (code !== 0) throw new Error(`weights in ${to}: ended with ${signal ?? `status ${code}`}`);
  return JSON.parse(out);
}

function rowOf(result, tokens) {
  const { used, quiet } = preferQuiet(result.steps);
  const seconds = median(used.map(({ t }) => t));
  return { ...result, seconds, tokensPerSecond: tokens / seconds, quiet };
}

await runMain("disk-tier", async () => {
  const o = readOptions(process.argv.slice(2), DEFAULTS);
  if (o.disk === null) throw new Error("--disk is missing: a folder on the disk that is to be measured");
  if (o.to !== null) return measure(o);
  const tokens = o.batch * o.seq;
  const host = rowOf(await child(o, "host", null), tokens);
  // What the weights leave: the plan without them has the same slots, and host slots beside.
  const limit = o.limit === 0 ? HEADROOM * (await plannedBytes(o)) : o.limit;
  const group = limitedGroup(limit);
  if (group === null) throw new Error("no memory controller of cgroups can be had: run as root");
  let disk;
  let groupPeak;
  try {
    disk = rowOf(await child(o, "disk", group), tokens);
    groupPeak = Number(fs.readFileSync(group.peak, "utf8"));
  } finally {
    fs.rmdirSync(group.group);
  }
  const same = JSON.stringify(host.numbers) === JSON.stringify(disk.numbers);
  const parameters = parameterCount(shapeOf(o));
  const { memoryMiB: memory } = disk;
  const overPlan = (memory.peak - memory.runtime) / memory.plan;
  const result = {
    ...{ bench: "disk-tier", date: new Date().toISOString(), ...describeCommit(root), device: describeMachine() },
    ...{ node: process.version, build: loadNative().build, model: o.model, parameters, weightBytes: parameters * 4 },
    ...{ batch: o.batch, seq: o.seq, threads: o.threads, unitBytes: o["unit-bytes"], slots: o.slots },
    ...{ limitBytes: group.limit, groupPeakBytes: groupPeak, overPlan, sameLosses: same, rows: [host, disk] },
  };
  for (const { to, seconds, memoryMiB, lanes } of [host, disk])
    console.log(
      `${to}: ${seconds.toFixed(2)} s a step, peak ${memoryMiB.peak.toFixed(0)} MiB (runtime ` +
        `${memoryMiB.runtime.toFixed(0)}, plan ${memoryMiB.plan.toFixed(0)})` +
        ["read", "write"]
          .filter((lane) => (lanes[lane]?.diskBytes ?? 0) > 0)
          .map((lane) => `, ${lane} ${lanes[lane].gigabytesPerSecond.toFixed(2)} GB/s`)
          .join(""),
    );
  console.log(
    `limit ${(group.limit / 2 ** 20).toFixed(0)} MiB, of which the group had ${(groupPeak / 2 ** 20).toFixed(0)} ` +
      `at most; peak less runtime ${overPlan.toFixed(3)} of the plan; losses ${same ? "the same" : "NOT the same"}`,
  );
  if (o.out !== null) fs.writeFileSync(o.out, `${JSON.stringify(result, null, 2)}\n`);
  return same ? 0 : 1;
});

/** Of weights on disk: what a short run of few layers has in memory, whose plan has the same slots. */
async function plannedBytes(o) {
  const { memoryMiB } = await child({ ...o, layers: 2, steps: 1 }, "disk", null);
  return (memoryMiB.plan + memoryMiB.runtime) * 2 ** 20;
}
