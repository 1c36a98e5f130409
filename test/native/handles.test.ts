import type { Buffer, Device, Event, Gate, Layout, Program, Stream } from "zo2/native";
import { errorOf, native, submit, withDevice } from "./support.js";
import { DEVICE } from "./device.js";

interface Handles {
  readonly Device: Device;
  readonly Stream: Stream;
  readonly Event: Event;
  readonly Gate: Gate;
  readonly Buffer: Buffer;
  readonly Layout: Layout;
  readonly Program: Program;
}
type Kind = keyof Handles;
const KINDS: readonly Kind[] = ["Device", "Stream", "Event", "Gate", "Buffer", "Layout", "Program"];

const EMPTY_PROGRAM = Float64Array.of(4, 0, 0, 0);
const BYTE = new Uint8Array(1);
const SEGMENT = Float64Array.of(0, 16, 0, 0, 0, 0, 0, 0, 0, 0);

async function oneOfEach(device: Device): Promise<Handles> {
  return {
    Device: device,
    Stream: device.createStream("s"),
    Event: device.createEvent(),
    Gate: device.createGate(),
    Buffer: await device.createBuffer("host", 256),
    Layout: device.createLayout(SEGMENT),
    Program: device.createProgram(EMPTY_PROGRAM, new Float64Array(6)),
  };
}

/** Every member of a handle's class that is called or read, with arguments that would do. */
const MEMBERS: Readonly<Record<Kind, readonly string[]>> = {
  Device: [
    "kind",
    "info",
    "createStream",
    "createEvent",
    "createGate",
    "createBuffer",
    "createFileBuffer",
    "createLayout",
    "createProgram",
    "submit",
    "convert",
    "close",
    "waits",
  ],
  Stream: ["name"],
  Event: ["done", "time"],
  Gate: ["open"],
  Buffer: ["kind", "bytes", "read", "write", "link"],
  Layout: ["segments"],
  Program: ["ops"],
};

function callOn(owner: object, member: string, receiver: unknown): unknown {
  const descriptor = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(owner), member);
  if (descriptor === undefined) throw new Error(`there is no ${member}`);
  const callable = (descriptor.get ?? descriptor.value) as (...args: unknown[]) => unknown;
  return callable.call(receiver, "x", 1, 2, 3, 4, 5);
}

test("every member refuses every other kind of handle as its receiver, and names both kinds", async () => {
  await withDevice({}, async (device) => {
    const handles = await oneOfEach(device);
    for (const kind of KINDS) {
      for (const member of [...MEMBERS[kind], "dispose", "disposed"]) {
        for (const other of KINDS) {
          if (other === kind) continue;
          const error = await errorOf(() => callOn(handles[kind], member, handles[other]));
          expect([kind, member, other, error.code]).toEqual([kind, member, other, "ZO2_ERR_HANDLE"]);
          expect(error.name).toBe("TypeError");
          expect(error.message).toContain(`a ${kind} is needed, got a ${other}`);
        }
      }
    }
  });
});

test("members refuse receivers that are no handles at all", async () => {
  await withDevice({}, async (device) => {
    const handles = await oneOfEach(device);
    const impostor: unknown = Object.create(Object.getPrototypeOf(handles.Buffer));
    for (const receiver of [
      undefined,
      null,
      1,
      "text",
      {},
      [],
      impostor,
      new Proxy(handles.Buffer, {}),
      Object.getPrototypeOf(handles.Buffer),
    ]) {
      expect((await errorOf(() => callOn(handles.Buffer, "read", receiver))).code).toBe("ZO2_ERR_HANDLE");
    }
  });
});

/** For every place of a handle in a command: a list that is right but for it. `at` is the index of the word. */
function places(handles: Handles): { name: string; needs: Kind; words: number[]; at: number }[] {
  const order: readonly Kind[] = ["Stream", "Event", "Gate", "Buffer", "Layout", "Program"];
  const index = (kind: Kind) => order.indexOf(kind);
  expect(Object.keys(handles)).toHaveLength(7);
  const [s, e, g, b, l, p] = [
    index("Stream"),
    index("Event"),
    index("Gate"),
    index("Buffer"),
    index("Layout"),
    index("Program"),
  ];
  const span = [b, 0];
  const none = [-1, 0];
  const side = [...span, 0];
  const update = [0, 0, 0, 0, 0, 0, 1, ...span, 0, 0, ...none, 0];
  const lists: { name: string; words: number[]; handles: [number, Kind][] }[] = [
    {
      name: "record",
      words: [s, e],
      handles: [
        [0, "Stream"],
        [1, "Event"],
      ],
    },
    {
      name: "wait",
      words: [s, e],
      handles: [
        [0, "Stream"],
        [1, "Event"],
      ],
    },
    {
      name: "hold",
      words: [s, g],
      handles: [
        [0, "Stream"],
        [1, "Gate"],
      ],
    },
    {
      name: "copy",
      words: [s, ...span, b, 64, 8],
      handles: [
        [0, "Stream"],
        [1, "Buffer"],
        [3, "Buffer"],
      ],
    },
    {
      name: "fill",
      words: [s, ...span, 1, 8],
      handles: [
        [0, "Stream"],
        [1, "Buffer"],
      ],
    },
    {
      name: "gather",
      words: [s, ...span, b, 64, b, 128, 1, 0, 1],
      handles: [
        [0, "Stream"],
        [1, "Buffer"],
        [3, "Buffer"],
        [5, "Buffer"],
      ],
    },
    {
      name: "prepare",
      words: [
        s,
        l,
        ...span,
        ...span,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        ...span,
        0,
        0,
        ...span,
        2,
        ...side,
        ...side,
        1,
        ...update,
      ],
      handles: [
        [0, "Stream"],
        [1, "Layout"],
        [2, "Buffer"],
        [4, "Buffer"],
        [14, "Buffer"],
        [18, "Buffer"],
        [21, "Buffer"],
        [24, "Buffer"],
        [35, "Buffer"],
      ],
    },
    {
      name: "run",
      words: [s, p, ...span, ...span, ...span, ...span, ...span, ...span, 0, 0, 0, 0, 0],
      handles: [
        [0, "Stream"],
        [1, "Program"],
        [2, "Buffer"],
        [4, "Buffer"],
        [6, "Buffer"],
        [8, "Buffer"],
        [10, "Buffer"],
        [12, "Buffer"],
      ],
    },
    {
      name: "loss",
      words: [s, 0, ...span, 0, ...span, ...span, 0, ...span, 0, ...span, 0, 1],
      handles: [
        [0, "Stream"],
        [2, "Buffer"],
        [5, "Buffer"],
        [7, "Buffer"],
        [10, "Buffer"],
        [13, "Buffer"],
      ],
    },
    {
      name: "gradient",
      words: [s, ...span, 2, 1, 1, 0, 0, ...span, 0, ...span, 1, 0, 1],
      handles: [
        [0, "Stream"],
        [1, "Buffer"],
        [8, "Buffer"],
        [11, "Buffer"],
      ],
    },
    {
      name: "seal",
      words: [s, ...span, 0, ...span, 8, ...span],
      handles: [
        [0, "Stream"],
        [1, "Buffer"],
        [4, "Buffer"],
        [7, "Buffer"],
      ],
    },
  ];
  return lists.flatMap(({ name, words, handles: where }, i) =>
    where.map(([at, needs]) => ({ name, needs, words: [i + 1, words.length, ...words], at: at + 2 })),
  );
}

test("submit refuses the wrong kind at every place of every command, by place and kinds", async () => {
  await withDevice({}, async (device) => {
    const handles = await oneOfEach(device);
    const { Stream, Event, Gate, Buffer, Layout, Program } = handles;
    const given = [Stream, Event, Gate, Buffer, Layout, Program] as const;
    const names: readonly Kind[] = ["Stream", "Event", "Gate", "Buffer", "Layout", "Program"];
    const before = device.info().commands;
    for (const { name, needs, words, at } of places(handles)) {
      for (const [wrong, other] of names.entries()) {
        if (other === needs) continue;
        const broken = words.slice();
        broken[at] = wrong;
        const error = await errorOf(() => device.submit(Float64Array.from(broken), given));
        expect([name, at, error.code]).toEqual([name, at, "ZO2_ERR_HANDLE"]);
        expect(error.message).toContain(`command 0 (${name}), word ${at} `);
        expect(error.message).toContain(`is a ${other} where a ${needs} is needed`);
      }
    }
    expect(device.info().commands).toBe(before);
  });
});

test("submit refuses values that are no handles, a Device, and handles of another device", async () => {
  await withDevice({}, async (device) => {
    await withDevice({}, async (second) => {
      const foreign = second.createStream("foreign");
      for (const value of [undefined, null, 3, "s", {}, [], Symbol("s"), () => 0, device, foreign]) {
        const error = await errorOf(() => Reflect.apply(device.submit, device, [new Float64Array(0), [value]]));
        expect(error.code).toBe("ZO2_ERR_HANDLE");
        expect(error.message).toMatch(/handles\[0\]/);
      }
      const buffer = await second.createBuffer("host", 4);
      expect((await errorOf(device.convert(new Uint8Array(4), 0, buffer, 0, 0, 1))).code).toBe("ZO2_ERR_HANDLE");
    });
  });
});

test("after dispose every member that needs the object throws ZO2_ERR_DISPOSED; again does nothing", async () => {
  await withDevice({}, async (device) => {
    const { Stream, Event, Gate, Buffer, Layout, Program } = await oneOfEach(device);
    for (const handle of [Stream, Event, Gate, Buffer, Layout, Program]) {
      expect(handle.disposed).toBe(false);
      handle.dispose();
      handle.dispose();
      expect(handle.disposed).toBe(true);
      expect((await errorOf(() => device.submit(new Float64Array(0), [handle]))).code).toBe("ZO2_ERR_DISPOSED");
    }
    const uses = [
      () => Event.time(),
      () => Event.done(),
      () => Gate.open(),
      () => Buffer.read(0, BYTE),
      () => Buffer.write(0, BYTE),
    ];
    for (const use of uses) expect((await errorOf(use)).code).toBe("ZO2_ERR_DISPOSED");
    expect((await errorOf(device.convert(new Uint8Array(4), 0, Buffer, 0, 0, 1))).code).toBe("ZO2_ERR_DISPOSED");
    expect([Stream.name, Buffer.bytes, Buffer.kind, Layout.segments, Program.ops]).toEqual(["s", 256, "host", 1, 0]);
  });
});

test("after close the device and everything made on it are disposed", async () => {
  const device = await native.openDevice(DEVICE, { threads: 1 });
  const { Stream, Event, Gate, Buffer, Layout, Program } = await oneOfEach(device);
  const closing = device.close();
  const check = async () => {
    for (const handle of [device, Stream, Event, Gate, Buffer, Layout, Program]) expect(handle.disposed).toBe(true);
    const uses = [
      () => device.info(),
      () => device.createStream("t"),
      () => device.createEvent(),
      () => device.createGate(),
      () => device.createBuffer("host", 1),
      () => device.createLayout(SEGMENT),
      () => device.createProgram(EMPTY_PROGRAM, new Float64Array(6)),
      () => device.submit(new Float64Array(0), []),
      () => device.convert(new Uint8Array(4), 0, Buffer, 0, 0, 1),
      () => Event.done(),
      () => Event.time(),
      () => Gate.open(),
      () => Buffer.read(0, BYTE),
      () => Buffer.write(0, BYTE),
    ];
    for (const use of uses) expect((await errorOf(use)).code).toBe("ZO2_ERR_DISPOSED");
    for (const handle of [Stream, Event, Gate, Buffer, Layout, Program, device]) handle.dispose();
  };
  await check();
  await closing;
  await check();
  await device.close();
});

test("dispose of a device closes it", async () => {
  const device = await native.openDevice(DEVICE, { threads: 1 });
  const event = device.createEvent();
  device.dispose();
  expect(event.disposed).toBe(true);
  await device.close();
});

test("handle classes cannot be constructed from JavaScript", async () => {
  await withDevice({}, async (device) => {
    for (const [kind, handle] of Object.entries(await oneOfEach(device))) {
      const made: unknown = handle.constructor;
      const error = await errorOf(() => Reflect.construct(made as new () => unknown, []));
      expect(error.code).toBe("ZO2_ERR_INVALID_ARGUMENT");
      expect(error.message).toContain(kind);
    }
  });
});

test("functions that return promises reject instead of throwing", async () => {
  await withDevice({}, async (device) => {
    const calls: [unknown, (...args: never[]) => unknown, unknown[]][] = [
      [native, native.openDevice, [5]],
      [native, native.openDevice, [DEVICE, { threads: -1 }]],
      [native, native.openDevice, ["tpu", {}]],
      [device, device.createBuffer, ["disk", 4]],
      [device, device.createBuffer, ["host", -4]],
      [device, device.createBuffer, ["host", 1.5]],
      [device, device.createBuffer, ["file", 4]],
      [device, device.createFileBuffer, ["", 4]],
      [device, device.createFileBuffer, ["a\0b", 4]],
      [device, device.createFileBuffer, [5, 4]],
      [device, device.createFileBuffer, ["a", -4]],
      [device, device.convert, [new Float32Array(4)]],
    ];
    for (const [receiver, method, args] of calls) {
      const result: unknown = Reflect.apply(method, receiver, args);
      expect((await errorOf(result as Promise<unknown>)).code).toMatch(/^ZO2_ERR_(INVALID_ARGUMENT|DEVICE)$/);
    }
  });
});

test("a kind of device that is not there is refused with what is", async () => {
  const missing = await errorOf(native.openDevice(DEVICE, { ordinal: 9 }));
  expect(missing.code).toBe("ZO2_ERR_DEVICE");
  expect(native.backends()[0]).toEqual({ kind: "cpu", devices: 1 });
  expect(native.build).toMatch(/matrix product: .*files: .*CUDA backend: /);
});

test("arguments of createLayout and createProgram are checked by number, with the place", async () => {
  await withDevice({}, async (device) => {
    const layout = async (words: number[]) =>
      (await errorOf(() => device.createLayout(Float64Array.from(words)))).message;
    expect(await layout([1, 2, 3])).toMatch(/3 words are not a multiple of 10/);
    expect(await layout([...SEGMENT, 0, 1.5, 0, 0, 0, 0, 0, 0, 0, 0])).toMatch(/segment 1, word 11 \(count\): 1.5/);
    expect(await layout([0, 16, 0, 0, 0, 9, 0, 0, 0, 0])).toMatch(/wire dtype/);
    const program = async (words: number[], spaces: number[]) =>
      await errorOf(() => device.createProgram(Float64Array.from(words), Float64Array.from(spaces)));
    expect((await program([...EMPTY_PROGRAM], [0, 0])).message).toMatch(/2 entries; it needs 6/);
    expect((await program([...EMPTY_PROGRAM], [0, 0, -1, 0, 0, 0])).message).toMatch(/word 2/);
    expect((await program([1, 0, 0, 0], [0, 0, 0, 0, 0, 0])).code).toBe("ZO2_ERR_INVALID_ARGUMENT");
    expect((await program([], [0, 0, 0, 0, 0, 0])).code).toBe("ZO2_ERR_INVALID_ARGUMENT");
  });
});

test("two devices of one environment do not disturb each other", async () => {
  await withDevice({}, async (first) => {
    const stream = first.createStream("s");
    await withDevice({}, async (second) => {
      submit(second, (list) => list.record(second.createStream("t"), second.createEvent()));
    });
    const event = first.createEvent();
    submit(first, (list) => list.record(stream, event));
    await event.done();
  });
});
