/**
 * Folders that `openCheckpoint` is given: what it accepts must be readable to the last byte, and no file may stay open.
 */
import path from "node:path";
import { openFilesIn, unpackFiles, writeFolder } from "./bundle.mjs";
import { attempt, demand } from "./oracle.mjs";
import { entryRanges } from "./zip.mjs";

const CODES = ["ZO2_ERR_CHECKPOINT", "ZO2_ERR_IO", "ZO2_ERR_MODEL_UNSUPPORTED"];
const MOST_TENSORS = 32;
const MOST_READ = 65536;
const MOST_ELEMENTS = 4096;
const OPEN_FILES_EVERY = 16;

/**
 * Where the elements of a tensor begin in its file, found one by one; undefined where there are too many or they are no
 * whole bytes.
 */
function elementOffsets({ shape, strides, offset }, item) {
  const count = shape.reduce((product, extent) => product * extent, 1);
  if (count > MOST_ELEMENTS || !Number.isInteger(item)) return undefined;
  return Array.from({ length: count }, (_, element) => {
    let rest = element;
    let at = offset;
    let step = 1;
    for (let d = shape.length - 1; d >= 0; d--) {
      at += (rest % shape[d]) * (strides?.[d] ?? step) * item;
      rest = Math.floor(rest / shape[d]);
      step *= shape[d];
    }
    return at;
  });
}

/** The tensor's bytes are those of the file, and, in a zip archive, all of one entry. */
function checkPlace(entry, read, file, item) {
  const offsets = elementOffsets(entry, item);
  if (offsets === undefined || offsets.length === 0) return;
  const begin = Math.min(...offsets);
  const end = Math.max(...offsets) + item;
  demand(begin >= 0 && end <= file.length, () => `${entry.name}: bytes ${begin} to ${end} of a file of ${file.length}`);
  for (const [i, at] of offsets.entries()) {
    const same = file.subarray(at, at + item).equals(read.subarray(i * item, (i + 1) * item));
    demand(same, () => `${entry.name}: element ${i} is not what the file has at byte ${at}`);
  }
  const ranges = entryRanges(file);
  if (ranges === undefined) return;
  demand(
    ranges.some(([from, to]) => begin >= from && end <= to),
    () => `${entry.name}: bytes ${begin} to ${end} are not all in one entry of ${JSON.stringify(ranges)}`,
  );
}

async function checkTensor(checkpoint, entry, files, inputBytes, { isZo2Error, dtypeBits }) {
  const { name, bytes, shape, dtype } = entry;
  demand(Number.isSafeInteger(bytes) && bytes >= 0, () => `${name}: ${bytes} bytes`);
  demand(
    shape.every((extent) => Number.isSafeInteger(extent) && extent >= 0),
    () => `${name}: shape [${shape.join(", ")}]`,
  );
  // Both ends of what may be a tensor of any size: an expanded one repeats its few bytes.
  for (const offset of new Set([0, Math.max(0, bytes - MOST_READ)])) {
    const into = new Uint8Array(Math.min(MOST_READ, bytes - offset));
    const read = await attempt(isZo2Error, CODES, inputBytes, () => checkpoint.read(entry, offset, into));
    demand(
      !("code" in read),
      () =>
        `${name}: was accepted, but its bytes ${offset} to ${offset + into.length} of ${bytes} cannot be read: ` +
        `${read.message}`,
    );
    if (into.length === bytes)
      checkPlace(entry, Buffer.from(into.buffer), files.get(path.basename(entry.file)), dtypeBits[dtype] / 8);
  }
  const past = await attempt(isZo2Error, ["ZO2_ERR_INVALID_ARGUMENT"], inputBytes, () =>
    checkpoint.read(entry, bytes, new Uint8Array(1)),
  );
  demand("code" in past, () => `${name}: a byte past its ${bytes} could be read`);
}

/** The `open` of a target whose inputs are folders. */
export async function openFolderTarget({ dist, folder }) {
  const { openCheckpoint, DTYPE_BITS: dtypeBits } = await import(path.join(dist, "checkpoint", "index.js"));
  const { isZo2Error } = await import(path.join(dist, "base", "errors.js"));
  let executions = 0;
  return async (input) => {
    const files = unpackFiles(input);
    writeFolder(folder, files);
    const opened = await attempt(isZo2Error, CODES, input.length, () => openCheckpoint(folder));
    if (opened.value !== undefined) {
      try {
        const entries = [...opened.value.tensors.values()].slice(0, MOST_TENSORS);
        for (const entry of entries)
          await checkTensor(opened.value, entry, files, input.length, { isZo2Error, dtypeBits });
      } finally {
        await opened.value.close();
      }
    }
    if (executions++ % OPEN_FILES_EVERY !== 0) return;
    const open = openFilesIn(folder);
    demand(open.length === 0, () => `left open: ${open.join(", ")}`);
  };
}
