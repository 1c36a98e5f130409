import { readdirSync } from "node:fs";
import { join } from "node:path";
import { openCheckpoint } from "../../../src/checkpoint/index.js";
import { cleanUp, failure } from "./support.js";
import {
  archive,
  call,
  type Entry,
  global,
  list,
  op,
  type Pickled,
  pickle,
  storage,
  tensor,
  torchFolder,
  tuple,
  value,
  type View,
  zip,
  zipChunks,
  type ZipOptions,
} from "./torch-support.js";

afterAll(cleanUp);

/** Opens a file with this object, and reads the tensor `name` as fp32 numbers. */
async function floats(object: Pickled, name: string, count = 16): Promise<number[]> {
  await using checkpoint = await openCheckpoint(await torchFolder(zip(archive(object, count))));
  const entry = checkpoint.tensors.get(name)!;
  const into = new Uint8Array(entry.bytes);
  await checkpoint.read(entry, 0, into);
  return [...new Float32Array(into.buffer)];
}

const w = (view: Omit<View, "count"> = { shape: [2], strides: [1] }) => tensor({ count: 16, ...view });
const opens = async (content: Buffer | ReturnType<typeof zipChunks>) => {
  await using checkpoint = await openCheckpoint(await torchFolder(content));
  return [...checkpoint.tensors.keys()];
};
const refuses = async (content: Buffer | ReturnType<typeof zipChunks>, ...parts: string[]) =>
  expect(torchFolder(content).then(openCheckpoint)).rejects.toThrow(
    failure("ZO2_ERR_CHECKPOINT", "pytorch_model.bin", ...parts),
  );
const refusesObject = (object: Pickled, ...parts: string[]) => refuses(zip(archive(object)), ...parts);

describe("a zip archive", () => {
  const plain = archive({ w: w() });
  const changed = (i: number, change: Partial<Entry>) =>
    plain.map((entry, k) => (k === i ? { ...entry, ...change } : entry));

  test("is read with a comment behind it, and with all its numbers in 64 bits", async () => {
    expect(await opens(zip(plain))).toEqual(["w"]);
    expect(await opens(zip(plain, { comment: "PK\x05\x06 is not the end here" }))).toEqual(["w"]);
    expect(await opens(zip(plain, { zip64: true }))).toEqual(["w"]);
  });

  test("with a storage of 12 GiB opens and is read at its far end; the hole in it is never read", async () => {
    const count = 3 * 2 ** 30;
    const entries: Entry[] = [
      { name: "a/data/0", hole: 4 * count },
      { name: "a/data.pkl", content: pickle({ big: tensor({ count, shape: [3, 2 ** 30], strides: [2 ** 30, 1] }) }) },
    ];
    const chunks = zipChunks(entries, { zip64: true });
    const end = chunks[0]!.bytes.length + 4 * count;
    await using checkpoint = await openCheckpoint(
      await torchFolder([...chunks, { at: end - 4, bytes: Buffer.from("last") }]),
    );
    const entry = checkpoint.tensors.get("big")!;
    expect(entry).toMatchObject({ bytes: 12 * 2 ** 30, offset: chunks[0]!.bytes.length });
    const into = Buffer.alloc(8);
    await checkpoint.read(entry, entry.bytes - 8, into);
    expect(into.toString("latin1")).toBe("\0\0\0\0last");
  });

  const cases: [string, Entry[], ZipOptions, string[]][] = [
    [
      "whose pickle is compressed",
      changed(0, { method: 8 }),
      {},
      ['entry "archive/data.pkl"', "compressed (method 8)"],
    ],
    [
      "whose weights are compressed",
      changed(2, { method: 12 }),
      {},
      ['entry "archive/data/0"', "compressed (method 12)"],
    ],
    [
      "whose entry is compressed by its local header only",
      changed(2, { local: { method: 8 } }),
      {},
      ["the directory that it is not"],
    ],
    [
      "whose entry has another name in its local header",
      changed(2, { local: { name: "archive/data/1" } }),
      {},
      ['calls it "archive/data/1"'],
    ],
    ["whose pickle is encrypted", changed(0, { flags: 1 }), {}, ["encrypted"]],
    ["with the wrong checksum of its pickle", changed(0, { crc: 1 }), {}, ["CRC-32"]],
    ["with one name twice", [...plain, plain[2]!], {}, ['"archive/data/0" is there twice']],
    ["with two data.pkl", [...plain, { name: "other/data.pkl", content: pickle({}) }], {}, ["with 2 data.pkl"]],
    ["without a data.pkl", plain.slice(1), {}, ["with no data.pkl"]],
    ["of a big-endian machine", changed(1, { content: Buffer.from("big") }), {}, ['byte order is "big"']],
    [
      "whose entry reaches into the next",
      changed(1, { bytes: 200 }),
      {},
      ['"archive/byteorder"', "200 bytes reach past"],
    ],
    ["whose last entry reaches into the directory", changed(2, { bytes: 100 }), {}, ['"archive/data/0"', "reach past"]],
    ["whose entries are at one place", changed(2, { header: 0 }), {}, ["reach past"]],
    ["whose packed and unpacked sizes differ", changed(2, { packed: 60 }), {}, ['"archive/data/0"', "sizes differ"]],
    [
      "whose entry is past the end of the file",
      changed(2, { header: 2 ** 52 }),
      { zip64: true },
      ['"archive/data/0"', "reach past"],
    ],
    [
      "whose entry has 2^53 bytes and more",
      changed(2, { bytes: 2 ** 60 }),
      { zip64: true },
      ['"archive/data/0"', "past 2^53"],
    ],
    ["whose directory is past the end", plain, { offset: 2 ** 31 }, ["reaches past byte"]],
    ["whose directory is past 2^53", plain, { offset: 2 ** 60, zip64: true }, ["past 2^53"]],
    ["whose directory has too many entries", plain, { entries: 60000 }, ["cannot hold 60000 entries"]],
    [
      "whose directory has more entries than memory",
      plain,
      { entries: 2 ** 40, directoryBytes: 2 ** 50, zip64: true },
      ["reaches past"],
    ],
    ["whose directory lacks its last entry", plain, { entries: 4, directoryBytes: 184 }, ["breaks off at entry"]],
    ["in several volumes", plain, { disk: 1 }, ["several volumes"]],
    ["in several volumes of 64 bits", plain, { disk: 1, zip64: true }, ["several volumes"]],
  ];
  test.each(cases)("%s is refused", async (_, entries, options, parts) => {
    await refuses(zipChunks(entries, options), ...parts);
  });
});

describe("a tensor of a pickle", () => {
  test("is read in row-major order whatever its strides are", async () => {
    expect(await floats({ t: w({ shape: [4, 4], strides: [1, 4] }) }, "t")).toEqual([
      0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15,
    ]);
    expect(await floats({ t: w({ shape: [2, 3], strides: [0, 1], first: 13 }) }, "t")).toEqual([
      13, 14, 15, 13, 14, 15,
    ]);
    expect(await floats({ t: w({ shape: [2, 2, 2], strides: [5, 0, 3], first: 1 }) }, "t")).toEqual([
      1, 4, 1, 4, 6, 9, 6, 9,
    ]);
    expect(await floats({ t: w({ shape: [1, 2, 1], strides: [99, 1, 77], first: 14 }) }, "t")).toEqual([14, 15]);
    expect(await floats({ t: w({ shape: [3], strides: [0], first: 15 }) }, "t")).toEqual([15, 15, 15]);
    expect(await floats({ t: w({ shape: [], strides: [], first: 5 }) }, "t")).toEqual([5]);
    expect(await floats({ t: w({ shape: [0, 5], strides: [2 ** 40, 2 ** 40], first: 2 ** 50 }) }, "t")).toEqual([]);
  });

  test("has as many dimensions as PyTorch allows", async () => {
    const extents = (last: number) => [...Array<number>(63).fill(1), last];
    expect(await floats({ t: w({ shape: extents(3), strides: extents(2), first: 1 }) }, "t")).toEqual([1, 3, 5]);
  });

  test("may be expanded beyond any memory: it opens, and is read in parts", async () => {
    await using checkpoint = await openCheckpoint(
      await torchFolder(zip(archive({ t: w({ shape: [2 ** 40, 4], strides: [0, 2] }) }))),
    );
    const entry = checkpoint.tensors.get("t")!;
    expect(entry.bytes).toBe(2 ** 44);
    const into = new Uint8Array(6 * 4);
    await checkpoint.read(entry, 2 ** 43 - 4, into);
    expect([...new Float32Array(into.buffer)]).toEqual([6, 0, 2, 4, 6, 0]);
  });

  test("may come from any of the ways to rebuild one", async () => {
    const odict = call(global("collections", "OrderedDict"));
    const rebuild = (name: string, ...args: Pickled[]) => call(global("torch._utils", name), ...args);
    const dtype = global("torch", "float32");
    const untyped = op(tuple("storage", global("torch.storage", "UntypedStorage"), "0", "cpu", 64), "Q");
    const object = {
      v1: rebuild("_rebuild_tensor", storage("0", 16), 3, [2], [1]),
      v2: w({ shape: [2], strides: [1], first: 3 }),
      v3: rebuild("_rebuild_tensor_v3", untyped, 3, [2], [1], false, odict, dtype),
      parameter: rebuild("_rebuild_parameter", w({ shape: [2], strides: [1], first: 3 }), true, odict),
      state: rebuild("_rebuild_parameter_with_state", w({ shape: [2], strides: [1], first: 3 }), true, odict, {
        tag: 1,
      }),
      size: rebuild("_rebuild_tensor_v2", storage("0", 16), 3, call(global("torch", "Size"), [2]), [1], false, odict),
    };
    for (const name of Object.keys(object)) expect(await floats(object, name)).toEqual([3, 4]);
  });

  test("in an 8-bit float has that dtype", async () => {
    const untyped = op(tuple("storage", global("torch", "UntypedStorage"), "0", "cpu", 64), "Q");
    const hooks = call(global("collections", "OrderedDict"));
    const t = (name: string) =>
      call(global("torch._utils", "_rebuild_tensor_v3"), untyped, 0, [64], [1], false, hooks, global("torch", name));
    await using checkpoint = await openCheckpoint(
      await torchFolder(zip(archive({ a: t("float8_e4m3fn"), b: t("float8_e5m2") }))),
    );
    expect([...checkpoint.tensors.values()].map(({ dtype, bytes }) => [dtype, bytes])).toEqual([
      ["F8_E4M3", 64],
      ["F8_E5M2", 64],
    ]);
  });

  const views: [string, Omit<View, "count">, string[]][] = [
    ["one element past its storage", { shape: [2], strides: [1], first: 15 }, ["reaches past its storage of 64 bytes"]],
    ["a stride past its storage", { shape: [2, 2], strides: [15, 1] }, ["strides [15, 1]", "reaches past"]],
    ["2^53 - 1 rows", { shape: [Number.MAX_SAFE_INTEGER], strides: [1] }, ["more than 2^53 bytes"]],
    ["2^40 x 2^40 elements", { shape: [2 ** 40, 2 ** 40], strides: [0, 0] }, ["more than 2^53 bytes"]],
    [
      "strides of 2^53 - 1",
      { shape: [3, 3], strides: [Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER] },
      ["reaches past"],
    ],
    ["an offset of 2^53 - 1", { shape: [1], strides: [1], first: Number.MAX_SAFE_INTEGER }, ["reaches past"]],
    ["a negative stride", { shape: [2], strides: [-1], first: 4 }, ["integers from 0"]],
    ["a negative extent", { shape: [-2], strides: [1] }, ["integers from 0"]],
    ["a negative offset", { shape: [1], strides: [1], first: -1 }, ["integers from 0"]],
    ["half an element", { shape: [1.5], strides: [1] }, ["integers from 0"]],
    ["fewer strides than extents", { shape: [2, 2], strides: [1] }, ["equally many"]],
    ["65 dimensions", { shape: Array<number>(65).fill(1), strides: Array<number>(65).fill(1) }, ["at most 64"]],
    ["a conjugated view", { shape: [1], strides: [1], metadata: { conj: true } }, ["resolve_conj"]],
    ["a negated view", { shape: [1], strides: [1], metadata: { neg: true } }, ["resolve_neg"]],
    ["a storage that is missing", { shape: [1], strides: [1], key: "7" }, ['tensor "t"', "archive/data/7 is missing"]],
    [
      "a storage outside the folder",
      { shape: [1], strides: [1], key: "../data.pkl" },
      ["archive/data/../data.pkl is missing"],
    ],
    [
      "a storage of another dtype's size",
      { shape: [1], strides: [1], type: "DoubleStorage" },
      ["should have 16 elements", "64 bytes"],
    ],
    [
      "a storage of complex doubles",
      { shape: [1], strides: [1], type: "ComplexDoubleStorage" },
      ['"torch.ComplexDoubleStorage"'],
    ],
    ["an untyped storage and no dtype", { shape: [1], strides: [1], type: "UntypedStorage" }, ["has no dtype"]],
  ];
  test.each(views)("with %s is refused", async (_, view, parts) => {
    await refusesObject({ t: w(view) }, ...parts);
  });
});

describe("what a pickle has beside plain tensors, and is no code,", () => {
  const v2 = global("torch._utils", "_rebuild_tensor_v2");
  const odict = call(global("collections", "OrderedDict"));
  const view: Pickled = [storage("0", 16), 3, [2], [1], false, odict];
  const typed = (name: string, func: Pickled, type: Pickled, args: Pickled, state: Pickled) =>
    call(global("torch._tensor", name), func, type, args, state);
  const parameterClass = global("torch.nn.parameter", "Parameter");
  const emptySet = op(0x8f);

  test.each<[string, Buffer]>([
    ["a tensor with attributes", typed("_rebuild_from_type_v2", v2, global("torch", "Tensor"), view, { tag: 1 })],
    ["one with slots beside them", typed("_rebuild_from_type_v2", v2, global("torch", "Tensor"), view, [{ a: 1 }, {}])],
    ["one of an older torch", typed("_rebuild_from_type", v2, parameterClass, view, { tag: "x" })],
    ["a buffer", typed("_rebuild_from_type_v2", v2, global("torch.nn.parameter", "Buffer"), view, {})],
    [
      "a parameter with attributes",
      typed(
        "_rebuild_from_type_v2",
        global("torch._utils", "_rebuild_parameter"),
        parameterClass,
        [w({ shape: [2], strides: [1], first: 3 }), true, odict],
        { device: call(global("torch", "device"), "cuda", 0) },
      ),
    ],
    [
      "one whose attribute is a set of devices",
      typed("_rebuild_from_type_v2", v2, global("torch", "Tensor"), view, {
        seen: call(global("__builtin__", "set"), list(call(global("torch", "device"), "cpu"))),
      }),
    ],
  ])("%s is read as the tensor that it is", async (_, t) => {
    expect(await floats({ t }, "t")).toEqual([3, 4]);
  });

  test.each<[string, Pickled]>([
    ["a device", call(global("torch", "device"), "cuda", 1)],
    ["a device without a number", call(global("torch", "device"), "cpu")],
    ["a layout", call(global("torch.serialization", "_get_layout"), "torch.strided")],
    ["a dtype", global("torch", "bfloat16")],
    ["a class of tensors", parameterClass],
    ["a set of Python 3 in protocol 2", call(global("__builtin__", "set"), list("a", "b"))],
    ["a set in protocol 4", op(emptySet, "(", value("a"), value(3), 0x90)],
    ["a set that is kept and recalled", op(emptySet, 0x94, "(", value("a"), 0x90, "0h\0")],
    ["an empty set", call(global("builtins", "set"))],
    ["a frozen set", call(global("builtins", "frozenset"), ["a"])],
    ["a frozen set in protocol 4", op("(", value("a"), value("b"), 0x91)],
    ["a complex number", call(global("__builtin__", "complex"), 1, 2)],
    ["a bytearray", call(global("builtins", "bytearray"), op("C", 2, "ab"))],
    ["a slice", call(global("builtins", "slice"), 0, 3, null)],
    ["counts", call(global("collections", "Counter"), { a: 2 })],
  ])("%s is passed over", async (_, other) => {
    expect(await opens(zip(archive({ w: w(), other })))).toEqual(["w"]);
  });

  test("tensors in an OrderedDict inside counts, and in no set, have names", async () => {
    const object = { set: call(global("builtins", "set"), list(w())), counts: call(global("collections", "Counter")) };
    await refusesObject(object, "holds no tensor");
  });

  test.each<[string, Pickled, string]>([
    [
      "a tensor of a class of somebody's own",
      typed("_rebuild_from_type_v2", v2, global("mine", "Tensor"), view, {}),
      '"mine.Tensor"',
    ],
    [
      "a tensor that os.system makes",
      typed("_rebuild_from_type_v2", global("posix", "system"), global("torch", "Tensor"), ["touch zo2-was-here"], {}),
      '"posix.system"',
    ],
    [
      "a tensor that a dictionary makes",
      typed("_rebuild_from_type_v2", global("collections", "OrderedDict"), global("torch", "Tensor"), [], {}),
      "made by what makes no tensor",
    ],
    [
      "a tensor that makes itself",
      typed(
        "_rebuild_from_type_v2",
        global("torch._tensor", "_rebuild_from_type_v2"),
        global("torch", "Tensor"),
        view,
        {},
      ),
      "made by what makes no tensor",
    ],
    [
      "a tensor that is a dtype",
      typed("_rebuild_from_type_v2", v2, global("torch", "int8"), view, {}),
      "no tensor's class",
    ],
    [
      "a tensor of no arguments",
      typed("_rebuild_from_type_v2", v2, global("torch", "Tensor"), 3, {}),
      "without a tuple",
    ],
    [
      "a tensor of no storage",
      typed("_rebuild_from_type_v2", v2, global("torch", "Tensor"), [], {}),
      "without a storage",
    ],
    [
      "four bytes' worth of arguments",
      call(global("torch._tensor", "_rebuild_from_type_v2"), "a", "b", "c", "d"),
      "tensor",
    ],
    ["a set of a number", call(global("builtins", "set"), 3), "a set of what is not a list"],
    ["a set that a list pretends to be", op("](", value("a"), 0x90), "what is not a set"],
    ["a called class", call(parameterClass, w()), "torch.nn.parameter.Parameter, which is no function"],
    ["attributes set on a set", op(emptySet, "}b"), "attributes"],
    ["items set on a set", op(emptySet, "NNs"), "not a dictionary"],
  ])("but %s is refused, and nothing runs", async (_, other, part) => {
    await refusesObject({ w: w(), other }, part);
    expect(readdirSync(process.cwd())).not.toContain("zo2-was-here");
  });

  test("sets count as other containers do: a list of a million made a set over and over is refused", async () => {
    const set = op(0x80, 4, global("builtins", "set"), 0x94, "](", Buffer.alloc(1e5, "N"), "e\x94");
    const again = Buffer.alloc(5e6, op("0h\0h\x01\x85R"));
    await refuses(zip([{ name: "a/data.pkl", content: op(set, again, ".") }]), "more than 4194304 values");
  });
});

describe("the names of tensors", () => {
  test("are the keys of nested dictionaries joined with dots; what is not a tensor has none", async () => {
    const size = call(global("torch", "Size"), [1]);
    const object = {
      a: { b: { c: w() } },
      step: 3,
      note: "x",
      list: list(w()),
      lr: 0.1,
      _metadata: { x: w() },
      none: null,
      size,
    };
    expect(await opens(zip(archive(object)))).toEqual(["a.b.c"]);
  });

  test("may be integers, and come from an OrderedDict with its pairs as an argument, as in Python 2", async () => {
    const ordered = call(global("collections", "OrderedDict"), list(list("a", w()), list(7, w())));
    expect(await opens(zip(archive({ o: ordered })))).toEqual(["o.a", "o.7"]);
  });

  test("that are there twice are refused", async () => {
    await refusesObject({ "a.b": w(), a: { b: w() } }, 'tensor "a.b" is there twice');
  });

  test("of a dictionary that holds itself, or of a thousand in each other, end at an allowed depth", async () => {
    const cyclic = op("}q", 0, "(", op("X\x04\0\0\0self"), "h", 0, "u");
    await refusesObject(cyclic, "more than 32 deep");
    const deep = (count: number) => Array.from({ length: count }).reduce<Pickled>((inner) => ({ d: inner }), w());
    for (const count of [33, 1000]) await refusesObject(deep(count), "more than 32 deep");
    expect(await opens(zip(archive(deep(32))))).toEqual([`${"d.".repeat(31)}d`]);
  });

  test("of dictionaries that hold each other twice over, 2^30 in all, are refused in time", async () => {
    let object = op("}q", 0, "(", value("w"), w(), "u");
    for (let i = 1; i < 30; i++)
      object = op(object, "0}q", i, "(", value("a"), "h", i - 1, value("b"), "h", i - 1, "u");
    await refusesObject(object, "33554432 are allowed");
  });

  test("that are longer than 4096 characters are refused", async () => {
    await refusesObject({ ["n".repeat(4097)]: w() }, "a tensor's name of 4097 characters");
    expect(await opens(zip(archive({ ["n".repeat(4096)]: w() })))).toEqual(["n".repeat(4096)]);
  });

  test.each([
    ["a list", list(w())],
    ["a tensor", w()],
    ["a number", 3],
  ])("of %s instead of a dictionary are refused", async (_, object) => {
    await refusesObject(object as Pickled, "no dictionary of tensors");
  });

  test("of nothing are refused", async () => {
    await refusesObject({ step: 1 }, "holds no tensor");
  });
});

describe("a pickle", () => {
  const names = [
    ["os", "system"],
    ["posix", "system"],
    ["builtins", "eval"],
    ["__builtin__", "getattr"],
    ["torch", "load"],
    ["torch.hub", "load"],
    ["torch.nn.modules.linear", "Linear"],
    ["numpy.core.multiarray", "_reconstruct"],
    ["_codecs", "encode"],
    ["collections", "defaultdict"],
    ["torch._utils", "__globals__"],
    ["torch", "__proto__"],
    ["", "toString"],
  ];
  test.each(names)(
    "that names %s.%s is refused by that name, whether it would call it or not",
    async (module, name) => {
      await refusesObject({ w: w(), x: global(module!, name!) }, `"${module}.${name}"`, "nothing was run");
      await refusesObject({ w: w(), x: call(global(module!, name!), "touch zo2-was-here") }, `"${module}.${name}"`);
      const stacked = op(0x8c, module!.length, module!, 0x8c, name!.length, name!, 0x93);
      await refuses(zip([{ name: "a/data.pkl", content: op(0x80, 4, stacked, ".") }]), `"${module}.${name}"`);
      expect(readdirSync(process.cwd())).not.toContain("zo2-was-here");
    },
  );

  const broken: [string, Buffer, string[]][] = [
    ["with no end", op(0x80, 2, "}"), ["breaks off"]],
    ["of protocol 1", op(0x80, 1, "}."), ["protocol 1"]],
    ["of protocol 6", op(0x80, 6, "}."), ["protocol 6"]],
    ["with a text longer than the file", op(0x80, 2, "X\xff\xff\xff\xff"), ["4294967295 bytes are wanted"]],
    ["with a text of 2^63 bytes", op(0x80, 4, 0x8d, "\0\0\0\0\0\0\0\x80"), ["bytes are wanted"]],
    ["with an endless name", op(0x80, 2, "c", "a".repeat(2000)), ["no end within 512"]],
    ["that takes from an empty stack", op(0x80, 2, "0."), ["empty stack"]],
    ["that takes more than there is", op(0x80, 2, "N", 0x86, "."), ["takes 2 values"]],
    ["that takes across a mark", op(0x80, 2, "N(", 0x85, "."), ["takes 1 values"]],
    ["that goes back to no mark", op(0x80, 2, "t."), ["mark that it did not set"]],
    ["that recalls what it never kept", op(0x80, 2, "h\x05."), ["memo 5"]],
    ["that appends to a dictionary", op(0x80, 2, "}Na."), ["not a list"]],
    ["that sets an item of a list", op(0x80, 2, "]NNs."), ["not a dictionary"]],
    ["that sets a key without a value", op(0x80, 2, "}(Nu."), ["without a value"]],
    ["that sets attributes of a list", op(0x80, 2, "]}b."), ["attributes"]],
    ["that calls a text", op(0x80, 2, value("f"), ")R."), ["not a function"]],
    ["that calls a dtype", op(0x80, 2, global("torch", "float32"), ")R."), ["torch.float32, which is no function"]],
    ["that calls without arguments", op(0x80, 2, global("collections", "OrderedDict"), "NR."), ["without a tuple"]],
    ["that makes an instance", op(0x80, 2, global("collections", "OrderedDict"), ")", 0x81, "."), ["opcode NEWOBJ"]],
    ["with an instance of protocol 0", op(0x80, 2, "(ios\nsystem\n."), ["opcode INST"]],
    ["with an extension", op(0x80, 2, 0x82, 1, "."), ["opcode EXT1"]],
    ["with an unknown opcode", op(0x80, 2, 0xff, "."), ["opcode 0xff"]],
    ["with a persistent id that is no storage", op(0x80, 2, value("x"), "Q."), ["persistent id"]],
    [
      "that rebuilds a tensor from nothing",
      op(0x80, 2, global("torch._utils", "_rebuild_tensor_v2"), ")R."),
      ["without a storage"],
    ],
    [
      "that rebuilds a parameter from a text",
      op(0x80, 2, call(global("torch._utils", "_rebuild_parameter"), "x"), "."),
      ["without a tensor"],
    ],
  ];
  test.each(broken)("%s is refused", async (_, content, parts) => {
    await refuses(zip([{ name: "a/data.pkl", content }]), "a/data.pkl", ...parts);
  });

  const bombs: [string, Buffer, string][] = [
    ["15 million empty dictionaries", Buffer.alloc(15e6, "}"), "values"],
    ["15 million marks", Buffer.alloc(15e6, "("), "marks on its stack"],
    ["15 million values", Buffer.alloc(15e6, "N"), "values and marks on its stack"],
    ["tuples 7 million deep", op(")", Buffer.alloc(7e6, 0x85)), "values"],
    ["one list kept 14 million times", op("]", Buffer.alloc(14e6, 0x94)), "values"],
    [
      "a list of a million appended over and over",
      op("](", Buffer.alloc(1e5, "N"), "tq\0", Buffer.alloc(8e6, "0h\0")),
      "breaks off",
    ],
    ["a pickle larger than allowed", Buffer.alloc(17 * 2 ** 20, "N"), "more than the 16777216"],
  ];
  test.each(bombs)("of %s is refused with bounded memory", async (_, content, part) => {
    await refuses(zip([{ name: "a/data.pkl", content: op(0x80, 4, content) }]), part);
  });
});

describe("a file of the older format", () => {
  /** A tensor in storage "k", all of it but the first element. */
  const t = (elements: number, type = "FloatStorage") =>
    call(
      global("torch._utils", "_rebuild_tensor_v2"),
      op(tuple("storage", global("torch", type), "k", "cpu", elements, null), "Q"),
      1,
      [Math.max(0, elements - 1)],
      [1],
      false,
      call(global("collections", "OrderedDict")),
    );
  const parts = (
    o: {
      magic?: bigint;
      protocol?: number;
      little?: boolean;
      keys?: Pickled;
      count?: number;
      data?: Buffer;
      object?: Pickled;
      elements?: number;
    } = {},
  ) => {
    const { elements = 4 } = o;
    const magic = Buffer.alloc(10);
    for (let i = 0, n = o.magic ?? 0x1950a86a20f9469cfc6cn; i < 10; i++, n >>= 8n) magic[i] = Number(n & 255n);
    const head = Buffer.alloc(8);
    head.writeBigInt64LE(BigInt(o.count ?? elements));
    const machine = { little_endian: o.little ?? true };
    const pickles = [
      pickle(o.protocol ?? 1001),
      pickle(machine),
      pickle(o.object ?? { t: t(elements) }),
      pickle(o.keys ?? list("k")),
    ];
    return Buffer.concat([op(0x80, 2, 0x8a, 10, magic, "."), ...pickles, head, o.data ?? Buffer.alloc(4 * elements)]);
  };

  test("is read", async () => {
    expect(await opens(parts())).toEqual(["t"]);
    expect(await opens(parts({ object: { t: t(4), tied: t(4) } }))).toEqual(["t", "tied"]);
    // Nothing stands behind the count of an empty storage.
    expect(await opens(parts({ elements: 0 }))).toEqual(["t"]);
  });

  const refused: [string, Buffer, string[]][] = [
    ["with another magic number", parts({ magic: 5n }), ["torch.save did not write"]],
    ["with another protocol", parts({ protocol: 1000 }), ["protocol 1000"]],
    ["of a big-endian machine", parts({ little: false }), ["little-endian"]],
    ["with no list of storages", parts({ keys: {} }), ["is no list"]],
    ["with an unknown storage", parts({ keys: list("k", "x") }), ["a storage that no tensor has"]],
    ["with a storage listed twice", parts({ keys: list("k", "k") }), ["listed twice"]],
    ["without its storage", parts({ keys: list() }), ['tensor "t"', "missing"]],
    ["with a storage of two dtypes", parts({ object: { t: t(4), u: t(4, "IntStorage") } }), ["declared in two ways"]],
    ["with a storage of two lengths", parts({ object: { t: t(4), u: t(3) } }), ['"k" is declared in two ways']],
    ["with another count of elements", parts({ count: 5 }), ["5 elements", "4 are declared"]],
    ["with a negative count of elements", parts({ count: -4 }), ["-4 elements"]],
    ["with too few bytes", parts({ data: Buffer.alloc(15) }), ["past the end of the file"]],
    ["that ends before a storage", parts().subarray(0, -24), ['storage "k": the file ends at byte', "before it"]],
    ["that ends within a count", parts().subarray(0, -17), ['storage "k": the file ends at byte', "before it"]],
    [
      "that runs code",
      parts({ object: { x: call(global("posix", "system"), "touch zo2-was-here") } }),
      ['"posix.system"'],
    ],
  ];
  test.each(refused)("%s is refused", async (_, content, why) => {
    await refuses(content, ...why);
  });
});

test("the folder of the tests has no mark of code that ran", () => {
  expect(readdirSync(join(__dirname))).not.toContain("zo2-was-here");
});
