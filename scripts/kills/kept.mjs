/** What a run has left of its weights on disk: how many units are whole, and of steps that its journal has. */
import fs from "node:fs";
import path from "node:path";
import { createXXHash64 } from "hash-wasm";
import { readRun } from "../../dist/esm/journal/read-run.js";
import { fingerprintOfUpdates, updatesOf } from "../../dist/esm/run/updates.js";

const NOTE_AT = 32;

/** `{units, whole}`, of all files; null where the run keeps none. */
export async function keptIn(run) {
  const note = path.join(run, "disk.json");
  if (!fs.existsSync(note)) return null;
  const { files } = JSON.parse(fs.readFileSync(note, "utf8"));
  const journal = await readRun(run, { resuming: true });
  const known = new Set();
  for (let taken = 1; taken <= journal.steps.length; taken++)
    known.add(await fingerprintOfUpdates(journal.header, updatesOf(journal, taken)));
  const hasher = await createXXHash64();
  const isWhole = (bytes, { seal, offset, bytes: count }) => {
    hasher.init();
    hasher.update(bytes.subarray(offset, offset + count));
    const fingerprint = bytes.toString("hex", seal + NOTE_AT + 8, seal + NOTE_AT + 24);
    return bytes.readBigUInt64LE(seal + 24) === BigInt(`0x${hasher.digest()}`) && known.has(fingerprint);
  };
  const found = { units: 0, whole: 0 };
  for (const { path: file, units } of files) {
    found.units += units.length;
    if (!fs.existsSync(file)) continue;
    const bytes = fs.readFileSync(file);
    found.whole += units.filter((unit) => isWhole(bytes, unit)).length;
  }
  return found;
}
