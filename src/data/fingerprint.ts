import { createReadStream } from "node:fs";
import { Zo2Error } from "../base/errors.js";
import { messageOf } from "../base/guards.js";
import { Hasher } from "../base/hash.js";
import { checkAborted } from "./check.js";
import type { Indexed } from "./dataset.js";

const CHUNK_BYTES = 2 ** 20;

/** XXH128 of a file's bytes. @throws Zo2Error ZO2_ERR_IO, ZO2_ERR_ABORTED */
export async function fingerprintOfFile(path: string, signal?: AbortSignal): Promise<string> {
  const hasher = await Hasher.create();
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: CHUNK_BYTES })) {
      checkAborted(path, signal);
      hasher.update(chunk as Buffer);
    }
  } catch (error) {
    if (error instanceof Zo2Error) throw error;
    throw new Zo2Error("ZO2_ERR_IO", `${path}: cannot be read: ${messageOf(error)}`, { cause: error });
  }
  return hasher.digest();
}

/** XXH128 of items, each as a line of JSON. */
export async function fingerprintOfItems(items: Indexed<unknown>): Promise<string> {
  const hasher = await Hasher.create();
  for (let i = 0; i < items.size; i++) {
    const plain = (_: string, value: unknown) => (ArrayBuffer.isView(value) ? [...(value as Int32Array)] : value);
    hasher.update(Buffer.from(`${JSON.stringify(await items.at(i), plain)}\n`));
  }
  return hasher.digest();
}
