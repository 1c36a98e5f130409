/**
 * Loaded before a program (`--import`): tells of its file operations on descriptor 3, and ends the process in the
 * middle of one of them, or records them all.
 *
 * ZO2_KILLS: JSON of `{root, at, how}` (the operation, from 0; "before", "half" or "after"), or of `{root, record}`.
 */
import fs from "node:fs";
import process from "node:process";
import { intercept } from "./operations.mjs";

const TELLS = 3;
/** What the journal's steps begin with: kinds 3 and 7 of docs/journal.md. */
const STEPS = [3, 7];
const { root, record, at, how } = JSON.parse(process.env.ZO2_KILLS);

function die() {
  process.kill(process.pid, "SIGKILL");
  // The signal is there when this returns to it at the latest.
  for (;;);
}

/** A line a record, with bytes in base64; it is on the way to the file before the operation goes on. */
function recorder(file) {
  const fd = fs.openSync(file, "w");
  const write = ({ bytes, ...entry }) =>
    fs.writeSync(fd, `${JSON.stringify({ ...entry, ...(bytes ? { base64: bytes.toString("base64") } : {}) })}\n`);
  let done = 0;
  return async (operation, perform) => {
    // A sync holds what was done before it began.
    const after = done;
    // The caller may use its memory again for the next one.
    const entry = { ...operation, after, ...(operation.bytes ? { bytes: Buffer.from(operation.bytes) } : {}) };
    const result = await perform();
    write(operation.kind === "write" && result?.bytesWritten < entry.bytes.length ? shortened(entry, result) : entry);
    done++;
    return result;
  };
}

const shortened = (entry, { bytesWritten }) => ({ ...entry, bytes: entry.bytes.subarray(0, bytesWritten) });

function killer() {
  let count = 0;
  const tell = (line) => fs.writeSync(TELLS, `${line}\n`);
  return async (operation, perform, half) => {
    const { kind, path, bytes, creates, truncates } = operation;
    const changes = kind !== "close" && (kind !== "open" || creates || truncates);
    if (!changes) return perform();
    const index = count++;
    const isStep = kind === "write" && /run\.zo2(\.tmp)?$/.test(path) && STEPS.includes(bytes[0] & 0x7f);
    tell(JSON.stringify({ index, kind, path, isStep }));
    if (index === at && how !== "after") {
      if (how === "half") half();
      die();
    }
    const result = await perform();
    tell(JSON.stringify({ ended: index }));
    if (index === at) die();
    return result;
  };
}

await intercept(root, record === undefined ? killer() : recorder(record));
