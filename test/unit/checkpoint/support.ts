import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ErrorCode } from "../../../src/base/errors.js";

/** A fresh folder for one test; `cleanUp` in `afterAll` removes them all. */
const made: string[] = [];
export async function temporaryFolder(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "zo2-test-"));
  made.push(dir);
  return dir;
}
export async function cleanUp(): Promise<void> {
  for (const dir of made.splice(0)) await rm(dir, { recursive: true, force: true });
}

/** The bytes of a safetensors file with this JSON part and `dataBytes` bytes of data. */
export function fileBytes(header: unknown, dataBytes: number, length?: bigint): Buffer {
  const json = Buffer.from(typeof header === "string" ? header : JSON.stringify(header));
  const head = Buffer.alloc(8);
  head.writeBigUInt64LE(length ?? BigInt(json.length));
  const data = Buffer.from(Uint8Array.from({ length: dataBytes }, (_, i) => i & 255));
  return Buffer.concat([head, json, data]);
}

export async function modelFolder(files: Record<string, string | Uint8Array>): Promise<string> {
  const dir = await temporaryFolder();
  for (const [name, content] of Object.entries({ "config.json": "{}", ...files }))
    await writeFile(join(dir, name), content);
  return dir;
}

/** What `work` is expected to fail with. */
export function failure(code: ErrorCode, ...parts: string[]) {
  return expect.objectContaining({
    code,
    message: expect.stringMatching(
      new RegExp(parts.map((p) => p.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("[\\s\\S]*")),
    ),
  });
}
