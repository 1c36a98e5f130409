import { readFileSync } from "node:fs";
import { Worker } from "node:worker_threads";
import { packageRoot } from "zo2/native";
import { collect, contents, native, random, submit, submitted, withDevice } from "../native/support.js";

const turn = () => new Promise((resolve) => setImmediate(resolve));

const MIB = 1 << 20;

function threads(): number {
  return Number(/^Threads:\s*(\d+)/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1]);
}

/** Resident bytes once garbage is gone. */
async function residentBytes(): Promise<number> {
  for (let i = 0; i < 5; i++) {
    collect();
    await turn();
  }
  return process.memoryUsage.rss();
}

async function openUseClose(): Promise<void> {
  await withDevice({}, async (device) => {
    const stream = device.createStream("s");
    const [on, host] = await Promise.all([device.createBuffer("device", 4096), device.createBuffer("host", 4096)]);
    host.write(0, new Uint8Array(4096).fill(1));
    await submitted(device, stream, (list) =>
      list.copy(stream, { buffer: on, offset: 0 }, { buffer: host, offset: 0 }, 4096),
    );
  });
}

test("a thousand devices opened, used and closed leave neither threads nor memory behind", async () => {
  for (let i = 0; i < 200; i++) await openUseClose();
  const [before, threadsBefore] = [await residentBytes(), threads()];
  for (let i = 0; i < 1000; i++) await openUseClose();
  expect(threads()).toBe(threadsBefore);
  expect((await residentBytes()) - before).toBeLessThan(24 * MIB);
});

test("devices and handles that are only dropped are collected with their threads", async () => {
  const before = threads();
  for (let i = 0; i < 100; i++) {
    const device = await native.openDevice("cpu", { threads: 1 });
    device.createStream("dropped");
    await device.createBuffer("host", 1000);
  }
  for (let i = 0; i < 100 && threads() > before; i++) {
    collect();
    await turn();
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  expect(threads()).toBeLessThanOrEqual(before + 3);
});

test("buffers that are only dropped are collected before they fill the memory: V8 knows their bytes", async () => {
  await withDevice({}, async (device) => {
    let most = 0;
    for (let i = 0; i < 400; i++) {
      await device.createBuffer("host", 64 * MIB);
      most = Math.max(most, device.info().hostBytes);
      await turn();
    }
    expect(most).toBeLessThan(400 * 64 * MIB * 0.25);
  });
});

test("handles dropped and disposed at random amid commands and collections never change a result", async () => {
  const next = random(99);
  const pick = (n: number) => Math.floor(next() * n);
  await withDevice({ delayMicroseconds: 50, delaySeed: 3 }, async (device) => {
    for (let round = 0; round < 150; round++) {
      const stream = device.createStream("s");
      const out = await device.createBuffer("host", 64);
      for (let i = 0; i < 64; i++) {
        const middle = await device.createBuffer(next() < 0.5 ? "device" : "host", 128);
        const other = device.createStream("other");
        const event = device.createEvent();
        const at = pick(127);
        submit(device, (list) => {
          list.fill(other, { buffer: middle, offset: at }, i + 1, 1);
          list.record(other, event);
          list.wait(stream, event);
          list.copy(stream, { buffer: out, offset: i }, { buffer: middle, offset: at }, 1);
        });
        for (const handle of [middle, other, event]) if (next() < 0.5) handle.dispose();
        if (next() < 0.02) collect();
      }
      await submitted(device, stream, () => undefined);
      const got = contents(out);
      if (got.some((byte, i) => byte !== i + 1)) throw new Error(`round ${round}: ${got.join(" ")}`);
    }
  });
});

test("a hundred thousand lists, half of whose promises nobody keeps, leave no memory behind", async () => {
  await withDevice({}, async (device) => {
    const stream = device.createStream("s");
    const event = device.createEvent();
    const run = async (lists: number) => {
      for (let i = 0; i < lists; i++) {
        submit(device, (list) => list.record(stream, event));
        if (i % 2 === 0) void event.done();
        if (i % 500 === 0) await event.done();
      }
      await event.done();
    };
    await run(20000);
    const before = await residentBytes();
    await run(100000);
    expect((await residentBytes()) - before).toBeLessThan(24 * MIB);
    expect(device.waits).toBe(0);
  });
});

test("fifty workers that are terminated at random moments leave neither threads nor memory behind", async () => {
  const next = random(5);
  const source = `
    const { loadNative } = require(${JSON.stringify(`${packageRoot}/binding/native.cjs`)});
    (async () => {
      const native = loadNative();
      for (;;) {
        const device = await native.openDevice("cpu", { threads: 2, delayMicroseconds: 200 });
        const [stream, event] = [device.createStream("s"), device.createEvent()];
        const [a, b] = [await device.createBuffer("device", 1 << 16), await device.createBuffer("host", 1 << 16)];
        const words = Float64Array.of(5, 5, 0, 1, 0, 1, 65536, 4, 6, 0, 2, 0, 1, 0, 65536, 1, 2, 0, 3);
        for (let i = 0; i < 5; i++) {
          device.submit(words, [stream, a, b, event]);
          await event.done();
        }
        if (Math.random() < 0.5) await device.close();
      }
    })();`;
  const once = async () => {
    const worker = new Worker(source, { eval: true });
    await new Promise((resolve) => setTimeout(resolve, 30 + 150 * next()));
    await worker.terminate();
  };
  for (let i = 0; i < 10; i++) await once();
  const [before, threadsBefore] = [await residentBytes(), threads()];
  for (let i = 0; i < 50; i++) await once();
  expect(threads()).toBe(threadsBefore);
  expect((await residentBytes()) - before).toBeLessThan(64 * MIB);
});
