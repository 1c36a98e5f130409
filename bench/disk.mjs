/**
 * What the disk tier's copies reach: a file buffer read into host memory and written from it, in pieces as units have
 * them, through io_uring and by threads, beside `dd` on a file of the same size in the same folder, which reads and
 * writes past the page cache too, one call at a time. Round by round in one process.
 *
 *   node bench/disk.mjs [--bytes 2147483648] [--piece 67108864] [--rounds 3]
 *
 * The files are on the disk of the system's temporary folder (TMPDIR), which needs room for two of them. Writes
 * bench/results/disk-cpu.json (--out).
 */
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { loadNative } from "zo2/native";
import { CommandWords } from "../dist/esm/device/words.js";
import { describeCommit, describeMachine } from "./lib/machine.mjs";
import { readOptions, runMain } from "./lib/options.mjs";
import { orderOf } from "./lib/program.mjs";
import { compareSpeed, median } from "./lib/summary.mjs";

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const DEFAULTS = {
  ...{ bytes: 2 ** 31, piece: 2 ** 26, rounds: 3 },
  out: path.join(root, "bench", "results", "disk-cpu.json"),
};
/** Bytes of a call of dd: what its users give it for a disk. */
const DD_BYTES = 4 * 2 ** 20;

/** Runs dd, and throws what it says when it fails. */
function dd(args) {
  const { status, stderr } = spawnSync("dd", [...args, `bs=${DD_BYTES}`, "status=none"], { encoding: "utf8" });
  if (status !== 0) throw new Error(`dd ${args.join(" ")}: ${stderr}`);
}

/** Copies through a file buffer: `write()` all of it, `read()` all of it, in pieces one behind the other. */
async function openFile(noIoUring, o, scratch) {
  const device = await loadNative().openDevice("cpu", { noIoUring });
  const name = /files: (\w+)/.exec(device.info().features)[1];
  const stream = device.createStream("disk");
  const file = await device.createFileBuffer(scratch, o.bytes);
  const host = await device.createBuffer("host", o.piece);
  host.write(0, new Uint8Array(o.piece).fill(37));
  const run = async (copy) => {
    const list = new CommandWords();
    const done = device.createEvent();
    for (let at = 0; at < o.bytes; at += o.piece) {
      copy(list, { buffer: file, offset: at }, { buffer: host, offset: 0 }, Math.min(o.piece, o.bytes - at));
    }
    list.record(stream, done);
    device.submit(list.list, list.handles);
    await done.done();
  };
  return {
    name,
    write: () => run((list, there, here, bytes) => list.copy(stream, there, here, bytes)),
    read: () => run((list, there, here, bytes) => list.copy(stream, here, there, bytes)),
    close: () => device.close(),
  };
}

/** Seconds; how much of the disk others used meanwhile is not known. */
async function timed(what) {
  const before = performance.now();
  await what();
  return { t: (performance.now() - before) / 1000, foreign: null };
}

await runMain("disk", async () => {
  const o = readOptions(process.argv.slice(2), DEFAULTS);
  const scratch = fs.mkdtempSync(path.join(os.tmpdir(), "zo2-disk-"));
  const plain = path.join(scratch, "plain");
  const files = [];
  try {
    const zeros = ["if=/dev/zero", `of=${plain}`, `count=${Math.ceil(o.bytes / DD_BYTES)}`];
    // The blocks are there before anything is timed, as those of a file buffer are.
    dd([...zeros, "oflag=direct"]);
    const ways = [
      {
        name: "dd",
        write: () => dd([...zeros, "oflag=direct", "conv=notrunc"]),
        read: () => dd([`if=${plain}`, "of=/dev/null", "iflag=direct"]),
      },
    ];
    for (const noIoUring of [false, true]) {
      files.push(await openFile(noIoUring, o, scratch));
      ways.push(files.at(-1));
    }
    const samples = ways.map(() => ({ read: [], write: [] }));
    for (let round = 0; round <= o.rounds; round++) {
      for (const i of orderOf(round, ways.length)) {
        for (const direction of ["write", "read"]) {
          const sample = await timed(ways[i][direction]);
          // Round 0 is warm-up, and the first writing of blocks.
          if (round > 0) samples[i][direction].push(sample);
        }
      }
    }
    const rows = ways.flatMap(({ name }, i) =>
      ["read", "write"].map((direction) => {
        const all = samples[i][direction];
        const seconds = median(all.map(({ t }) => t));
        const speed = i === 0 ? {} : { beside: compareSpeed(all, samples[0][direction]) };
        return { way: name, direction, seconds, gigabytesPerSecond: o.bytes / seconds / 1e9, ...speed, all };
      }),
    );
    for (const { way, direction, gigabytesPerSecond, beside } of rows) {
      const ratio = beside === undefined ? "" : `, ${beside.ratio.toFixed(2)} times dd`;
      console.log(`${direction}, ${way}: ${gigabytesPerSecond.toFixed(2)} GB/s${ratio}`);
    }
    const { bytes, piece, rounds } = o;
    const folder = spawnSync("df", ["--output=fstype", scratch], { encoding: "utf8" }).stdout.split("\n")[1];
    const result = {
      ...{ bench: "disk", date: new Date().toISOString(), ...describeCommit(root), device: describeMachine() },
      ...{ node: process.version, build: loadNative().build, fileSystem: folder, bytes, piece, ddBytes: DD_BYTES },
      ...{ rounds, rows },
    };
    fs.writeFileSync(o.out, `${JSON.stringify(result, null, 2)}\n`);
    console.log(`written: ${o.out}`);
  } finally {
    for (const file of files) await file.close();
    fs.rmSync(scratch, { recursive: true });
  }
});
