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

export default {
  dictionary: ['"format"', '"tensors"', '"method"', '"probes"', '"directions"', '"seed"', "fp16", "1e400"],
  maxBytes: 16384,

  *seeds() {
    const header = json(1, HEADER);
    yield fileOf([]);
    yield fileOf([header]);
    yield fileOf([header, json(2, SESSION), step(0), step(1), [4, Buffer.alloc(25)], step(2), [5, Buffer.alloc(0)]]);
    yield fileOf([header, block(0), block(2), step(4)]);
  },

  mutate(bytes, random, context) {
    const mutated = mutateBytes(bytes, random, context);
    return random.below(2) === 0 ? sealed(Buffer.from(mutated)) : mutated;
  },

  async open({ dist }) {
    const { parseJournal } = await import(path.join(dist, "journal", "read.js"));
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
        // What is whole is the same without what stands behind it.
        const again = await attempt(isZo2Error, [], bytes.length, () =>
          parseJournal(bytes.subarray(0, value.end), "file"),
        );
        const plain = ({ steps, evaluations, sessions, header }) =>
          JSON.stringify([steps, evaluations, sessions, header]);
        demand(plain(again.value) === plain(value), "other records without the tail");
      }
    };
  },
};
