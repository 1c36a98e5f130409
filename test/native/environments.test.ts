import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { Worker } from "node:worker_threads";
import { packageRoot } from "zo2/native";
import { BUSY, openFilesIn, runScript, submit, withDevice } from "./support.js";
import { DEVICE } from "./device.js";

/**
 * Runs `source` in a worker thread and resolves when the thread has *exited*: a worker whose environment does not come
 * down is what these tests are for. `stages` are the messages it sent, so that a failure says how far it came.
 */
function runWorker(
  source: string,
  onStage?: (worker: Worker, stage: unknown) => void,
): Promise<{ code: number; stages: unknown[] }> {
  const prelude = `
    const { parentPort } = require("node:worker_threads");
    const { loadNative } = require(${JSON.stringify(`${packageRoot}/binding/native.cjs`)});
    const stage = (name) => parentPort.postMessage(name);
    ${BUSY}`;
  return new Promise((resolve, reject) => {
    const worker = new Worker(
      `${prelude}\n(async () => {${source}})().catch((error) => { stage(String(error)); process.exit(99); });`,
      { eval: true },
    );
    const stages: unknown[] = [];
    const timer = setTimeout(
      () => reject(new Error(`the worker hangs; it came to: ${stages.join(", ") || "nothing"}`)),
      60000,
    );
    worker.on("message", (message) => {
      stages.push(message);
      onStage?.(worker, message);
    });
    worker.on("error", (error) => stages.push(String(error)));
    worker.on("exit", (code) => {
      clearTimeout(timer);
      resolve({ code, stages });
    });
  });
}

test("four workers at once each use a device of their own", async () => {
  const source = (fill: number) => `
    const native = loadNative();
    const device = await native.openDevice("${DEVICE}", { threads: 1, delayMicroseconds: 100 });
    const stream = device.createStream("s");
    const event = device.createEvent();
    const [from, to] = [await device.createBuffer("device", 64), await device.createBuffer("host", 64)];
    let sum = 0;
    for (let i = 0; i < 50; i++) {
      const words = Float64Array.of(5, 5, 0, 1, 0, ${fill}, 64, 4, 6, 0, 2, 0, 1, 0, 64, 1, 2, 0, 3);
      device.submit(words, [stream, from, to, event]);
      await event.done();
      const bytes = new Uint8Array(64);
      to.read(0, bytes);
      sum += bytes.reduce((a, b) => a + b, 0);
    }
    stage(sum + device.waits);
    await device.close();
    stage("closed");`;
  const results = await Promise.all([1, 2, 3, 4].map((fill) => runWorker(source(fill))));
  expect(results).toEqual([1, 2, 3, 4].map((fill) => ({ code: 0, stages: [50 * 64 * fill, "closed"] })));
});

test("a worker that is terminated amid matrix products exits", async () => {
  const { stages } = await runWorker(
    `await busy(loadNative()); stage("busy"); await new Promise(() => setInterval(() => {}, 1000));`,
    (worker) => void worker.terminate(),
  );
  expect(stages).toEqual(["busy"]);
});

test("a worker that is terminated amid copies to a file exits, and leaves no file", async () => {
  const folder = mkdtempSync(path.join(os.tmpdir(), "zo2-environments-"));
  try {
    const { stages } = await runWorker(
      `const device = await loadNative().openDevice("${DEVICE}", { threads: 1 });
      const [stream, event] = [device.createStream("s"), device.createEvent()];
      const host = await device.createBuffer("host", 1 << 22);
      const file = await device.createFileBuffer("${folder}", 1 << 22);
      stage("copying");
      for (;;) {
        const words = Float64Array.of(4, 6, 0, 2, 0, 1, 0, 1 << 22, 4, 6, 0, 1, 0, 2, 0, 1 << 22, 1, 2, 0, 3);
        device.submit(words, [stream, host, file, event]);
        await event.done();
      }`,
      (worker) => void worker.terminate(),
    );
    expect(stages).toEqual(["copying"]);
    expect(readdirSync(folder)).toEqual([]);
    expect(openFilesIn(folder)).toBe(0);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("a worker that calls process.exit amid matrix products exits with its code", async () => {
  expect(await runWorker(`await busy(loadNative()); stage("busy"); process.exit(5);`)).toEqual({
    code: 5,
    stages: ["busy"],
  });
});

test("a worker that throws amid matrix products exits", async () => {
  const { code, stages } = await runWorker(
    'await busy(loadNative()); stage("busy"); setImmediate(() => { throw new Error("thrown"); }); await new ' +
      "Promise(() => {});",
  );
  expect(code).toBe(1);
  expect(stages[0]).toBe("busy");
});

test("a worker that ends with a held stream and everything left open exits", async () => {
  const result = await runWorker(`
    const device = await loadNative().openDevice("${DEVICE}", { threads: 2 });
    const [stream, gate, event] = [device.createStream("s"), device.createGate(), device.createEvent()];
    const host = await device.createBuffer("host", 1 << 20);
    globalThis.held = host;
    device.submit(Float64Array.of(3, 2, 0, 1, 1, 2, 0, 2), [stream, gate, event]);
    stage("held");`);
  expect(result).toEqual({ code: 0, stages: ["held"] });
});

test("a worker that is terminated with promises pending, a conversion running and a device opening exits", async () => {
  const { stages } = await runWorker(
    `const native = loadNative();
    const device = await native.openDevice("${DEVICE}", { threads: 1 });
    const [stream, gate, event] = [device.createStream("s"), device.createGate(), device.createEvent()];
    const target = await device.createBuffer("host", 1 << 26);
    device.submit(Float64Array.of(3, 2, 0, 1, 1, 2, 0, 2), [stream, gate, event]);
    const pending = [event.done(), device.convert(new Uint8Array(1 << 26), 1, target, 0, 1, 1 << 25)];
    pending.push(device.createBuffer("host", 1 << 20));
    pending.push(native.openDevice("${DEVICE}", { threads: 2 }));
    stage("pending");
    await Promise.all(pending);`,
    (worker) => void worker.terminate(),
  );
  expect(stages).toEqual(["pending"]);
});

test("a device of the main thread goes on while workers come and go", async () => {
  await withDevice({}, async (device) => {
    const stream = device.createStream("s");
    const event = device.createEvent();
    for (let i = 0; i < 3; i++) {
      await runWorker(`await busy(loadNative()); process.exit(0);`);
      submit(device, (list) => list.record(stream, event));
      await event.done();
    }
  });
});

test("process.exit amid matrix products ends the process with its code", async () => {
  const ended = await runScript(`${BUSY} busy(loadNative()).then(() => setTimeout(() => process.exit(7), 50));`);
  expect(ended).toEqual({ code: 7, signal: null, output: "" });
});

test("an uncaught exception amid matrix products ends the process with code 1 and its message", async () => {
  const ended = await runScript(
    `${BUSY} busy(loadNative()).then(() => setTimeout(() => { throw new Error("thrown on purpose"); }, 50));`,
  );
  expect(ended.signal).toBe(null);
  expect(ended.code).toBe(1);
  expect(ended.output).toMatch(/thrown on purpose/);
});

test("process.exit in the main thread while a worker computes ends the process with its code", async () => {
  const worker = `const { loadNative } = require(process.env.ZO2_TEST_LOADER);
    const { parentPort } = require("node:worker_threads");
    ${BUSY} busy(loadNative()).then(() => { parentPort.postMessage(0); setInterval(() => {}, 1000); });`;
  const ended = await runScript(
    `const { Worker } = require("node:worker_threads");
    loadNative();
    new Worker(${JSON.stringify(worker)}, { eval: true }).on("message", () => process.exit(9));`,
    { environment: { ZO2_TEST_LOADER: `${packageRoot}/binding/native.cjs` } },
  );
  expect(ended).toEqual({ code: 9, signal: null, output: "" });
});

test("an idle device does not keep the process alive, a pending promise does", async () => {
  const idle = await runScript(
    `loadNative().openDevice("${DEVICE}", {}).then((d) => { globalThis.d = d; d.createStream("s"); ` +
      'console.log("open"); });',
  );
  expect(idle).toEqual({ code: 0, signal: null, output: "open\n" });
  const pending = await runScript(`
    loadNative().openDevice("${DEVICE}", {}).then((device) => {
      const [stream, gate, event] = [device.createStream("s"), device.createGate(), device.createEvent()];
      device.submit(Float64Array.of(3, 2, 0, 1, 1, 2, 0, 2), [stream, gate, event]);
      event.done().then(() => console.log("fired"));
      setTimeout(() => gate.open(), 200).unref();
    });`);
  expect(pending).toEqual({ code: 0, signal: null, output: "fired\n" });
});

test("using a device in an exit listener throws a coded error", async () => {
  const ended = await runScript(`
    const native = loadNative();
    native.openDevice("${DEVICE}", {}).then(async (device) => {
      const buffer = await device.createBuffer("host", 8);
      process.on("exit", () => {
        for (const use of [() => device.info(), () => buffer.read(0, new Uint8Array(8))])
          try { use(); } catch (error) { console.log(error.code, device.disposed, buffer.disposed); }
      });
    });`);
  expect(ended).toEqual({ code: 0, signal: null, output: "ZO2_ERR_DISPOSED true true\n".repeat(2) });
});
