/**
 * Runs one target in worker threads: watches for hangs and full heaps, replaces the thread after one, and collects what
 * was found.
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { setInterval, clearInterval } from "node:timers";
import { Worker } from "node:worker_threads";
import { CONTROL } from "./control.mjs";

const HANG_MS = 5000;
/** On a busy machine everything is slow: what ends within this, tried again, is no hang. */
const CONFIRM_MS = 40_000;
const WATCH_MS = 200;
const HEAP_MIB = 512;
const MOST_RESTARTS = 12;
const LONGEST_INPUT = 1 << 20;

/** Memory-backed where the system has such a folder: an execution writes a few files. */
function scratchFolder() {
  for (const base of ["/dev/shm", os.tmpdir()]) {
    try {
      return mkdtempSync(path.join(base, "zo2-fuzz-"));
    } catch {
      // Not there, or not ours to write to.
    }
  }
  throw new Error(`no folder for temporary files: neither /dev/shm nor ${os.tmpdir()} can be written`);
}

/**
 * One worker from its start to its end.
 * @returns {Promise<{how: "done"} | {how: "hang" | "memory" | "crash", input: Buffer, mutation: number, report:
 *   string}>}
 */
function runWorker(data, { hangMs = HANG_MS, onMessage }) {
  const control = new Int32Array(new SharedArrayBuffer(CONTROL.words * 4));
  const shared = new SharedArrayBuffer(LONGEST_INPUT);
  const input = () => Buffer.from(Buffer.from(shared).subarray(0, control[CONTROL.length]));
  const stopped = (how, report) => ({ how, input: input(), mutation: control[CONTROL.mutation], report });
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL("worker.mjs", import.meta.url), {
      workerData: { ...data, control: control.buffer, data: shared },
      resourceLimits: { maxOldGenerationSizeMb: HEAP_MIB },
      stdout: true,
      stderr: true,
    });
    // What a library prints about a strange input is of no interest.
    worker.stdout.resume();
    worker.stderr.resume();
    let last = -1;
    let since = performance.now();
    let result;
    const watch = setInterval(() => {
      const now = performance.now();
      if (control[CONTROL.execution] !== last || control[CONTROL.running] === 0) {
        last = control[CONTROL.execution];
        since = now;
      } else if (now - since > hangMs && result === undefined) {
        result = stopped("hang", `no end after ${hangMs} ms`);
        void worker.terminate();
      }
    }, WATCH_MS);
    worker.on("message", (message) => {
      if (message.kind === "done") result ??= { how: "done" };
      else onMessage({ ...message, input: Buffer.from(message.input) });
    });
    worker.on("error", (error) => {
      if (control[CONTROL.execution] === 0) reject(error);
      else
        result ??= stopped(
          error.code === "ERR_WORKER_OUT_OF_MEMORY" ? "memory" : "crash",
          error.stack ?? String(error),
        );
    });
    worker.on("exit", () => {
      clearInterval(watch);
      const counts = {
        executions: control[CONTROL.execution],
        corpus: control[CONTROL.corpus],
        blocks: control[CONTROL.blocks],
      };
      resolve({ ...(result ?? stopped("crash", "the thread ended before its time")), counts });
    });
  });
}

/** The report of one input, or undefined where all is well. */
export async function replayInput(target, where, input, hangMs = CONFIRM_MS) {
  const folder = scratchFolder();
  let report;
  const onMessage = (message) => {
    report = message.report;
  };
  try {
    const data = {
      target,
      ...where,
      folder,
      inputs: [input],
      seed: 0,
      first: 0,
      runs: 0,
      milliseconds: 0,
      found: [],
      single: true,
    };
    const end = await runWorker(data, { hangMs, onMessage });
    return end.how === "done" ? report : `${end.how}: ${end.report}`;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/**
 * Fuzzes one target for `seconds` or `runs` executions, whichever ends first; `inputs` are run before that.
 * @param {string} target path of its module
 * @param {{dist: string, root: string}} where
 * @param {{inputs: Buffer[], seed: number, runs: number, seconds: number, onFinding: (finding: {input: Buffer, report:
 *   string}) => void}} options
 */
export async function fuzzTarget(target, where, { inputs, seed, runs, seconds, onFinding }) {
  const base = scratchFolder();
  const known = [...inputs];
  const found = new Set();
  const total = { executions: 0, corpus: 0, blocks: 0, findings: 0, restarts: 0 };
  const report = (signature, finding) => {
    if (found.has(signature)) return;
    found.add(signature);
    total.findings++;
    onFinding(finding);
  };
  const onMessage = (message) => {
    if (message.kind === "corpus") known.push(message.input);
    else report(message.signature, message);
  };
  const end = performance.now() + seconds * 1000;
  let first = 0;
  try {
    for (let attempt = 0; attempt <= MOST_RESTARTS; attempt++) {
      const folder = path.join(base, String(attempt));
      mkdirSync(folder);
      const milliseconds = Math.max(0, end - performance.now());
      const data = {
        target,
        ...where,
        folder,
        inputs: known,
        seed,
        first,
        runs,
        milliseconds,
        found: [...found],
        single: false,
      };
      const { counts, ...ended } = await runWorker(data, { onMessage });
      total.executions += counts.executions;
      total.corpus = Math.max(total.corpus, counts.corpus);
      total.blocks = Math.max(total.blocks, counts.blocks);
      if (ended.how === "done") break;
      total.restarts++;
      // On a busy machine a thread may stand still for seconds through no fault of its own.
      const again = ended.how === "crash" ? ended.report : await replayInput(target, where, ended.input);
      if (again !== undefined)
        report(`${ended.how} ${again.split("\n", 1)[0]}`, {
          input: ended.input,
          report: `${ended.how}: ${ended.report}\n${again}`,
        });
      if (ended.mutation < 0) known.splice(-1 - ended.mutation, 1);
      else first = ended.mutation + 1;
    }
  } finally {
    rmSync(base, { recursive: true });
  }
  return total;
}
