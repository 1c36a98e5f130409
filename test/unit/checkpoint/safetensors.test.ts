import { isZo2Error } from "../../../src/base/errors.js";
import { headerLength, parseHeader } from "../../../src/checkpoint/safetensors.js";
import { failure, fileBytes } from "./support.js";

/** Reads a whole file's bytes as a header, as `openCheckpoint` does with a file. */
function parse(file: Uint8Array, size = file.byteLength) {
  const length = headerLength("f", file.subarray(0, 8), size);
  return parseHeader("f", file.subarray(8, 8 + length), size);
}

const tensor = (dtype: string, shape: unknown, begin: unknown, end: unknown) => ({
  dtype,
  shape,
  data_offsets: [begin, end],
});

describe("a safetensors header", () => {
  test("gives names, dtypes, shapes and offsets from the start of the file, in the order of the header", () => {
    const header = {
      __metadata__: { format: "pt" },
      b: tensor("F32", [2, 3], 4, 28),
      a: tensor("BF16", [2], 0, 4),
      s: tensor("F16", [], 28, 30),
      none: tensor("I64", [0, 7], 30, 30),
    };
    const file = fileBytes(header, 30);
    const start = file.byteLength - 30;
    const { tensors, metadata } = parse(file);
    expect(metadata).toEqual({ format: "pt" });
    expect(tensors).toEqual([
      { name: "b", dtype: "F32", shape: [2, 3], file: "f", offset: start + 4, bytes: 24 },
      { name: "a", dtype: "BF16", shape: [2], file: "f", offset: start, bytes: 4 },
      { name: "s", dtype: "F16", shape: [], file: "f", offset: start + 28, bytes: 2 },
      { name: "none", dtype: "I64", shape: [0, 7], file: "f", offset: start + 30, bytes: 0 },
    ]);
  });

  test("may end with spaces and hold no tensor at all", () => {
    expect(parse(fileBytes("{}      ", 0)).tensors).toEqual([]);
  });

  test("may describe data beyond 4 GiB", () => {
    const big = 3 * 2 ** 33;
    const header = fileBytes({ a: tensor("F32", [2 ** 31, 3], 0, big) }, 0);
    expect(parse(header, header.byteLength + big).tensors[0]).toMatchObject({ bytes: big });
  });

  test("takes a tensor named __proto__ as a name like any other", () => {
    const file = fileBytes('{"__proto__":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', 1);
    expect(parse(file).tensors.map((entry) => entry.name)).toEqual(["__proto__"]);
  });

  const refused: [string, Buffer, string][] = [
    ["a file of 7 bytes", Buffer.alloc(7), "7 bytes is too short"],
    [
      "a length past the end of the file",
      fileBytes("{}", 0, 3n),
      "header length 3 reaches past the end of the file (10 bytes)",
    ],
    [
      "a length over the format's limit",
      fileBytes("{}", 0, 100_000_001n),
      "header length 100000001 is more than the 100000000",
    ],
    ["a length of 2^64 - 1", fileBytes("{}", 0, 2n ** 64n - 1n), "header length 18446744073709551615 is more"],
    ["an empty header", fileBytes("", 4), "does not start with {"],
    ["leading blanks", fileBytes(" {}", 0), "does not start with {"],
    ["a list", fileBytes("[]", 0), "does not start with {"],
    ["what is not JSON", fileBytes("{nonsense", 0), "not JSON"],
    ["what is not UTF-8", Buffer.concat([fileBytes("", 0, 3n), Buffer.from([0x7b, 0xff, 0x7d])]), "not UTF-8"],
    [
      "a tensor given twice",
      fileBytes(
        '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},' +
          '"\\u0061":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
        1,
      ),
      'key "a" twice',
    ],
    [
      "a field given twice",
      fileBytes('{"a":{"dtype":"U8","dtype" : "I8","shape":[1],"data_offsets":[0,1]}}', 1),
      'key "dtype" twice',
    ],
    ["an entry that is no object", fileBytes({ a: 3 }, 0), 'tensor "a": its header entry is not an object'],
    ["an unknown dtype", fileBytes({ a: tensor("F31", [1], 0, 4) }, 4), 'tensor "a": unknown dtype "F31"'],
    [
      "a dtype that is a property of every object",
      fileBytes({ a: tensor("toString", [1], 0, 4) }, 4),
      'unknown dtype "toString"',
    ],
    ["no dtype", fileBytes({ a: { shape: [1], data_offsets: [0, 4] } }, 4), "unknown dtype (missing)"],
    ["a negative extent", fileBytes({ a: tensor("U8", [-1, -4], 0, 4) }, 4), "shape is not a list of integers"],
    ["a fractional extent", fileBytes({ a: tensor("U8", [1.5], 0, 4) }, 4), "shape is not a list of integers"],
    ["a shape that is no list", fileBytes({ a: tensor("U8", 4, 0, 4) }, 4), "shape is not a list of integers"],
    ["an extent over 2^53", fileBytes({ a: tensor("U8", [2 ** 60], 0, 4) }, 4), "shape is not a list of integers"],
    ["a shape whose product overflows", fileBytes({ a: tensor("F32", [2 ** 40, 2 ** 40], 0, 4) }, 4), "overflows"],
    ["a shape whose bytes overflow", fileBytes({ a: tensor("F64", [2 ** 52], 0, 4) }, 4), "overflows"],
    ["half a byte", fileBytes({ a: tensor("F4", [3], 0, 1) }, 1), "no whole number of bytes"],
    ["one offset", fileBytes({ a: { dtype: "U8", shape: [1], data_offsets: [0] } }, 1), "data_offsets is not a pair"],
    ["a negative offset", fileBytes({ a: tensor("U8", [1], -1, 0) }, 1), "data_offsets is not a pair"],
    ["offsets that are strings", fileBytes({ a: tensor("U8", [1], "0", "1") }, 1), "data_offsets is not a pair"],
    [
      "offsets the wrong way round",
      fileBytes({ a: tensor("U8", [1], 1, 0) }, 1),
      "data_offsets [1, 0] end before they begin",
    ],
    [
      "offsets past the end",
      fileBytes({ a: tensor("U8", [9], 0, 9) }, 8),
      "data_offsets [0, 9] reach past the end of the file, which holds 8 bytes",
    ],
    [
      "offsets that do not fit the shape",
      fileBytes({ a: tensor("F32", [3], 0, 8) }, 8),
      "hold 8 bytes, but shape [3] of F32 needs 12",
    ],
    [
      "overlapping tensors",
      fileBytes({ a: tensor("U8", [6], 0, 6), b: tensor("U8", [4], 4, 8) }, 8),
      'tensor "b": overlaps tensor "a" by 2 bytes',
    ],
    [
      "a hole between tensors",
      fileBytes({ a: tensor("U8", [2], 0, 2), b: tensor("U8", [4], 4, 8) }, 8),
      'tensor "b": 2 bytes before it belong to no tensor',
    ],
    [
      "bytes after the last tensor",
      fileBytes({ a: tensor("U8", [2], 0, 2) }, 8),
      "the last 6 bytes belong to no tensor",
    ],
    ["metadata that is no object", fileBytes({ __metadata__: ["a"] }, 0), "__metadata__ is not an object"],
    [
      "metadata with a number",
      fileBytes({ __metadata__: { steps: 3 } }, 0),
      '__metadata__: the value of "steps" is not a string',
    ],
  ];
  test.each(refused)("with %s is refused", (_, bytes, message) => {
    expect(() => parse(bytes)).toThrow(failure("ZO2_ERR_CHECKPOINT", "f: ", message));
  });

  test("however it is damaged, gives a coded error or tensors that tile the data", () => {
    const header = {
      __metadata__: { format: "pt" },
      "a.weight": tensor("F32", [4, 3], 0, 48),
      "b.bias": tensor("F16", [10], 48, 68),
      c: tensor("U8", [2, 2], 68, 72),
    };
    const sound = fileBytes(header, 72);
    const random = lcg(20240717);
    let accepted = 0;
    const rounds = 6000;
    for (let round = 0; round < rounds; round++) {
      let bytes = Buffer.from(sound);
      for (let edits = 1 + random(3); edits > 0; edits--) bytes = mutate(bytes, random);
      try {
        const { tensors } = parse(bytes);
        accepted++;
        // Painting every byte once is a check of its own, not the parser's sort.
        const start = 8 + Number(bytes.readBigUInt64LE());
        const painted = new Uint8Array(bytes.byteLength);
        for (const { offset, bytes: size } of tensors) for (let i = 0; i < size; i++) painted[offset + i]! += 1;
        expect(painted.subarray(start).every((count) => count === 1)).toBe(true);
      } catch (error) {
        if (!isZo2Error(error)) throw error;
        expect(error.code).toBe("ZO2_ERR_CHECKPOINT");
      }
    }
    // Renamed tensors and the like stay readable: both ways out must have been taken.
    expect(accepted).toBeGreaterThan(rounds / 100);
    expect(accepted).toBeLessThan(rounds * 0.9);
  });
});

function lcg(seed: number) {
  let state = seed;
  return (below: number) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

const SNIPPETS = [
  "{",
  "}",
  "[",
  "]",
  '"',
  ",",
  ":",
  "0",
  "-1",
  "1e9",
  "null",
  "\\",
  "9007199254740993",
  '"dtype"',
  "F64",
  "[]",
  "{}",
  "\u0000",
];

/** One change of a byte, a digit, a piece or the length. */
function mutate(bytes: Buffer, random: (below: number) => number): Buffer<ArrayBuffer> {
  const json = Math.max(1, Math.min(bytes.byteLength - 8, 230));
  const at = 8 + random(json);
  switch (random(6)) {
    case 0: {
      const out = Buffer.from(bytes);
      out[at] = random(256);
      return out;
    }
    case 1: {
      const snippet = Buffer.from(SNIPPETS[random(SNIPPETS.length)]!);
      return Buffer.concat([bytes.subarray(0, at), snippet, bytes.subarray(at + snippet.length)]);
    }
    case 2:
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + random(8))]);
    case 3: {
      const out = Buffer.from(bytes);
      if (out.byteLength >= 8) out.writeBigUInt64LE(BigInt(random(2 * out.byteLength)));
      return out;
    }
    case 4:
      return Buffer.from(bytes.subarray(0, random(bytes.byteLength + 1)));
    default: {
      const digits = [...bytes.subarray(0, 8 + json).entries()]
        .filter(([i, c]) => i >= 8 && c >= 0x30 && c <= 0x39)
        .map(([i]) => i);
      const out = Buffer.from(bytes);
      const digit = digits[random(digits.length)];
      if (digit !== undefined) out[digit] = 0x30 + random(10);
      return out;
    }
  }
}
