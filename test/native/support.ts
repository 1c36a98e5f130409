import { spawn } from "node:child_process";
import { readdirSync, readlinkSync } from "node:fs";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { type Buffer, type Device, type DeviceOptions, type Stream, loadNative, packageRoot } from "zo2/native";
import { CommandWords } from "../../src/device/words.js";
import { DEVICE } from "./device.js";

/** What tests of the border share. */
export const native = loadNative();

/** Longest that something which should end may take before a test calls it hung, in milliseconds. */
const HUNG_MS = 60000;

/** Opens a device for `body` and closes it after, whatever happens. */
export async function withDevice<T>(options: DeviceOptions, body: (device: Device) => Promise<T>): Promise<T> {
  const device = await native.openDevice(DEVICE, { threads: 2, ...options });
  try {
    return await body(device);
  } finally {
    await device.close();
  }
}

/** Encodes with `encode`, submits, and resolves when `stream` has run what was given so far. */
export async function submitted(device: Device, stream: Stream, encode: (list: CommandWords) => void): Promise<void> {
  const list = new CommandWords();
  const done = device.createEvent();
  encode(list);
  list.record(stream, done);
  device.submit(list.list, list.handles);
  try {
    await done.done();
  } finally {
    done.dispose();
  }
}

export function submit(device: Device, encode: (list: CommandWords) => void): void {
  const list = new CommandWords();
  encode(list);
  device.submit(list.list, list.handles);
}

/** A host buffer with these bytes. */
export async function hostBytes(device: Device, bytes: Uint8Array): Promise<Buffer> {
  const buffer = await device.createBuffer("host", bytes.length);
  buffer.write(0, bytes);
  return buffer;
}

export function contents(buffer: Buffer): Uint8Array {
  const bytes = new Uint8Array(buffer.bytes);
  buffer.read(0, bytes);
  return bytes;
}

/** Descriptors of this process that are open on files of `folder`, also on those that it has no more. */
export function openFilesIn(folder: string): number {
  return readdirSync("/proc/self/fd").filter((name) => {
    try {
      return readlinkSync(`/proc/self/fd/${name}`).startsWith(folder);
    } catch {
      return false; // that of the listing itself
    }
  }).length;
}

setFlagsFromString("--expose-gc");
/** Collects garbage now. */
export const collect = runInNewContext("gc") as () => void;

interface CodedError {
  readonly name: string;
  readonly code: string;
  readonly message: string;
}

/** What a call throws, or a promise rejects with. Fails when it does neither. */
export async function errorOf(action: (() => unknown) | Promise<unknown>): Promise<CodedError> {
  try {
    await (typeof action === "function" ? action() : action);
  } catch (error) {
    return error as CodedError;
  }
  throw new Error("nothing was thrown");
}

/** Numbers in [0, 1), the same on every run (a 32-bit xorshift). */
export function random(seed: number): () => number {
  let state = seed;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

export interface Ended {
  readonly code: number | null;
  readonly signal: string | null;
  readonly output: string;
}

/**
 * Runs `source` (CommonJS, with `native` loaded) in a process of its own. One that hangs is killed: its signal says so.
 */
export function runScript(
  source: string,
  { environment = {}, flags = [] }: { environment?: Readonly<Record<string, string>>; flags?: readonly string[] } = {},
): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const loader = JSON.stringify(`${packageRoot}/binding/native.cjs`);
    const program = `const { loadNative } = require(${loader});\n${source}`;
    const child = spawn(process.execPath, [...flags, "-e", program], {
      env: { ...process.env, ...environment },
      timeout: HUNG_MS,
      killSignal: "SIGKILL",
    });
    let output = "";
    child.stdout.on("data", (data) => (output += data));
    child.stderr.on("data", (data) => (output += data));
    child.on("error", reject);
    child.on("close", (code, signal) => resolve({ code, signal, output }));
  });
}

/**
 * JavaScript that keeps a device busy with matrix products for far longer than any test: `busy(native)` opens it and
 * resolves with `{ device, stream, done }` once the work is queued; `done` is a promise that nobody waits for.
 */
export const BUSY = `
async function busy(native) {
  const device = await native.openDevice("${DEVICE}", { threads: 2 });
  // Each product takes milliseconds, so that closing need not wait long for the one that runs.
  const size = { cpu: 1024, cuda: 4096, "cuda-emulated": 128 }[device.info().kind], bytes = size * size * 4;
  const stream = device.createStream("busy");
  const event = device.createEvent();
  const spaces = [bytes, 2 * bytes, 0, 0, 0, 0];
  const operand = (space, offset) => [space, offset, 0, size, size, size];
  const program = device.createProgram(
    Float64Array.from([
      ...[4, 3, 1, 0, ...operand(1, 0), ...operand(1, bytes), ...operand(0, 0)],
      ...[2, 8, 0, 1, 2, -1, -1, 0, 1, 0],
    ]),
    Float64Array.from(spaces));
  const weights = await device.createBuffer("device", bytes);
  const carried = await device.createBuffer("device", 2 * bytes);
  const handles = [stream, program, weights, carried, event];
  const words = [5, 5, 0, 2, 0, 0, bytes, 5, 5, 0, 3, 0, 0, 2 * bytes];
  for (let i = 0; i < 2000; i++) words.push(8, 21, 0, 1, 2, 0, 3, 0, -1, 0, -1, 0, -1, 0, -1, 0, 0, 0, 0, 0, 0, 0, 0);
  words.push(1, 2, 0, 4);
  device.submit(Float64Array.from(words), handles);
  const done = event.done();
  done.catch(() => {});
  return { device, stream, event, done };
}
`;
