import type { Device, Native } from "zo2/native";
import { contents, errorOf, random, submitted, withDevice } from "./support.js";
import { DEVICE } from "./device.js";

type Handle = Parameters<Device["submit"]>[1][number];

/** Values that a broken encoder might write. */
const WEIRD = [
  NaN,
  Infinity,
  -Infinity,
  -0,
  -1,
  -2,
  0.5,
  1e-300,
  1e300,
  255,
  256,
  2 ** 31,
  2 ** 32,
  2 ** 32 - 1,
  2 ** 53,
  2 ** 53 - 1,
  2 ** 63,
  2 ** 64,
  -(2 ** 53),
];

interface Target {
  readonly handles: readonly Handle[];
  readonly words: readonly number[];
}

/** A list that uses every command once; handle 0 is the stream. */
async function everything(device: Device): Promise<Target> {
  const gate = device.createGate();
  gate.open();
  const handles = [
    device.createStream("fuzz"),
    device.createEvent(),
    gate,
    await device.createBuffer("device", 4096),
    await device.createBuffer("host", 4096),
    device.createLayout(Float64Array.of(0, 16, 0, 0, 0, 0, 0, 1, 0, 0)),
    device.createProgram(Float64Array.of(4, 0, 0, 0), new Float64Array(6)),
  ];
  const commands = [
    [0, 1],
    [0, 1],
    [0, 2],
    [0, 3, 0, 4, 0, 64],
    [0, 3, 64, 255, 64],
    [0, 3, 0, 4, 0, 4, 1024, 2, 0, 8],
    [
      0, 5, 3, 0, -1, 0, 0, 0, 0, 0, 1, 0, 0, 0, -1, 0, 1, 0, 3, 3072, 2, 3, 1024, 1e-3, 3, 2048, -1e-3, 1, 0, 0, 0, 1,
      0, 0, 1, 3, 3648, 1e-6, 0, -1, 0, 0,
    ],
    [0, 6, -1, 0, -1, 0, -1, 0, -1, 0, -1, 0, -1, 0, 0, 0, 0, 0, 0, 0, 0],
    [0, 0, 3, 0, 4, -1, 0, -1, 0, 0, -1, 0, 0, 3, 3584, 0, 1],
    [0, 3, 3584, 2, 4, 2e-3, 0, 0, 3, 3648, 1, 3, 3072, 1, 0, 1],
  ];
  return { handles, words: commands.flatMap((words, i) => [i + 1, words.length, ...words]) };
}

function mutate(words: readonly number[], next: () => number): number[] {
  const out = words.slice();
  const pick = (n: number) => Math.floor(next() * n);
  for (let changes = 1 + pick(3); changes > 0; changes--) {
    const at = pick(out.length);
    switch (pick(6)) {
      case 0:
        out[at] = WEIRD[pick(WEIRD.length)];
        break;
      case 1:
        out[at] = pick(13) - 2;
        break;
      case 2:
        out.splice(at, 1 + pick(3));
        break;
      case 3:
        out.splice(at, 0, WEIRD[pick(WEIRD.length)]);
        break;
      case 4:
        out.length = at;
        break;
      default:
        out[at] = out[pick(out.length)];
    }
    if (out.length === 0) break;
  }
  return out;
}

test("the list that the other tests break is itself accepted and runs", async () => {
  await withDevice({}, async (device) => {
    const { handles, words } = await everything(device);
    const [stream] = handles as [ReturnType<Device["createStream"]>];
    device.submit(Float64Array.from(words), handles);
    await submitted(device, stream, () => undefined);
  });
});

test("six thousand broken lists are each refused with a code, or run; the process survives them all", async () => {
  const next = random(20240607);
  let refused = 0;
  for (let round = 0; round < 20; round++) {
    await withDevice({}, async (device) => {
      const { handles, words } = await everything(device);
      for (let i = 0; i < 300; i++) {
        const list = Float64Array.from(mutate(words, next));
        try {
          device.submit(list, handles);
        } catch (error) {
          refused++;
          const { code, message } = error as { code: string; message: string };
          if (!/^ZO2_ERR_(INVALID_ARGUMENT|HANDLE)$/.test(code) || !/^submit: command \d+/.test(message)) throw error;
        }
      }
      // The stream may be poisoned by now; another one of the same device must still work.
      await submitted(device, device.createStream("after"), () => undefined);
    });
  }
  expect(refused).toBeGreaterThan(4000);
});

test("a list of noise is refused with a code", async () => {
  const next = random(7);
  await withDevice({}, async (device) => {
    const { handles } = await everything(device);
    for (let i = 0; i < 2000; i++) {
      const words = Array.from({ length: 1 + Math.floor(next() * 40) }, () =>
        next() < 0.5 ? WEIRD[Math.floor(next() * WEIRD.length)] : Math.floor(next() * 12) - 1,
      );
      try {
        device.submit(Float64Array.from(words), handles);
      } catch (error) {
        expect((error as { code: string }).code).toMatch(/^ZO2_ERR_(INVALID_ARGUMENT|HANDLE)$/);
      }
    }
    await submitted(device, device.createStream("after"), () => undefined);
  });
});

test("a refused list leaves nothing behind: none of its commands runs", async () => {
  await withDevice({}, async (device) => {
    const stream = device.createStream("s");
    const buffer = await device.createBuffer("host", 8);
    const error = await errorOf(() =>
      device.submit(Float64Array.of(5, 5, 0, 1, 0, 7, 8, 5, 5, 0, 1, 0, 256, 8), [stream, buffer]),
    );
    expect(error.message).toBe("submit: command 1 (fill), word 12 (byte): 256 is not an integer of 0 .. 255");
    await submitted(device, stream, () => undefined);
    expect([...contents(buffer)]).toEqual([0, 0, 0, 0, 0, 0, 0, 0]);
  });
});

test("messages name the word, its meaning and the bound", async () => {
  await withDevice({}, async (device) => {
    const stream = device.createStream("s");
    const buffer = await device.createBuffer("host", 8);
    const message = async (...words: number[]) =>
      (await errorOf(() => device.submit(Float64Array.from(words), [stream, buffer]))).message;
    expect(await message(12, 0)).toBe("submit: command 0, word 0: 12 is not an opcode (1 .. 11)");
    expect(await message(5)).toBe("submit: command 0 (fill) ends at word 1, before its length");
    expect(await message(5, 9, 0)).toBe("submit: command 0 (fill), word 1: a length of 9 with 1 words left");
    expect(await message(5, 3, 0, 1, 0)).toMatch(/command 0 \(fill\) ends at word 5, before its "byte"/);
    expect(await message(5, 6, 0, 1, 0, 0, 8, 3)).toMatch(/1 words too many, from word 7 on/);
    expect(await message(5, 5, 0, 1, 9, 0, 0)).toMatch(/word 4 .*offset 9 is past the end of a buffer of 8 bytes/);
    expect(await message(5, 5, 0, 1, 4, 0, 5)).toMatch(/5 bytes from offset 4 pass the end of a buffer of 8 bytes/);
    expect(await message(5, 5, 0, 2, 0, 0, 8)).toMatch(/word 3 .*2 is not an index into the 2 handles/);
    expect(await message(4, 6, 0, 1, 0, 1, 4, 8)).toMatch(/bytes at the source.*8 bytes from offset 4/);
    expect(await message(10, 9, 0, 1, 0, 2, NaN, 1, 0, 1, 0)).toMatch(/\(total\): nan is not a finite number/);
    const gradient = [10, 16, 0, 1, 0, 2, 4, 1, 0, 0, 1, 0, 0, 1, 0];
    expect(await message(...gradient, 9, 0, 1)).toMatch(/word 15 \(difference count\): 9 is not an integer of 0 .. 3/);
    expect(await message(...gradient, 2, 0, 1)).toMatch(/command 0 \(gradient\) ends at word 18, before its "minuend"/);
  });
});

test("arguments of submit of the wrong type are refused", async () => {
  await withDevice({}, async (device) => {
    const wrong: unknown[][] = [
      [],
      [null, []],
      [[1, 2], []],
      [new Float32Array(2), []],
      [new Float64Array(2), "handles"],
      [new Float64Array(2)],
    ];
    for (const args of wrong) {
      const error = await errorOf(() => Reflect.apply(device.submit, device, args));
      expect(error.code).toBe("ZO2_ERR_INVALID_ARGUMENT");
    }
  });
});

test("a handles array whose getter closes the device does not crash", async () => {
  const { native } = (await import("./support.js")) as { native: Native };
  const device = await native.openDevice(DEVICE, { threads: 1 });
  const stream = device.createStream("s");
  const handles: Handle[] = [stream];
  Object.defineProperty(handles, 0, {
    get() {
      device.dispose();
      return stream;
    },
  });
  expect((await errorOf(() => device.submit(Float64Array.of(1, 2, 0, 0), handles))).code).toBe("ZO2_ERR_DISPOSED");
  await device.close();
});
