/**
 * The border itself: what is dropped is collected, whenever and on whatever thread the runtime says so, and errors of
 * native code are JavaScript's. Prints one line of JSON and ends by itself, with a device left open.
 */
import { loadNative } from "zo2/native";

const turn = () => new Promise((resolve) => setTimeout(resolve, 1));
const collect = globalThis.Bun === undefined ? globalThis.gc : () => globalThis.Bun.gc(true);
const native = loadNative();
const F32 = 0;
const BF16 = 2;
const MIB = 1 << 20;
const seen = {};

const device = await native.openDevice("cpu", { threads: 2 });
async function churn() {
  const stream = device.createStream("dropped");
  const event = device.createEvent();
  const [on, host] = await Promise.all([device.createBuffer("device", MIB), device.createBuffer("host", MIB)]);
  // fill, copy, record
  device.submit(Float64Array.of(5, 5, 0, 1, 0, 7, 64, 4, 6, 0, 2, 8, 1, 0, 64, 1, 2, 0, 3), [stream, on, host, event]);
  await event.done();
  const bytes = new Uint8Array(80);
  host.read(0, bytes);
  return bytes.reduce((sum, byte) => sum + byte, 0);
}
seen.sums = new Set();
for (let i = 0; i < 100; i++) seen.sums.add(await churn());
seen.sums = [...seen.sums];
for (let i = 0; i < 200 && device.info().hostBytes > 20 * MIB; i++) {
  collect();
  await turn();
}
seen.collected = device.info().hostBytes <= 20 * MIB;

// A source that only the conversion holds; and a small one, whose bytes an engine may move when asked for its buffer.
const target = await device.createBuffer("host", 2 * MIB + 16);
const small = new Uint8Array(32);
small.set(new Uint8Array(Float32Array.of(1, 2, 3, 4, 5, 6, 7, 8).buffer));
const conversions = [
  device.convert(new Uint8Array(new Float32Array(MIB).fill(3).buffer), F32, target, 0, BF16, MIB),
  device.convert(small, F32, target, 2 * MIB, BF16, 8),
];
seen.small = small.buffer.byteLength;
collect();
seen.finite = await Promise.all(conversions);
const converted = new Uint16Array(MIB + 8);
target.read(0, new Uint8Array(converted.buffer));
seen.converted = [converted.subarray(0, MIB).every((bits) => bits === 0x4040), ...converted.subarray(MIB)];

const errorOf = async (use) => {
  try {
    await use();
  } catch (error) {
    // How much was in use says when the collector ran.
    return [error.code, error.name, error instanceof Error, error.message.replace(/asked for, .*/, "")];
  }
};
seen.errors = [
  await errorOf(() => device.createStream(5)),
  await errorOf(() => device.createBuffer("host", -1)),
  await errorOf(() => device.createBuffer("device", 2 ** 50)),
  await errorOf(() => target.read(0, [1, 2])),
  await errorOf(() => target.read.call(device, 0, small)),
  await errorOf(() => new target.constructor()),
  await errorOf(() => device.submit(Float64Array.of(99, 0), [])),
  await errorOf(() => device.convert(small, F32, device, 0, BF16, 8)),
];
const closed = await native.openDevice("cpu", { threads: 1 });
const event = closed.createEvent();
await closed.close();
seen.errors.push(await errorOf(() => event.done()), [closed.waits, device.waits, closed.disposed, event.disposed]);
console.log(JSON.stringify(seen));
