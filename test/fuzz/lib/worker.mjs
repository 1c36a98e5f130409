/**
 * The thread in which inputs are made and run. Before each execution the input lies in memory shared with the
 * supervisor, which ends this thread when it hangs or fills its heap and still knows what it was given.
 */
import process from "node:process";
import { pathToFileURL } from "node:url";
import { parentPort, workerData } from "node:worker_threads";
import { CONTROL } from "./control.mjs";
import { Coverage } from "./coverage.mjs";
import { Violation } from "./oracle.mjs";
import { Random } from "./random.mjs";

/** No input is longer than a few dozen KiB, so nothing read from one has a reason to take this much. */
const MOST_BUFFER_BYTES = 64 * 2 ** 20;
const MINIMISE_EXECUTIONS = 400;
const MINIMISE_MS = 3000;

/**
 * What tells one finding from another: the beginning of the message without numbers and quoted text, and the first
 * place in the code.
 */
function signatureOf(error) {
  const text = String(error?.cause?.stack ?? error?.stack ?? error);
  const message =
    error instanceof Violation && error.cause === undefined
      ? error.message.split(/[{["]/, 1)[0]
      : text.split("\n", 1)[0];
  const frame = /(?:dist\/esm|@huggingface|fuzz\/targets|lib\/folder)[^\s:)]*:\d+/.exec(text)?.[0] ?? "";
  return `${message.replace(/"(\\.|[^"\\])*"|\d+/g, "#").slice(0, 120)} ${frame}`;
}

async function main() {
  const { target: path, dist, folder, root, inputs, seed, first, runs, milliseconds, single } = workerData;
  const control = new Int32Array(workerData.control);
  const shared = Buffer.from(workerData.data);
  const { default: target } = await import(pathToFileURL(path).href);
  const run = await target.open({ dist, folder, root });
  const coverage = single
    ? undefined
    : new Coverage((url) => url.includes("/dist/esm/") || url.includes("/@huggingface/"));
  const corpus = [];

  /** Undefined, or what was wrong. */
  async function execute(input) {
    input.copy(shared);
    control[CONTROL.length] = input.length;
    control[CONTROL.running] = 1;
    Atomics.add(control, CONTROL.execution, 1);
    const before = process.memoryUsage().arrayBuffers;
    let wrong;
    try {
      await run(input);
    } catch (error) {
      wrong = error ?? new Error("nothing was thrown");
    }
    const grown = process.memoryUsage().arrayBuffers - before;
    control[CONTROL.running] = 0;
    if (wrong === undefined && grown > MOST_BUFFER_BYTES)
      wrong = new Violation(`${grown} bytes of buffers for an input of ${input.length}`);
    return wrong;
  }

  /** The shortest input found that fails in the same way. */
  async function minimise(input, signature) {
    const started = performance.now();
    let best = input;
    let left = MINIMISE_EXECUTIONS;
    for (let size = best.length >> 1; size > 0; size >>= 1) {
      for (let at = 0; at < best.length && left > 0 && performance.now() - started < MINIMISE_MS; left--) {
        const shorter = Buffer.concat([best.subarray(0, at), best.subarray(at + size)]);
        const wrong = await execute(shorter);
        if (wrong !== undefined && signatureOf(wrong) === signature) best = shorter;
        else at += size;
      }
    }
    return best;
  }

  const found = new Set(workerData.found);
  async function examine(input, keep) {
    coverage?.skip();
    const wrong = await execute(input);
    const news = coverage?.take() ?? 0;
    if (wrong !== undefined) {
      const signature = signatureOf(wrong);
      if (found.has(signature)) return;
      found.add(signature);
      const least = single ? input : await minimise(Buffer.from(input), signature);
      const report = wrong.stack ?? String(wrong);
      parentPort.postMessage({ kind: "finding", input: least, signature, report });
    } else if (keep || news > 0) {
      corpus.push(input);
      if (!keep) parentPort.postMessage({ kind: "corpus", input });
    }
    control[CONTROL.corpus] = corpus.length;
    control[CONTROL.blocks] = coverage?.blocks ?? 0;
  }

  for (const [i, input] of inputs.entries()) {
    control[CONTROL.mutation] = -1 - i;
    await examine(Buffer.from(input), true);
  }
  const deadline = performance.now() + milliseconds;
  for (let n = first; n < runs && performance.now() < deadline && corpus.length > 0; n++) {
    control[CONTROL.mutation] = n;
    const random = new Random(seed, n);
    // Half of the time one of those that were news of late.
    const recent = corpus.slice(-24);
    const base = random.pick(random.chance(0.5) ? recent : corpus);
    const context = { dictionary: target.dictionary, other: random.pick(corpus), maxBytes: target.maxBytes };
    await examine(target.mutate(base, random, context).subarray(0, target.maxBytes), false);
  }
  parentPort.postMessage({ kind: "done" });
}

await main();
