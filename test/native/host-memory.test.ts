import { contents, errorOf, hostBytes, native, submitted, withDevice } from "./support.js";
import { DEVICE } from "./device.js";

test("commands see what was written, and their results are read, at the offset and nowhere else", async () => {
  await withDevice({}, async (device) => {
    const stream = device.createStream("s");
    const buffer = await device.createBuffer("host", 100);
    expect(contents(buffer).every((byte) => byte === 0)).toBe(true);
    buffer.write(10, Uint8Array.of(7, 8));
    await submitted(device, stream, (list) => {
      list.copy(stream, { buffer, offset: 20 }, { buffer, offset: 9 }, 4);
      list.fill(stream, { buffer, offset: 12 }, 9, 2);
    });
    const expected = new Uint8Array(100);
    expected.set([7, 8, 9, 9], 10);
    expected.set([0, 7, 8, 0], 20);
    expect(contents(buffer)).toEqual(expected);
    const part = new Uint8Array(8).fill(255);
    buffer.read(11, part.subarray(2, 5));
    expect([...part]).toEqual([255, 255, 8, 9, 9, 255, 255, 255]);
  });
});

test("both copy: neither side sees what the other does afterwards, disposal of the buffer included", async () => {
  await withDevice({}, async (device) => {
    const bytes = Uint8Array.of(1, 2, 3);
    const buffer = await hostBytes(device, bytes);
    bytes.fill(9);
    const copy = contents(buffer);
    expect([...copy]).toEqual([1, 2, 3]);
    copy.fill(8);
    expect([...contents(buffer)]).toEqual([1, 2, 3]);
    buffer.dispose();
    expect([...copy]).toEqual([8, 8, 8]);
  });
});

test("bytes may lie anywhere: at an odd offset, in shared memory, in a buffer that can grow, or be none", async () => {
  await withDevice({}, async (device) => {
    const buffer = await hostBytes(device, Uint8Array.of(1, 2, 3, 4, 5));
    const shared = new Uint8Array(new SharedArrayBuffer(8), 3, 5);
    buffer.read(0, shared);
    expect([...shared]).toEqual([1, 2, 3, 4, 5]);
    const growing: ArrayBuffer = Reflect.construct(ArrayBuffer, [2, { maxByteLength: 64 }]);
    const tracking = new Uint8Array(growing);
    Reflect.apply(Reflect.get(growing, "resize"), growing, [4]);
    buffer.read(1, tracking);
    expect([...tracking]).toEqual([2, 3, 4, 5]);
    buffer.write(1, shared.subarray(0, 2));
    expect([...contents(buffer)]).toEqual([1, 1, 2, 4, 5]);
    const moved = Uint8Array.of(6, 6);
    structuredClone(moved.buffer, { transfer: [moved.buffer] });
    for (const none of [new Uint8Array(0), moved]) {
      buffer.write(5, none);
      buffer.read(0, none);
    }
    expect([...contents(buffer)]).toEqual([1, 1, 2, 4, 5]);
  });
});

test.each([["read"], ["write"]] as const)(
  "%s refuses ranges outside the buffer, device buffers, and what is no Uint8Array; nothing is copied",
  async (member) => {
    await withDevice({}, async (device) => {
      const buffer = await hostBytes(device, new Uint8Array(16).fill(5));
      const call = (...args: unknown[]) => errorOf(() => Reflect.apply(buffer[member], buffer, args));
      const bytes = new Uint8Array(2).fill(1);
      const wrong: [unknown, unknown][] = [
        ...[15, 16, 17, -1, 0.5, NaN, 2 ** 53, "0", undefined].map((offset): [unknown, unknown] => [offset, bytes]),
        [0, new Uint8Array(17)],
        ...[new ArrayBuffer(2), new Float32Array(2), new Uint8ClampedArray(2), new DataView(new ArrayBuffer(2))].map(
          (other): [unknown, unknown] => [0, other],
        ),
        ...[[1, 2], "12", 2, null, undefined].map((other): [unknown, unknown] => [0, other]),
      ];
      for (const args of wrong) {
        const { code, message } = await call(...args);
        expect([args, code]).toEqual([args, "ZO2_ERR_INVALID_ARGUMENT"]);
        expect(message).toMatch(new RegExp(`^Buffer\\.${member}: `));
      }
      expect([...bytes, ...contents(buffer)]).toEqual([1, 1, ...new Array(16).fill(5)]);
      const onDevice = await device.createBuffer("device", 16);
      expect((await errorOf(() => onDevice[member](0, bytes))).message).toMatch(/this is a device buffer; copy/);
    });
  },
);

test("a device closes at once while buffers of it are held, and they are disposed with it", async () => {
  const device = await native.openDevice(DEVICE, { threads: 1 });
  const buffer = await hostBytes(device, Uint8Array.of(1, 2, 3));
  const closing = device.close();
  expect(buffer.disposed).toBe(true);
  expect((await errorOf(() => contents(buffer))).code).toBe("ZO2_ERR_DISPOSED");
  await closing;
});
