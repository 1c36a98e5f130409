/** One process of a run, which may be killed: what became of it, and where in its work it was. */
import { spawn } from "node:child_process";
import path from "node:path";
import process from "node:process";
import { text } from "node:stream/consumers";
import { pathToFileURL } from "node:url";
import { root } from "./cases.mjs";

const PRELOAD = pathToFileURL(path.join(root, "scripts", "kills", "preload.mjs")).href;
const JOURNAL = /(^|\/)run\.zo2(\.tmp)?$/;
const LONGEST_MS = 120_000;

/**
 * Runs Node with `args` below `folder`.
 * @param kill `{at, how}`: at a file operation; `{ms}`: so long after the first one, or after the start where
 *   `fromStart`; null: never
 * @returns `{code, killed, operations, stderr, seconds}`: operations are `{index, kind, path, isStep, ended}`
 */
export async function runChild(folder, args, kill) {
  const settings = { root: folder, ...(kill !== null && ("at" in kill || "record" in kill) ? kill : {}) };
  const child = spawn(process.execPath, ["--import", PRELOAD, ...args], {
    cwd: folder,
    stdio: ["ignore", "ignore", "pipe", "pipe"],
    env: { ...process.env, ZO2_KILLS: JSON.stringify(settings) },
  });
  const begun = performance.now();
  let first = null;
  let timer = setTimeout(() => child.kill("SIGKILL"), kill?.fromStart === true ? kill.ms : LONGEST_MS);
  let told = "";
  child.stdio[3].setEncoding("utf8").on("data", (chunk) => {
    told += chunk;
    if (first !== null) return;
    first = performance.now();
    if (kill === null || kill.ms === undefined || kill.fromStart === true) return;
    clearTimeout(timer);
    timer = setTimeout(() => child.kill("SIGKILL"), kill.ms);
  });
  const [stderr, [code, signal]] = await Promise.all([
    text(child.stderr),
    new Promise((resolve) => child.on("close", (...ended) => resolve(ended))),
  ]);
  clearTimeout(timer);
  const seconds = (performance.now() - (first ?? begun)) / 1000;
  if (performance.now() - begun >= LONGEST_MS && kill?.ms === undefined) throw new Error(`it hangs: ${args.join(" ")}`);
  return { code, killed: signal === "SIGKILL", operations: operationsOf(told), stderr, seconds };
}

function operationsOf(told) {
  const operations = [];
  for (const line of told.split("\n").filter((one) => one.endsWith("}"))) {
    const entry = JSON.parse(line);
    if (entry.ended === undefined) operations.push({ ...entry, ended: false });
    else operations[entry.ended].ended = true;
  }
  return operations;
}

/** Where a process was killed, in words. */
export function placeOf({ operations }, resumes) {
  const last = operations.at(-1);
  const named = (operation) => operation.kind === "rename" && /(^|\/)run\.zo2$/.test(operation.path);
  const whole = resumes || operations.some((operation) => named(operation) && operation.ended);
  if (!whole) return last === undefined ? "before the first operation" : "before the header";
  const steps = operations.filter(({ isStep }) => isStep).length;
  if (resumes && !operations.some(({ path: file }) => JOURNAL.test(file))) return "loading and replaying";
  if (last?.ended === false) {
    if (last.path.includes("snapshots")) return "amid a snapshot";
    if (JOURNAL.test(last.path)) return last.isStep ? "amid a step's record" : "amid another record";
    if (/\.weights|disk\.json/.test(last.path)) return "amid the name of the file on disk";
    if (/options\.json|metrics\.jsonl/.test(last.path)) return "amid options or metrics";
    return last.path.includes(".run") || last.path.endsWith("run") ? "amid the run's folder" : "amid the saved model";
  }
  if (last?.path.includes("snapshots") && !/step-\d+$/.test(last.path)) return "amid a snapshot";
  return steps > 0 ? "between operations, amid steps" : "between operations, before a step";
}
