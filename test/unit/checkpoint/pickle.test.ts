/** What each opcode leaves behind, by the documentation of Python's pickletools. */
import {
  PickleDict,
  PickleList,
  readPickle,
  type PickleRules,
  PickleSet,
  PickleTuple,
  type PickleValue,
} from "../../../src/checkpoint/pickle.js";
import { failure } from "./support.js";
import { op } from "./torch-support.js";

const NO_NAMES: PickleRules = {
  global: (module, name) => {
    throw new Error(`it names ${module}.${name}`);
  },
  persistent: (id) => ["stored", id] as unknown as PickleValue,
};

/** Containers as lists that begin with their kind. */
function plain(value: PickleValue): unknown {
  if (value instanceof PickleTuple) return ["tuple", ...value.items.map(plain)];
  if (value instanceof PickleList) return ["list", ...value.items.map(plain)];
  if (value instanceof PickleSet) return ["set", ...value.items.map(plain)];
  if (value instanceof PickleDict) return ["dict", ...[...value.items].map((pair) => pair.map(plain))];
  return value instanceof Uint8Array ? ["bytes", ...value] : value;
}

function read(...parts: (number | string | Buffer)[]): unknown {
  const bytes = op(0x80, 4, ...parts, ".");
  const { value, end } = readPickle(bytes, "p", NO_NAMES);
  expect(end).toBe(bytes.length);
  return plain(value);
}

/** A length that has another value when its bytes are taken in another order, or not all of them. */
const LONG = 0x0103;
const text = "x".repeat(LONG);
const count4 = "\x03\x01\0\0";
const count8 = "\x03\x01\0\0\0\0\0\0";
const bytes = ["bytes", ...Buffer.from(text)];

test.each<[string, (number | string | Buffer)[], unknown]>([
  ["NONE", ["N"], null],
  ["NEWTRUE", [0x88], true],
  ["NEWFALSE", [0x89], false],
  ["BININT1", ["K\xff"], 255],
  ["BININT2", ["M\x02\xff"], 0xff02],
  ["BININT", ["J\xfe\xff\xff\xff"], -2],
  ["BININT of four different bytes", ["J\x04\x03\x02\x01"], 0x01020304],
  ["LONG1 of no bytes", [0x8a, 0], 0],
  ["LONG1 below zero", [0x8a, 2, "\0\xff"], -256],
  ["LONG1 past 2^53", [0x8a, 9, "\x01\0\0\0\0\0\0\0\x01"], 2n ** 64n + 1n],
  ["BINFLOAT", ["G\x3f\xf8\0\0\0\0\0\0"], 1.5],
  ["SHORT_BINUNICODE", [0x8c, 2, "\xc3\xa9"], "é"],
  ["BINUNICODE", ["X", count4, text], text],
  ["BINUNICODE8", [0x8d, count8, text], text],
  ["SHORT_BINSTRING", ["U\x02ab"], "ab"],
  ["BINSTRING", ["T", count4, text], text],
  ["SHORT_BINBYTES", ["C\x02\x00\xff"], ["bytes", 0, 255]],
  ["BINBYTES", ["B", count4, text], bytes],
  ["BINBYTES8", [0x8e, count8, text], bytes],
  ["BYTEARRAY8", [0x96, count8, text], bytes],
  ["EMPTY_TUPLE", [")"], ["tuple"]],
  ["TUPLE1", ["NK\x01", 0x85], ["tuple", 1]],
  ["TUPLE2", ["NK\x01K\x02", 0x86], ["tuple", 1, 2]],
  ["TUPLE3", ["NK\x01K\x02K\x03", 0x87], ["tuple", 1, 2, 3]],
  ["MARK and TUPLE", ["N(K\x01K\x02K\x03K\x04t"], ["tuple", 1, 2, 3, 4]],
  ["EMPTY_LIST, APPEND and APPENDS", ["]K\x01a(K\x02K\x03e"], ["list", 1, 2, 3]],
  ["EMPTY_SET and ADDITEMS", [0x8f, "(K\x01K\x02", 0x90, "(K\x03", 0x90], ["set", 1, 2, 3]],
  ["FROZENSET", ["(K\x01K\x02", 0x91], ["set", 1, 2]],
  [
    "EMPTY_DICT, SETITEM and SETITEMS",
    ["}K\x01Ns(K\x02", 0x88, "K\x03", 0x89, "u"],
    ["dict", [1, null], [2, true], [3, false]],
  ],
  ["POP", ["K\x01K\x020"], 1],
  ["POP_MARK", ["K\x01(K\x02K\x031"], 1],
  ["BINPUT and BINGET", ["K\x01q\xff0K\x02q\x010h\xff"], 1],
  ["LONG_BINPUT and LONG_BINGET", ["K\x01r\x05\x02\0\x010K\x02q\x050j\x05\x02\0\x01"], 1],
  ["LONG_BINPUT and BINGET", ["K\x01r\x05\0\0\x000K\x02h\x05"], 1],
  ["MEMOIZE", ["K\x01", 0x94, "0K\x02", 0x94, "0h\x01h\0", 0x86], ["tuple", 2, 1]],
  ["FRAME", [0x95, "\x02\0\0\0\0\0\0\0K\x07"], 7],
  ["BINPERSID", ["K\x07Q"], ["stored", 7]],
])("%s", (_, parts, expected) => {
  expect(read(...parts)).toEqual(expected);
});

test("of several pickles, one behind the other, each ends where the next begins", () => {
  const all = op(0x80, 2, "K\x01.", 0x80, 2, "K\x02.", "rest");
  const first = readPickle(all, "p", NO_NAMES);
  const second = readPickle(all, "p", NO_NAMES, first.end);
  expect([first.value, second.value, second.end]).toEqual([1, 2, all.length - "rest".length]);
});

test.each([2, 3, 4, 5])("protocol %d is read", (protocol) => {
  expect(readPickle(op(0x80, protocol, "N."), "p", NO_NAMES).value).toBeNull();
});

test("the stack holds 2^17 values and marks together, and not one more", () => {
  const values = (count: number) => read(Buffer.alloc(count, "N"));
  const marks = (count: number) => read("N", Buffer.alloc(count, "("), Buffer.alloc(count, "1"));
  for (const deep of [() => values(2 ** 17), () => marks(2 ** 17 - 1)]) expect(deep()).toBeNull();
  for (const deeper of [() => values(2 ** 17 + 1), () => marks(2 ** 17)])
    expect(deeper).toThrow(failure("ZO2_ERR_CHECKPOINT", "more than 131072 values and marks"));
});
