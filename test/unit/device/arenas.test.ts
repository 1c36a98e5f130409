import type { Buffer, Device } from "zo2/native";
import { Arenas } from "../../../src/device/arenas.js";
import { checkHostMemory } from "../../../src/device/host-memory.js";
import { Queue } from "../../../src/device/queue.js";
import { WeightStore } from "../../../src/device/store.js";
import type { Unit } from "../../../src/memory/units.js";

interface Asked {
  readonly bytes: number;
  readonly give: () => void;
  readonly refuse: (error: Error) => void;
  readonly buffer: { disposed: boolean };
}

/** A device that gives memory when it is told to. */
function slowDevice() {
  const asked: Asked[] = [];
  const handle = () => ({ dispose: () => undefined });
  const device = {
    createBuffer: (_kind: string, bytes: number) =>
      new Promise((give, refuse) => {
        const buffer = { bytes, disposed: false, dispose: () => (buffer.disposed = true) };
        asked.push({ bytes, give: () => give(buffer), refuse, buffer });
      }),
    createStream: handle,
  } as unknown as Device;
  return { device, asked };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));
const WANTED = [1, 2, 3].map((bytes) => ({ tier: "host", bytes }) as const);
const sizes = (asked: readonly Asked[]) => asked.map(({ bytes }) => bytes);
const settled = (promise: Promise<unknown>) =>
  Promise.race([
    promise.then(
      () => "there",
      () => "refused",
    ),
    turn().then(() => "pending"),
  ]);

test("one is asked for when the one before it is there, and each can be had before the next", async () => {
  const { device, asked } = slowDevice();
  const arenas = new Arenas(device, WANTED);
  await turn();
  expect(sizes(asked)).toEqual([1]);
  expect(() => arenas.get(0)).toThrow("arena 0 of 3 is used before it is there");
  asked[0]?.give();
  expect(await arenas.ready(0)).toBe(asked[0]?.buffer);
  await turn();
  expect(sizes(asked)).toEqual([1, 2]);
  expect(arenas.get(0)).toBe(asked[0]?.buffer);
  expect(() => arenas.get(1)).toThrow("arena 1 of 3 is used before it is there");
  expect(await settled(arenas.all())).toBe("pending");
  asked[1]?.give();
  await turn();
  asked[2]?.give();
  await arenas.all();
  expect(arenas.get(2)).toBe(asked[2]?.buffer);
});

test("where one is refused, it and those behind it are, and those before it stay", async () => {
  const { device, asked } = slowDevice();
  const arenas = new Arenas(device, WANTED);
  await turn();
  asked[0]?.give();
  await turn();
  asked[1]?.refuse(new Error("no room"));
  await turn();
  expect(await settled(arenas.ready(0))).toBe("there");
  for (const index of [1, 2]) await expect(arenas.ready(index)).rejects.toThrow("no room");
  await expect(arenas.all()).rejects.toThrow("no room");
  expect(sizes(asked)).toEqual([1, 2]);
  arenas.dispose();
  expect(asked[0]?.buffer.disposed).toBe(true);
});

test("one more can be had once all are there, and where it is refused, all is as before", async () => {
  const { device, asked } = slowDevice();
  const arenas = new Arenas(device, WANTED.slice(0, 1));
  const first = arenas.add({ tier: "host", bytes: 7 });
  await turn();
  expect(sizes(asked)).toEqual([1]);
  asked[0]?.give();
  await turn();
  asked[1]?.refuse(new Error("no room"));
  await expect(first).rejects.toThrow("no room");
  await arenas.all();
  const second = arenas.add({ tier: "host", bytes: 8 });
  await turn();
  asked[2]?.give();
  expect(arenas.get(await second)).toBe(asked[2]?.buffer);
  expect(await second).toBe(1);
  await arenas.all();
  arenas.dispose();
  expect(asked.map(({ buffer }) => buffer.disposed)).toEqual([true, false, true]);
});

test("what is being made when all is disposed is disposed once it is there, and no more is asked for", async () => {
  const { device, asked } = slowDevice();
  const arenas = new Arenas(device, WANTED);
  await turn();
  asked[0]?.give();
  await turn();
  arenas.dispose();
  expect(asked.map(({ buffer }) => buffer.disposed)).toEqual([true, false]);
  asked[1]?.give();
  await turn();
  expect(asked.map(({ buffer }) => buffer.disposed)).toEqual([true, true]);
  expect(sizes(asked)).toEqual([1, 2]);
  await expect(arenas.ready(2)).rejects.toMatchObject({ code: "ZO2_ERR_DISPOSED" });
});

const UNITS = [1, 2].map((wireBytes, index) => ({ index, wireBytes }) as Unit);

test("a unit whose memory is there is written while the next one's is being locked, which waits for it", async () => {
  const { device, asked } = slowDevice();
  const creating = WeightStore.create(device, new Queue(device, true), UNITS, ["host", "host"]);
  await turn();
  asked[0]?.give();
  const store = await creating;
  const written: Buffer[] = [];
  const write = (index: number) =>
    store.write(index, ({ buffer }) => {
      written.push(buffer);
      return Promise.resolve();
    });
  await write(0);
  const next = write(1);
  await turn();
  expect(written).toEqual([asked[0]?.buffer]);
  expect(await settled(store.ready())).toBe("pending");
  expect(() => store.span(1)).toThrow("used before it is there");
  asked[1]?.give();
  await next;
  await store.ready();
  expect(written).toEqual([asked[0]?.buffer, asked[1]?.buffer]);
});

test("weights that the machine could never hold are refused", () => {
  expect(() => checkHostMemory(1000, 1000)).not.toThrow();
  expect(() => checkHostMemory(1001, 1000)).toThrow(
    expect.objectContaining({
      code: "ZO2_ERR_OUT_OF_MEMORY",
      message: expect.stringContaining("need 1001 bytes of host memory, and 1000 is all there is") as string,
    }),
  );
  expect(() => checkHostMemory(2 ** 52)).toThrow(/^the weights at rest need 4503599627370496 bytes/);
});
