/**
 * Kills training processes over and over, at random moments and in the middle of chosen file operations, goes on with
 * each run, and compares what it makes with a run that nobody killed: every weight and every record, to the bit.
 *
 *   node scripts/kill-runs.mjs                        200 kills, some minutes; needs dist/ and the addon
 *   node scripts/kill-runs.mjs --kills 10 --seed 3    so many, with other choices
 *   node scripts/kill-runs.mjs --only "host, fp32"    one case (kills/cases.mjs)
 *   node scripts/kill-runs.mjs --jobs 1               chains of kills at once: 2
 *
 * Half of the kills are at a time, half at a file operation: before it, amid its bytes, or behind it. The last line is
 * `N passed, N failed`: one for each kill, after which the journal has to hold every step that was written down, and
 * one for each run that came to its end.
 */
import { createHash } from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { Random } from "../test/fuzz/lib/random.mjs";
import { argumentsOf, canResume, CASES, STEPS, writeData } from "./kills/cases.mjs";
import { placeOf, runChild } from "./kills/child.mjs";
import { keptIn } from "./kills/kept.mjs";
import { recordsOf, stepsIn } from "./kills/records.mjs";

const KILLS_OF_A_CHAIN = 6;
/** How often `--resume` is asked where there is nothing to resume. */
const REFUSALS = 6;

const { values } = parseArgs({
  options: {
    kills: { type: "string", default: "200" },
    seed: { type: "string", default: "1" },
    jobs: { type: "string", default: "2" },
    only: { type: "string" },
  },
});
const kills = Number(values.kills);
const names = values.only === undefined ? Object.keys(CASES) : [values.only];
for (const name of names) if (CASES[name] === undefined) throw new Error(`there is no case ${JSON.stringify(name)}`);

const work = fs.mkdtempSync(path.join(os.tmpdir(), "zo2-kills-"));
const data = writeData(work);
const counts = { passed: 0, failed: 0 };
const landed = new Map();
/** Kills so far, and those on the way. */
let begun = 0;
let asked = 0;
/** Of weights on disk: units there when a run was taken up again, and those of them that were whole. */
const kept = { units: 0, whole: 0 };

function demand(holds, what) {
  counts[holds ? "passed" : "failed"]++;
  if (!holds) console.log(`FAILED: ${what}`);
}

const hashOf = (folder) =>
  createHash("sha256")
    .update(fs.readFileSync(path.join(folder, "model.safetensors")))
    .digest("hex");

const places = (name) => {
  const folder = fs.mkdtempSync(path.join(work, `${name.replace(/\W+/g, "-")}-`));
  return { folder, data, run: path.join(folder, "run"), out: path.join(folder, "out") };
};

/** A run that nobody kills. */
async function referenceOf(name) {
  const where = places(name);
  const child = await runChild(where.folder, argumentsOf(name, where, false), null);
  if (child.code !== 0) throw new Error(`${name}: ${child.stderr}`);
  const records = await recordsOf(where.run);
  if (records.steps.length !== STEPS) throw new Error(`${name}: ${records.steps.length} steps`);
  return { hash: hashOf(where.out), records, operations: child.operations.length, ms: child.seconds * 1000 };
}

/** When to kill: at a time, or at an operation. */
function choose(random, { operations, ms }, steps, atOperation) {
  // A run that goes on has less to do.
  const left = 1 - steps / (STEPS + 4);
  if (!atOperation) return { ms: random.below(Math.ceil(ms * left)), fromStart: random.below(8) === 0 };
  return { at: random.below(Math.ceil(operations * left)), how: random.pick(["before", "half", "half", "after"]) };
}

/** What stands on the disk after a kill holds all that was written, and nothing else. */
async function checkJournal(what, where, reference, least) {
  const taken = await stepsIn(where.run, reference.records);
  demand(
    typeof taken === "number" && taken >= least,
    `${what}: ${least} steps were written down, the journal: ${taken}`,
  );
  return typeof taken === "number" ? taken : least;
}

/** `--resume` where no run is: says so, with what to do. */
async function checkRefusal(what, name, where) {
  if (CASES[name] === null || asked >= REFUSALS) return;
  asked++;
  const { code, stderr } = await runChild(where.folder, argumentsOf(name, where, true), null);
  demand(code !== 0 && /ZO2_ERR_\w+/.test(stderr) && /anew/.test(stderr), `${what}: --resume said (${code}) ${stderr}`);
}

/** One run from its beginning to its end, killed on the way. */
async function chain(name, reference, random) {
  const where = places(name);
  const history = [];
  let steps = 0;
  for (let i = 1 + random.below(KILLS_OF_A_CHAIN); i > 0 && begun < kills; i--) {
    const atOperation = begun++ % 2 === 1;
    const resumes = canResume(name, where.run);
    const kill = choose(random, reference, steps, atOperation);
    const child = await runChild(where.folder, argumentsOf(name, where, resumes), kill);
    const place = child.killed ? placeOf(child, resumes) : "not killed: it had ended";
    history.push(`${resumes ? "resumed" : "begun"} and killed by ${JSON.stringify(kill)} ${place}`);
    const what = `${name}: ${history.join("; ")}`;
    landed.set(place, (landed.get(place) ?? 0) + 1);
    if (!child.killed) {
      begun--;
      demand(child.code === 0, `${what}: ended with ${child.code}: ${child.stderr}`);
      break;
    }
    const written = child.operations.filter(({ isStep, ended }) => isStep && ended).length;
    steps = await checkJournal(what, where, reference, steps + written);
    const left = canResume(name, where.run) ? await keptIn(where.run) : null;
    kept.units += left?.units ?? 0;
    kept.whole += left?.whole ?? 0;
    if (!canResume(name, where.run)) {
      demand(steps === 0, `${what}: ${steps} steps, and nothing that resumes them`);
      await checkRefusal(what, name, where);
    }
  }
  const last = await runChild(where.folder, argumentsOf(name, where, canResume(name, where.run)), null);
  const what = `${name}: ${history.join("; ")}`;
  demand(last.code === 0, `${what}: then ended with ${last.code}: ${last.stderr}`);
  if (last.code !== 0) return;
  demand(hashOf(where.out) === reference.hash, `${what}: other weights`);
  const found = await stepsIn(where.run, reference.records);
  demand(found === STEPS, `${what}: the journal in the end: ${found}`);
  const left = fs.readdirSync(where.run, { recursive: true }).filter((file) => /step-.*\.(tmp|old)/.test(file));
  left.push(...fs.readdirSync(where.folder).filter((file) => /\.weights(\.new)?$/.test(file)));
  demand(left.length === 0, `${what}: left over: ${left.join(", ")}`);
  fs.rmSync(where.folder, { recursive: true });
}

async function main() {
  const start = performance.now();
  const references = new Map();
  let chains = 0;
  const worker = async () => {
    while (begun < kills) {
      const i = chains++;
      const name = names[i % names.length];
      if (!references.has(name)) references.set(name, referenceOf(name));
      await chain(name, await references.get(name), new Random(Number(values.seed), i));
    }
  };
  await Promise.all(Array.from({ length: Number(values.jobs) }, worker));
  console.log(`\n${begun} kills in ${chains} runs of ${STEPS} steps, by place:`);
  for (const [place, n] of [...landed].sort(([, a], [, b]) => b - a)) console.log(`${String(n).padStart(6)}  ${place}`);
  console.log(`  of ${kept.units} units on disk, ${kept.whole} were whole when their run was taken up again`);
  console.log(`  in ${Math.round((performance.now() - start) / 1000)} s`);
}

try {
  await main();
} finally {
  if (counts.failed === 0) fs.rmSync(work, { recursive: true });
  else console.log(`what the runs have left: ${work}`);
}
console.log(`${counts.passed} passed, ${counts.failed} failed`);
process.exit(counts.failed === 0 && counts.passed > 0 ? 0 : 1);
