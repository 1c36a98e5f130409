import { errorOf, hostBytes, native, runScript, submitted, withDevice } from "./support.js";
import { DEVICE } from "./device.js";

test("a view shows the buffer's own memory: both directions, at its offset, two views at once", async () => {
  await withDevice({}, async (device) => {
    const stream = device.createStream("s");
    const buffer = await device.createBuffer("host", 100);
    const whole = new Uint8Array(buffer.view(0, 100));
    const part = new Uint8Array(buffer.view(10, 5));
    expect(whole.every((byte) => byte === 0)).toBe(true);
    part[0] = 7;
    expect(whole[10]).toBe(7);
    await submitted(device, stream, (list) => list.fill(stream, { buffer, offset: 12 }, 9, 2));
    expect([...part]).toEqual([7, 0, 9, 9, 0]);
  });
});

test("disposing a buffer detaches its views, and only its own", async () => {
  await withDevice({}, async (device) => {
    const [first, second] = [
      await hostBytes(device, Uint8Array.of(1, 2)),
      await hostBytes(device, Uint8Array.of(3, 4)),
    ];
    const views = [first.view(0, 2), first.view(1, 1)];
    const other = new Uint8Array(second.view(0, 2));
    const typed = new Uint8Array(views[0]);
    first.dispose();
    expect(views.map((view) => view.byteLength)).toEqual([0, 0]);
    expect(typed.length).toBe(0);
    expect([...other]).toEqual([3, 4]);
  });
});

test("closing a device detaches every view before the memory goes", async () => {
  const device = await native.openDevice(DEVICE, { threads: 1 });
  const buffer = await hostBytes(device, Uint8Array.of(1, 2, 3));
  const view = buffer.view(0, 3);
  const closing = device.close();
  expect(view.byteLength).toBe(0);
  await closing;
});

test("ranges outside the buffer, device buffers and lengths past an ArrayBuffer are refused", async () => {
  await withDevice({}, async (device) => {
    const buffer = await device.createBuffer("host", 16);
    const wrong: [unknown, unknown][] = [
      [17, 0],
      [0, 17],
      [16, 1],
      [-1, 1],
      [0, -1],
      [0.5, 1],
      [0, NaN],
      ["0", 1],
      [0, 2 ** 33],
      [2 ** 53, 1],
    ];
    for (const args of wrong) {
      const error = await errorOf(() => Reflect.apply(buffer.view, buffer, args));
      expect([args, error.code]).toEqual([args, "ZO2_ERR_INVALID_ARGUMENT"]);
    }
    expect(buffer.view(16, 0).byteLength).toBe(0);
    const onDevice = await device.createBuffer("device", 16);
    expect((await errorOf(() => onDevice.view(0, 1))).message).toMatch(/a device buffer has no view/);
  });
});

test("a view is never handed to another thread: a transfer copies it or is refused", async () => {
  await withDevice({}, async (device) => {
    const buffer = await hostBytes(device, Uint8Array.of(1, 2, 3));
    const view = buffer.view(0, 3);
    try {
      const clone = structuredClone(view, { transfer: [view] });
      new Uint8Array(clone)[0] = 9;
    } catch (error) {
      expect((error as Error).name).toBe("DataCloneError");
    }
    expect([...new Uint8Array(view)]).toEqual([1, 2, 3]);
  });
});

test(
  "memory that was moved to another ArrayBuffer outlives its buffer, and the device refuses to close until it is " +
    "collected",
  async () => {
    const flags =
      "transfer" in ArrayBuffer.prototype ? ["--expose-gc"] : ["--expose-gc", "--harmony-rab-gsab-transfer"];
    const ended = await runScript(
      `(async () => {
      const device = await loadNative().openDevice("${DEVICE}", { threads: 1 });
      const buffer = await device.createBuffer("host", 3);
      const view = buffer.view(0, 3);
      new Uint8Array(view).set([1, 2, 3]);
      let moved = view.transfer();
      buffer.dispose();
      console.log(...new Uint8Array(moved));
      await device.close().catch((error) => console.log(error.code, device.disposed));
      moved = undefined;
      for (let turn = 0; turn < 10; turn++) { gc(); await new Promise(setImmediate); }
      await device.close();
      console.log("closed");
    })();`,
      { flags },
    );
    expect(ended).toEqual({ code: 0, signal: null, output: "1 2 3\nZO2_ERR_BUSY false\nclosed\n" });
  },
);

test("many views of one buffer, made and dropped, do not keep it or break it", async () => {
  await withDevice({}, async (device) => {
    const buffer = await hostBytes(
      device,
      Uint8Array.from({ length: 256 }, (_, i) => i),
    );
    for (let i = 0; i < 20000; i++) {
      const byte = new Uint8Array(buffer.view(i % 256, 1))[0];
      if (byte !== i % 256) throw new Error(`view ${i} shows ${byte}`);
      if (i % 1000 === 0) await new Promise(setImmediate);
    }
    buffer.dispose();
    // Closing right away: some views are collected by now, but not finalized.
  });
});
