import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import type { Buffer as DeviceBuffer } from "zo2/native";
import { contents, errorOf, hostBytes, openFilesIn, submit, submitted, withDevice } from "./support.js";

const MIB = 1 << 20;
const folder = mkdtempSync(path.join(os.tmpdir(), "zo2-files-"));
afterAll(() => rmSync(folder, { recursive: true }));

const span = (buffer: DeviceBuffer, offset = 0) => ({ buffer, offset });

describe.each([false, true])("without io_uring: %s", (noIoUring) => {
  test("what is copied into a file comes back, whole and by rows", async () => {
    await withDevice({ noIoUring }, async (device) => {
      const stream = device.createStream("s");
      const bytes = Uint8Array.from({ length: 3 * MIB + 5 }, (_, i) => (i * 31 + (i >> 9)) % 251);
      const source = await hostBytes(device, bytes);
      const file = await device.createFileBuffer(folder, bytes.length);
      expect([file.kind, file.bytes, readdirSync(folder)]).toEqual(["file", bytes.length, []]);
      expect(device.info()).toMatchObject({ fileBytes: bytes.length, hostBytes: bytes.length, deviceBytes: 0 });
      const back = await device.createBuffer("host", bytes.length);
      const rows = await hostBytes(device, new Uint8Array(Int32Array.of(107, 100).buffer));
      const out = await device.createBuffer("host", 20);
      await submitted(device, stream, (list) => {
        list.copy(stream, span(file), span(source), bytes.length);
        list.copy(stream, span(back, 3), span(file, 3), bytes.length - 3);
        list.gather(stream, span(out), span(file, 4), span(rows), 2, 100, 10);
      });
      const expected = bytes.slice();
      expected.fill(0, 0, 3);
      expect(Buffer.compare(contents(back), expected)).toBe(0);
      expect(contents(out)).toEqual(Uint8Array.of(...bytes.subarray(74, 84), ...bytes.subarray(4, 14)));
    });
  });
});

test("a file that is there is read, by whatever name it goes, and written by nobody", async () => {
  await withDevice({}, async (device) => {
    const stream = device.createStream("s");
    const bytes = Uint8Array.from({ length: 70_001 }, (_, i) => (i * 31 + (i >> 9)) % 251);
    const named = path.join(folder, "named");
    writeFileSync(named, bytes);
    const file = await device.openFileBuffer(named);
    expect([file.kind, file.bytes, device.info().fileBytes]).toEqual(["file", bytes.length, 0]);
    rmSync(named);
    const back = await device.createBuffer("host", bytes.length);
    await submitted(device, stream, (list) => {
      list.copy(stream, span(back, 5), span(file, 5), bytes.length - 5);
      list.copy(stream, span(back), span(file), 5);
    });
    expect(contents(back)).toEqual(bytes);
    submit(device, (list) => list.copy(stream, span(file), span(back), 8));
    const event = device.createEvent();
    submit(device, (list) => list.record(stream, event));
    expect(await errorOf(event.done())).toMatchObject({
      code: "ZO2_ERR_INVALID_ARGUMENT",
      message: expect.stringContaining("dst is a file that was opened to be read") as unknown,
    });
    file.dispose();
  });
  expect(openFilesIn(folder)).toBe(0);
  await withDevice({}, async (device) => {
    expect(await errorOf(device.openFileBuffer(path.join(folder, "none")))).toMatchObject({
      code: "ZO2_ERR_IO",
      message: `openFileBuffer: a file cannot be read: No such file or directory: ${path.join(folder, "none")}`,
    });
    expect(await errorOf(Promise.resolve().then(() => device.openFileBuffer("")))).toMatchObject({
      code: "ZO2_ERR_INVALID_ARGUMENT",
    });
  });
});

test("the device says how it reads and writes files", async () => {
  await withDevice({}, async (device) => {
    expect(device.info().features).toMatch(/; files: (io_uring|threads \(.+\))$/);
  });
  await withDevice({ noIoUring: true }, async (device) => {
    expect(device.info().features).toMatch(/; files: threads \(io_uring is not to be used\)$/);
  });
});

test("a file goes with its buffer, once what uses it has run", async () => {
  await withDevice({}, async (device) => {
    const stream = device.createStream("s");
    const gate = device.createGate();
    const source = await hostBytes(device, new Uint8Array(4096).fill(7));
    const back = await device.createBuffer("host", 4096);
    const file = await device.createFileBuffer(folder, 4096);
    const done = device.createEvent();
    submit(device, (list) => {
      list.hold(stream, gate);
      list.copy(stream, span(file), span(source), 4096);
      list.copy(stream, span(back), span(file), 4096);
      list.record(stream, done);
    });
    file.dispose();
    expect(openFilesIn(folder)).toBe(1);
    gate.open();
    await done.done();
    expect(contents(back)).toEqual(new Uint8Array(4096).fill(7));
    // Made after everything that was disposed before has gone.
    for (let tries = 0; device.info().fileBytes > 0 && tries < 1000; tries++) await device.createBuffer("host", 1);
    expect([device.info().fileBytes, openFilesIn(folder)]).toEqual([0, 0]);
    await device.createFileBuffer(folder, 4096);
  });
  expect([openFilesIn(folder), readdirSync(folder)]).toEqual([0, []]);
});

test("files that cannot be made, and uses that they are not for, say why", async () => {
  await withDevice({}, async (device) => {
    const missing = path.join(folder, "missing");
    expect(await errorOf(device.createFileBuffer(missing, 8))).toMatchObject({
      code: "ZO2_ERR_IO",
      message: `createFileBuffer: a file of 8 bytes cannot be made: No such file or directory: ${missing}`,
    });
    const much = await errorOf(device.createFileBuffer(folder, 2 ** 52));
    expect(much.code).toBe("ZO2_ERR_OUT_OF_MEMORY");
    expect(much.message).toMatch(/a file of 4503599627370496 bytes was asked for, but \d+ are free there/);

    const stream = device.createStream("s");
    const file = await device.createFileBuffer(folder, 8);
    for (const call of [() => file.read(0, new Uint8Array(1)), () => file.write(0, new Uint8Array(1))]) {
      expect(await errorOf(call)).toMatchObject({
        code: "ZO2_ERR_INVALID_ARGUMENT",
        message: expect.stringContaining("this is a file buffer; copy to or from a host buffer with a command"),
      });
    }
    const onto = await errorOf(device.convert(new Uint8Array(8), 0, file, 0, 0, 2));
    expect(onto.code).toBe("ZO2_ERR_INVALID_ARGUMENT");
    const filled = await errorOf(submitted(device, stream, (list) => list.fill(stream, span(file), 0, 8)));
    expect(filled).toMatchObject({
      code: "ZO2_ERR_INVALID_ARGUMENT",
      message: expect.stringContaining("fill: dst is a file buffer, which only copies"),
    });
  });
});

test("a device that closes while a file is made refuses it", async () => {
  await withDevice({}, async (device) => {
    const making = errorOf(device.createFileBuffer(folder, 4096));
    const closing = device.close();
    expect((await making).code).toBe("ZO2_ERR_CANCELLED");
    await closing;
  });
  expect([openFilesIn(folder), readdirSync(folder)]).toEqual([0, []]);
});
