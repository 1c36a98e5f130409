/** What a run has left of its weights on disk: how many units are whole, and of steps that its journal has. */
import fs from "node:fs";
import path from "node:path";
import { createXXHash64 } from "hash-wasm";
import { readRun } from "../../dist/esm/journal/read-run.js";
import { fingerprintOfUpdates, updatesOf } from "../../dist/esm/run/updates.js";

const NOTE_AT = 32;

/** `{units, whole}`; null where the run keeps no file. */
export async function keptIn(run) {
  const note = path.join(run, "disk.json");
  if (!fs.existsSync(note)) return null;
  const { path: file, units } = JSON.parse(fs.readFileSync(note, "utf8"));
  if (!fs.existsSync(file)) return { units: units.length, whole: 0 };
  const journal = await readRun(run, { resuming: true });
  const known = new Set();
  for (let taken = 1; taken <= journal.steps.length; taken++)
    known.add(await fingerprintOfUpdates(journal.header, updatesOf(journal, taken)));
  const bytes = fs.readFileSync(file);
  const hasher = await createXXHash64();
  const isWhole = ({ seal, offset, bytes: count }) => {
    hasher.init();
    hasher.update(bytes.subarray(offset, offset + count));
    const fingerprint = bytes.toString("hex", seal + NOTE_AT + 8, seal + NOTE_AT + 24);
    return bytes.readBigUInt64LE(seal + 24) === BigInt(`0x${hasher.digest()}`) && known.has(fingerprint);
  };
  return { units: units.length, whole: units.filter(isWhole).length };
}
