/**
 * Records every file operation of training runs, makes disks as a loss of power may leave them at any moment, and goes
 * on from there: what is promised to be on the disk has to be (docs/journal.md, "What can be lost"), nothing that is
 * read may be wrong, and a run that goes on comes to the bits of one that was never interrupted.
 *
 *   node scripts/power-loss.mjs                          2000 disks, of which 30 are gone on with; needs dist/ and
 *                                                        the addon
 *   node scripts/power-loss.mjs --states 200 --seed 3    so many; the same two numbers and recordings, the same disks
 *   node scripts/power-loss.mjs --resumes 300            go on with so many
 *
 * The last line is `N passed, N failed`: one for each disk, and one for each run that was gone on with.
 */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { Random } from "../test/fuzz/lib/random.mjs";
import { argumentsOf, canResume, MODEL, STEPS, writeData } from "./kills/cases.mjs";
import { runChild } from "./kills/child.mjs";
import { Disk, putFiles, readRecording } from "./kills/disk.mjs";
import { recordsOf, stepsIn } from "./kills/records.mjs";

/**
 * Without snapshots, many records wait for one sync. The last is of a program that uses the package: no command line,
 * one journal.
 */
const RECORDED = [
  { name: "host, fp16 stochastic, snapshots", durability: "step" },
  { name: "host, fp16 stochastic, snapshots", durability: "second" },
  { name: "host, fp16 stochastic, snapshots", durability: "never" },
  { name: "device, fp16 stochastic", durability: "second" },
  { name: "rollback, snapshots", durability: "step" },
];
const STEP_KINDS = [3, 7];
const JOURNAL = "run/run.zo2";
const WEIGHTS = "model.safetensors";
const MODEL_FILES = ["config.json", WEIGHTS];

const { values } = parseArgs({
  options: {
    states: { type: "string", default: "2000" },
    resumes: { type: "string", default: "30" },
    seed: { type: "string", default: "1" },
  },
});
const work = fs.mkdtempSync(path.join(os.tmpdir(), "zo2-power-"));
const data = writeData(work);
const counts = { passed: 0, failed: 0 };
const seen = new Map();
const note = (what) => seen.set(what, (seen.get(what) ?? 0) + 1);
const placesIn = (folder) => ({ folder, data, run: path.join(folder, "run"), out: path.join(folder, "out") });
const newFolder = (name) => fs.mkdtempSync(path.join(work, `${name}-`));

function demand(holds, what) {
  counts[holds ? "passed" : "failed"]++;
  if (!holds) console.log(`FAILED: ${what}`);
}

/** Runs a case and records it. */
async function record(where, args) {
  const file = path.join(work, `recording-${path.basename(where.folder)}`);
  fs.rmSync(file, { force: true });
  const child = await runChild(where.folder, args, { record: file });
  if (child.code !== 0) throw new Error(`the run ended with ${child.code}: ${child.stderr}`);
  return file;
}

/** A folder in which an older model stands where the tuned one is to go. */
function beginning(name) {
  const where = placesIn(newFolder(name));
  fs.mkdirSync(where.out);
  for (const file of MODEL_FILES) fs.copyFileSync(path.join(MODEL, file), path.join(where.out, file));
  fs.writeFileSync(path.join(where.out, "notes.txt"), "somebody's own\n");
  return where;
}

/** A run that nobody interrupts, and one that is killed amid a record and resumed: the operations of both. */
async function recordingsOf({ name, durability }) {
  const where = beginning(durability);
  const start = newFolder(`${durability}-start`);
  fs.cpSync(where.folder, start, { recursive: true });
  const whole = readRecording(await record(where, argumentsOf(name, where, false, durability)));
  const truth = {
    ...{ records: await recordsOf(where.run), snapshots: new Map() },
    ...{ old: fs.readFileSync(path.join(MODEL, WEIGHTS)), tuned: fs.readFileSync(path.join(where.out, WEIGHTS)) },
  };
  if (truth.records.steps.length !== STEPS) throw new Error(`${truth.records.steps.length} steps`);
  const writes = [...whole.keys()].filter((i) => isStep(whole[i]));
  const at = writes[Math.floor(STEPS * 0.6)];
  const torn = { ...whole[at], bytes: whole[at].bytes.subarray(0, 20) };
  const first = [...whole.slice(0, at), torn];
  const again = placesIn(newFolder(`${durability}-again`));
  putFiles(again.folder, diskOf(start, first).seen());
  const args = resuming(name, again);
  const second = readRecording(await record(again, args), first.length);
  const resumed = [...first, { kind: "end" }, ...second.map((one) => ({ ...one, handle: -one.handle }))];
  for (const operations of [whole, resumed]) keepSnapshots(start, operations, truth.snapshots);
  return { name, durability, start, truth, runs: [whole, resumed] };
}

/** The run is in another place than the one that its flags name. */
const resuming = (name, where) => [
  ...argumentsOf(name, where, true),
  ...(name.startsWith("rollback") ? [] : ["--out", where.out]),
];

const isStep = ({ kind, path: file, bytes }) =>
  kind === "write" && /^run\/run\.zo2/.test(file) && STEP_KINDS.includes(bytes[0] & 0x7f);

function diskOf(start, operations) {
  const disk = new Disk(start);
  for (const operation of operations) {
    if (operation.kind === "end") disk.endProcess();
    else disk.add(operation);
  }
  return disk;
}

/** The weights of each snapshot when it was put in its place. */
function keepSnapshots(start, operations, into) {
  const disk = new Disk(start);
  for (const operation of operations) {
    if (operation.kind === "end") continue;
    disk.add(operation);
    if (operation.kind === "rename" && /snapshots\/step-\d+$/.test(operation.path))
      into.set(operation.path, disk.read(path.join(operation.path, WEIGHTS)));
  }
}

/** Steps that have to be on the disk after these operations. */
function least(operations, durability) {
  if (durability === "step") {
    // A step was yielded before its line of the metrics was written.
    const lines = operations.filter(({ kind, path: file }) => kind === "write" && file.startsWith("run/metrics.jsonl"));
    const steps = lines
      .flatMap(({ bytes }) => bytes.toString().trimEnd().split("\n"))
      .map((line) => JSON.parse(line).step);
    return steps.reduce((most, step) => Math.max(most, step + 1), 0);
  }
  const syncs = operations.filter(({ kind, path: file }) => kind === "sync" && file.startsWith(JOURNAL));
  const until = Math.max(0, ...syncs.map(({ base, after }) => base + after));
  return operations
    .slice(0, until)
    .filter(isStep)
    .filter(({ bytes }) => bytes.length > 20).length;
}

/** What is wrong with the files that are left, or null. */
async function wrongWith(files, { name, durability, truth }, certain) {
  const folder = newFolder("state");
  putFiles(folder, files);
  const { run } = placesIn(folder);
  const taken = await stepsIn(run, truth.records);
  try {
    if (typeof taken !== "number") {
      note(`${durability}: journal refused`);
      if (durability !== "never" || certain > 0 || !/^ZO2_ERR_(JOURNAL|IO)/.test(taken)) return `the journal: ${taken}`;
    } else {
      note(`${durability}: ${taken === 0 ? "no step" : taken > certain ? "more steps than certain" : "as many steps"}`);
      if (taken < certain) return `${certain} steps were on the disk, and ${taken} are left`;
      if (taken > 0 && !canResume(name, run)) return "steps without the options that resume them";
    }
    const options = files.get("run/options.json");
    if (options !== undefined) JSON.parse(options.toString());
  } catch (error) {
    return String(error);
  } finally {
    fs.rmSync(folder, { recursive: true });
  }
  return wrongWithModels(files, truth);
}

/** Models are whole where they have their names; the older one goes when the new one is there. */
function wrongWithModels(files, { old, tuned, snapshots }) {
  const out = files.get(`out/${WEIGHTS}`);
  if ([...files.keys()].some((file) => file.startsWith("out/")) && !(out?.equals(old) || out?.equals(tuned)))
    return "the saved model is neither the old nor the new one";
  const models = [...files].filter(([file]) => /^(out|\.out\.\w+\.(old|tmp))\/model\.safetensors$/.test(file));
  if (!models.some(([, bytes]) => bytes.equals(old) || bytes.equals(tuned))) return "neither the old nor the new model";
  if (![...files.keys()].some((file) => file.endsWith("notes.txt"))) return "a file that was not the model's is gone";
  for (const [folder, weights] of snapshots) {
    const there = [...files.keys()].filter((file) => file.startsWith(`${folder}/`));
    if (there.length > 0) note(files.get(`${folder}/${WEIGHTS}`)?.equals(weights) ? "snapshot whole" : BROKEN);
  }
  return null;
}
const BROKEN = "snapshot not whole";

/** Goes on from these files, in whatever way they allow. */
async function resume(files, { name, durability, truth }, what) {
  const where = placesIn(newFolder("resumed"));
  putFiles(where.folder, files);
  const readable = typeof (await stepsIn(where.run, truth.records)) === "number";
  let args = argumentsOf(name, where, false, durability);
  if (canResume(name, where.run)) {
    args = resuming(name, where);
    if (!readable) {
      const { code, stderr } = await runChild(where.folder, args, null);
      demand(code !== 0 && /ZO2_ERR_JOURNAL/.test(stderr), `${what}: --resume said (${code}) ${stderr}`);
    }
  }
  if (!readable) args = argumentsOf(name, { ...where, run: path.join(where.folder, "anew") }, false, durability);
  const { code, stderr } = await runChild(where.folder, args, null);
  const weights = code === 0 ? fs.readFileSync(path.join(where.out, WEIGHTS)) : null;
  demand(weights?.equals(truth.tuned) === true, `${what}: gone on with, ended with ${code}, other weights: ${stderr}`);
  fs.rmSync(where.folder, { recursive: true });
}

/** A moment: any operation, or one that is rare and matters. */
function momentOf(operations, random) {
  const rare = [...operations.keys()].filter(
    (i) => !/metrics\.jsonl/.test(operations[i].path) && !isStep(operations[i]),
  );
  return random.below(2) === 0 ? random.below(operations.length + 1) : random.pick(rare) + random.below(2);
}

async function main() {
  const recordings = [];
  for (const one of RECORDED) recordings.push(await recordingsOf(one));
  const states = Number(values.states);
  const every = Math.max(1, Math.floor(states / Number(values.resumes)));
  for (let i = 0; i < states; i++) {
    const random = new Random(Number(values.seed), i);
    const recording = recordings[i % recordings.length];
    const r = random.below(recording.runs.length);
    const operations = recording.runs[r];
    const moment = momentOf(operations, random);
    const done = operations.slice(0, moment);
    const disk = diskOf(recording.start, done);
    const next = operations[moment];
    if (next !== undefined && next.kind !== "end" && random.below(2) === 0) disk.add(next, true);
    const files = disk.loss(random);
    const how = r === 0 ? "in one go" : "resumed";
    const what = `${recording.name}, "${recording.durability}", ${how}, disk ${i} after operation ${moment}`;
    const broken = seen.get(BROKEN) ?? 0;
    const wrong = await wrongWith(files, recording, least(done, recording.durability));
    demand(wrong === null, `${what} (${next?.kind} ${next?.path}): ${wrong}`);
    if (i % every === 0 || (broken < (seen.get(BROKEN) ?? 0) && broken < 5)) await resume(files, recording, what);
  }
  for (const [what, n] of [...seen].sort()) console.log(`${String(n).padStart(6)}  ${what}`);
}

try {
  await main();
} finally {
  fs.rmSync(work, { recursive: true });
}
console.log(`${counts.passed} passed, ${counts.failed} failed`);
process.exit(counts.failed === 0 && counts.passed > 0 ? 0 : 1);
