/** Whether a folder can take the file of weights that rest on disk: said before any weight is read. */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import type { Buffer, Device } from "zo2/native";
import { Zo2Error } from "../../../src/base/errors.js";
import { Arenas } from "../../../src/device/arenas.js";
import { checkDiskSpace } from "../../../src/device/disk-space.js";

let folder = "";
beforeAll(() => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), "zo2-disk-space-"));
});
afterAll(() => {
  jest.restoreAllMocks();
  fs.rmSync(folder, { recursive: true });
});

const EXT4 = 0xef53;
const statfsGives = (free: number, type = EXT4) =>
  jest.spyOn(fs.promises, "statfs").mockResolvedValue({ bavail: free / 4096, bsize: 4096, type } as never);
const refusal = (code: string, ...parts: (string | RegExp)[]) => {
  const message = new RegExp(parts.map((part) => (typeof part === "string" ? part : part.source)).join(".*"), "s");
  return expect.objectContaining({ code, message: expect.stringMatching(message) });
};

test("nothing on disk needs no folder", async () => {
  expect(await checkDiskSpace(0, {})).toEqual([]);
});

test("a folder with room is taken, to the last byte, and one with less is refused with both numbers", async () => {
  statfsGives(8192);
  expect(await checkDiskSpace(8192, { diskPath: folder })).toEqual([]);
  await expect(checkDiskSpace(12288, { diskPath: folder })).rejects.toEqual(
    refusal("ZO2_ERR_OUT_OF_MEMORY", "12288 bytes", folder, "8 KiB are free", '"offload.diskPath"'),
  );
});

test("the files of runs are named that take the room", async () => {
  statfsGives(4096);
  const kept = path.join(folder, "zo2-0123456789abcdef.weights");
  fs.writeFileSync(kept, Buffer.alloc(2048));
  fs.writeFileSync(path.join(folder, "another.weights"), "");
  await expect(checkDiskSpace(8192, { diskPath: folder })).rejects.toEqual(
    refusal("ZO2_ERR_OUT_OF_MEMORY", "4 KiB are free", "zo2-0123456789abcdef.weights \\(2 KiB\\); where", "free space"),
  );
  fs.rmSync(kept);
});

test("more than is allowed is refused, and that much is not", async () => {
  statfsGives(2 ** 40);
  expect(await checkDiskSpace(8192, { diskPath: folder, diskMemory: 8192 })).toEqual([]);
  await expect(checkDiskSpace(8192, { diskPath: folder, diskMemory: 8191 })).rejects.toEqual(
    refusal("ZO2_ERR_MEMORY_BUDGET", "8192 bytes", "allowed", '"offload.diskMemory"'),
  );
});

test("what may be written later needs a folder now, and room only then", async () => {
  statfsGives(4096);
  expect(await checkDiskSpace(0, { diskPath: folder, diskMemory: 1 }, 2 ** 40)).toEqual([]);
  expect(await checkDiskSpace(4096, { diskPath: folder }, 2 ** 40)).toEqual([]);
  await expect(checkDiskSpace(0, {}, 1)).rejects.toEqual(refusal("ZO2_ERR_CONFIG", '"offload.diskPath" is missing'));
});

test("no folder, one that is not there, and a file in its place are refused by the option's name", async () => {
  await expect(checkDiskSpace(1, {})).rejects.toEqual(refusal("ZO2_ERR_CONFIG", '"offload.diskPath" is missing'));
  const missing = path.join(folder, "missing");
  await expect(checkDiskSpace(1, { diskPath: missing })).rejects.toEqual(
    refusal("ZO2_ERR_CONFIG", '"offload.diskPath"', missing, "ENOENT"),
  );
  const file = path.join(folder, "file");
  fs.writeFileSync(file, "");
  await expect(checkDiskSpace(1, { diskPath: file })).rejects.toEqual(
    refusal("ZO2_ERR_CONFIG", '"offload.diskPath"', file, "no folder"),
  );
});

test("a folder that may not be written to is refused", async () => {
  const access = jest.spyOn(fs.promises, "access").mockRejectedValueOnce(new Error("EACCES: permission denied"));
  await expect(checkDiskSpace(1, { diskPath: folder })).rejects.toEqual(
    refusal("ZO2_ERR_CONFIG", '"offload.diskPath"', folder, "EACCES"),
  );
  expect(access).toHaveBeenCalledWith(folder, fs.constants.W_OK | fs.constants.X_OK);
});

test("a folder in memory is taken, and named", async () => {
  for (const type of [0x01021994, 0x858458f6]) {
    statfsGives(2 ** 30, type);
    const warnings = await checkDiskSpace(4096, { diskPath: folder });
    const message = expect.stringMatching(`"offload.diskPath".*${folder}.*memory`);
    expect(warnings).toEqual(process.platform === "linux" ? [{ code: "ZO2_WARN_DISK", message }] : []);
  }
});

describe("the file", () => {
  const deviceWith = (create: (folder: string, bytes: number) => Promise<Buffer>) =>
    ({ createFileBuffer: create }) as unknown as Device;
  const wanted = [{ tier: "disk", bytes: 8192 }] as const;

  test("is made in the folder", async () => {
    const made: [string, number][] = [];
    const device = deviceWith(async (...asked) => {
      made.push(asked);
      return { dispose: () => undefined } as Buffer;
    });
    await new Arenas(device, wanted, folder).all();
    expect(made).toEqual([[folder, 8192]]);
  });

  test("that does not fit after all is refused with bytes, folder and option; other failures pass", async () => {
    const full = () => Promise.reject(new Zo2Error("ZO2_ERR_OUT_OF_MEMORY", "No space left on device"));
    await expect(new Arenas(deviceWith(full), wanted, folder).all()).rejects.toEqual(
      refusal("ZO2_ERR_OUT_OF_MEMORY", "8192 bytes", folder, "No space left", '"offload.diskPath"'),
    );
    const broken = () => Promise.reject(new Zo2Error("ZO2_ERR_DEVICE", "input/output error"));
    await expect(new Arenas(deviceWith(broken), wanted, folder).all()).rejects.toThrow("input/output error");
  });
});
