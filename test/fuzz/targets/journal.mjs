/** The journal of a run: `parseJournal` of src/journal/read.ts. */
import path from "node:path";
import { crc32 } from "node:zlib";
import { mutateBytes } from "../lib/bytes.mjs";
import { attempt, demand } from "../lib/oracle.mjs";

const MAGIC = Buffer.from("\x89zo2run\r\n\x1a", "latin1");
const HEADER = {
  ...{ format: 1, package: "0.1.0", created: "2026-11-30" },
  base: {
    name: "m",
    config: "0".repeat(32),
    tensors: [{ name: "w", shape: [2, 3], wire: "fp16", hash: "a".repeat(32) }],
  },
  numerics: { compute: "fp32", rounding: "nearest", tf32: false },
  training: {},
  method: { probes: 2, directions: 1, noise: "gaussian", weightDecay: 0, frozen: [], seed: "7" },
  data: { path: null, examples: 1, hash: "f".repeat(32) },
};
const SESSION = { from: 0, started: "", package: "0.1.0", device: "cpu", options: {}, rounding: "" };

/** The file of these [kind, payload], as docs/journal.md has it. */
function fileOf(frames) {
  let checksum = crc32(MAGIC);
  const parts = [MAGIC];
  for (const [kind, payload] of frames) {
    const frame = Buffer.alloc(payload.length + 8);
    frame.writeUInt32LE((kind | (payload.length << 8)) >>> 0);
    payload.copy(frame, 4);
    checksum = crc32(frame.subarray(0, -4), checksum);
    frame.writeUInt32LE(checksum, frame.length - 4);
    parts.push(frame);
  }
  return Buffer.concat(parts);
}

function step(index) {
  const payload = Buffer.alloc(38);
  payload.writeUInt32LE(index);
  payload.writeUInt8(1, 4);
  for (const at of [6, 18, 26]) payload.writeDoubleLE(index / 7, at);
  payload.writeFloatLE(index / 3, 34);
  return [3, payload];
}

/** A block of two steps with the rate 0. */
function block(first) {
  const payload = Buffer.alloc(18);
  payload.writeUInt32LE(first);
  payload.writeUInt32LE(2, 4);
  return [6, payload];
}

/** Step `index`, dropped with `count - 1` before it. */
function dropped(index, count, guard, [, payload] = step(index)) {
  const head = Buffer.alloc(5);
  head.writeUInt8(guard);
  head.writeUInt32LE(count, 1);
  return [7, Buffer.concat([head, payload])];
}

/** The last `count` steps before it. */
const droppedBefore = (count, guard) => dropped(0, count, guard, [3, Buffer.alloc(0)]);

/** Step `index` as the compact form has it where it is dropped. */
function withoutShards(index) {
  const [, payload] = step(index);
  const short = Buffer.concat([payload.subarray(0, 14), payload.subarray(34)]);
  short.writeUInt8(0, 4);
  return [3, short];
}

const json = (kind, value) => [kind, Buffer.from(JSON.stringify(value))];

/** The same bytes with checksums that fit, as far as frames can be told apart: past them is what else can be wrong. */
function sealed(bytes) {
  const copy = Buffer.from(bytes);
  let checksum = crc32(copy.subarray(0, MAGIC.length));
  for (let at = MAGIC.length; at + 8 <= copy.length; ) {
    const body = at + 4 + (copy.readUInt32LE(at) >>> 8);
    if (body + 4 > copy.length) break;
    checksum = crc32(copy.subarray(at, body), checksum);
    copy.writeUInt32LE(checksum, body);
    at = body + 4;
  }
  return copy;
}

/** What the table of docs/journal.md says of a step, or null where these bytes are none. */
function stepOf(bytes, { probes, directions }, fewest) {
  if (bytes.length < 14) return null;
  const shards = bytes[4];
  if (shards < fewest || bytes[5] !== 0) return null;
  if (bytes.length !== 14 + shards * (4 + 8 * probes) + 4 * directions) return null;
  // Coefficients and rate by their bits, which a NaN has too.
  const coefficients = bytes.subarray(bytes.length - 4 * directions).toString("hex");
  return { step: bytes.readUInt32LE(0), rate: bytes.readBigUInt64LE(6), coefficients, shards };
}

/** The steps of a block of coefficients, or null. */
function blockOf(bytes, { directions }) {
  if (bytes.length < 8) return null;
  const [first, count] = [bytes.readUInt32LE(0), bytes.readUInt32LE(4)];
  let at = 8 + count * directions * 4;
  if (count > 4096 || at > bytes.length) return null;
  const sums = [0n, 0n, 0n];
  const steps = [];
  for (let s = 0; s < count; s++) {
    let [value, shift, more] = [0n, 0n, true];
    while (more) {
      if (at === bytes.length || shift > 63n) return null;
      value += BigInt(bytes[at] % 128) << shift;
      shift += 7n;
      more = bytes[at++] >= 128;
    }
    value = BigInt.asUintN(64, value);
    const difference = value % 2n === 0n ? value / 2n : -(value + 1n) / 2n;
    for (let order = 2, add = difference; order >= 0; order--) add = sums[order] += add;
    const coefficients = bytes.subarray(8 + s * directions * 4, 8 + (s + 1) * directions * 4).toString("hex");
    steps.push({ step: first + s, rate: BigInt.asUintN(64, sums[0]), coefficients, shards: 0 });
  }
  return at === bytes.length ? steps : null;
}

/** The steps of a file with this header, and which were dropped; null where a frame is not what the format says. */
function contentsOf(bytes, method) {
  let checksum = crc32(MAGIC);
  const [steps, drops] = [[], []];
  for (let at = MAGIC.length; at + 8 <= bytes.length; ) {
    const kind = bytes[at] % 128;
    const payload = bytes.subarray(at + 4, at + 4 + bytes.readUIntLE(at + 1, 3));
    const end = at + 8 + bytes.readUIntLE(at + 1, 3);
    if (end > bytes.length) break;
    checksum = crc32(bytes.subarray(at, end - 4), checksum);
    if (checksum !== bytes.readUInt32LE(end - 4)) break;
    at = end;
    if (kind === 3) steps.push(stepOf(payload, method, 1));
    else if (kind === 6) steps.push(...(blockOf(payload, method) ?? [null]));
    else if (kind === 7) {
      const own = payload.length > 5 ? [stepOf(payload.subarray(5), method, 0)] : [];
      const last = own.length > 0 ? own[0]?.step : steps.length - 1;
      const [guard, count] = payload.length < 5 ? [0, 0] : [payload[0], payload.readUInt32LE(1)];
      const fits = last !== undefined && guard >= 1 && guard <= 3 && count >= 1 && count <= last + 1;
      steps.push(...(fits ? own : [null]));
      if (fits) drops.push({ step: last, count, guard: GUARDS[guard] });
    }
    if (steps.some((step, i) => step === null || step.step !== i)) return null;
  }
  return { steps, drops };
}

const GUARDS = [undefined, "not-finite", "collapsed", "outlier"];
const word = new DataView(new ArrayBuffer(8));

/** A step as the package reads it, in the words of `stepOf`. */
function plainStep({ step, learningRate, coefficients, shards }) {
  word.setFloat64(0, learningRate);
  const bytes = Buffer.alloc(coefficients.length * 4);
  coefficients.forEach((value, i) => bytes.writeFloatLE(value, i * 4));
  return { step, rate: word.getBigUint64(0), coefficients: bytes.toString("hex"), shards: shards.length };
}

/** As text; what is not a number is one thing, since JavaScript keeps no more of it. */
function asText(steps) {
  const nan = (hex) => Number.isNaN(Buffer.from(hex, "hex").readFloatLE());
  return steps
    .map(({ step, rate, coefficients, shards }) => {
      word.setBigUint64(0, rate);
      const numbers = coefficients.match(/.{8}/g).map((hex) => (nan(hex) ? "NaN" : hex));
      return [step, Number.isNaN(word.getFloat64(0)) ? "NaN" : rate, shards, ...numbers].join(" ");
    })
    .join("\n");
}

export default {
  dictionary: ['"format"', '"tensors"', '"method"', '"probes"', '"directions"', '"seed"', "fp16", "1e400"],
  maxBytes: 16384,

  *seeds() {
    const header = json(1, HEADER);
    yield fileOf([]);
    yield fileOf([header]);
    yield fileOf([header, json(2, SESSION), step(0), step(1), [4, Buffer.alloc(25)], step(2), [5, Buffer.alloc(0)]]);
    yield fileOf([header, block(0), block(2), step(4)]);
    yield fileOf([header, json(2, SESSION), step(0), step(1), dropped(2, 2, 1), step(3), dropped(4, 1, 3), step(5)]);
    for (const wrong of [dropped(1, 3, 1), dropped(1, 0, 1), dropped(1, 1, 4)])
      yield fileOf([header, step(0), wrong, step(2)]);
    for (const count of [1, 2, 3]) yield fileOf([header, step(0), step(1), droppedBefore(count, 1), step(2)]);
    yield fileOf([header, dropped(0, 1, 2, withoutShards(0)), block(1), dropped(3, 4, 1, withoutShards(3))]);
  },

  mutate(bytes, random, context) {
    const mutated = mutateBytes(bytes, random, context);
    return random.below(2) === 0 ? sealed(Buffer.from(mutated)) : mutated;
  },

  async open({ dist }) {
    const { parseJournal } = await import(path.join(dist, "journal", "read.js"));
    const { countedSteps } = await import(path.join(dist, "journal", "counted.js"));
    const { isZo2Error } = await import(path.join(dist, "base", "errors.js"));
    return async (input) => {
      const bytes = Buffer.from(input);
      for (const resuming of [false, true]) {
        const { value } = await attempt(isZo2Error, ["ZO2_ERR_JOURNAL"], bytes.length, () =>
          parseJournal(bytes, "file", { resuming }),
        );
        if (value === undefined) continue;
        demand(
          value.end + value.torn === bytes.length,
          () => `${value.end} and ${value.torn} of ${bytes.length} bytes`,
        );
        demand(
          value.steps.every(({ step: index, coefficients }, i) => index === i && coefficients.length > 0),
          "steps out of order",
        );
        // The same steps by another reading of the format, and of these the ones that count.
        const own = contentsOf(bytes, value.header.method);
        demand(own !== null, "a frame that is not what the format says was read");
        demand(asText(value.steps.map(plainStep)) === asText(own.steps), "other steps than the file has");
        demand(JSON.stringify(value.dropped) === JSON.stringify(own.drops), "other steps are dropped");
        for (const taken of [own.steps.length, own.steps.length >> 1]) {
          const left = own.steps
            .slice(0, taken)
            .filter(({ step: i }) => !own.drops.some(({ step: at, count }) => at < taken && i <= at && i > at - count));
          const counted = countedSteps(value, taken).map(({ step: i }) => i);
          demand(counted.join() === left.map(({ step: i }) => i).join(), `other steps count after ${taken}`);
        }
        // What is whole is the same without what stands behind it.
        const again = await attempt(isZo2Error, [], bytes.length, () =>
          parseJournal(bytes.subarray(0, value.end), "file"),
        );
        const plain = ({ steps, dropped: drops, evaluations, sessions, header }) =>
          JSON.stringify([steps, drops, evaluations, sessions, header]);
        demand(plain(again.value) === plain(value), "other records without the tail");
      }
    };
  },
};
