/** What a run says of its units on disk, when, and which of them it takes up again. */
import { createXXHash64 } from "hash-wasm";
import { Checksum, Hasher } from "../../../src/base/hash.js";
import { RunNotes } from "../../../src/run/notes.js";
import { lackingOf } from "../../../src/run/restore.js";
import { decodeSeal, encodeNote } from "../../../src/run/seal.js";
import { fingerprintOfUpdates, UpdatesFingerprint, updatesOf } from "../../../src/run/updates.js";
import { HEADER, stepsOf } from "../journal/support.js";

const FINGERPRINT = "00112233445566778899aabbccddeeff";

/** A seal as zo2.h lays it out, by hand. */
async function sealBlock(): Promise<Buffer> {
  const block = Buffer.alloc(4096);
  block.write("zo2seal1", 0, "latin1");
  block.writeBigUInt64LE(7n, 8);
  block.writeBigUInt64LE(5001n, 16);
  block.writeBigUInt64LE(0xfedcba9876543210n, 24);
  block.writeBigUInt64LE(12n, 32);
  block.write(FINGERPRINT, 40, "hex");
  const hasher = await createXXHash64();
  hasher.init().update(block.subarray(0, 56));
  block.writeBigUInt64LE(BigInt(`0x${hasher.digest()}`), 56);
  return block;
}

describe("a seal", () => {
  it("is read as the native side lays it out", async () => {
    const note = { steps: 12, fingerprint: FINGERPRINT };
    expect(decodeSeal(await sealBlock(), await Checksum.create())).toEqual({
      ...{ unit: 7, bytes: 5001, checksum: 0xfedcba9876543210n, note },
    });
    expect(Buffer.from(encodeNote(note)).equals((await sealBlock()).subarray(32, 56))).toBe(true);
  });

  it("with a mistake anywhere in what it says is none", async () => {
    const checksum = await Checksum.create();
    for (let byte = 0; byte < 64; byte++) {
      const block = await sealBlock();
      block[byte] = (block[byte] ?? 0) ^ 0x10;
      expect([byte, decodeSeal(block, checksum)]).toEqual([byte, null]);
    }
    expect(decodeSeal(Buffer.alloc(4096), checksum)).toBeNull();
    expect(decodeSeal((await sealBlock()).subarray(0, 64), checksum)).toBeNull();
  });
});

describe("the fingerprint of updates", () => {
  it("is that of all of them, one by one, whatever was asked for between", async () => {
    const steps = stepsOf(6);
    const running = await UpdatesFingerprint.create(HEADER);
    for (const [i, step] of steps.entries()) {
      running.add(step);
      expect(running.now()).toBe(await fingerprintOfUpdates(HEADER, steps.slice(0, i + 1)));
    }
    const hasher = await Hasher.create();
    hasher.update(Buffer.from("ab"));
    hasher.digestSoFar();
    hasher.update(Buffer.from("c"));
    // Of all three bytes at once.
    expect(hasher.digest()).toBe("06b05ab6733a618578af5f94892f3950");
  });

  it("is another for every change of a run", async () => {
    const steps = stepsOf(4);
    const of = (changed: Partial<(typeof steps)[number]>) =>
      fingerprintOfUpdates(HEADER, [...steps.slice(0, 3), { ...(steps[3] as (typeof steps)[number]), ...changed }]);
    const dropped = updatesOf({ header: HEADER, steps, dropped: [{ step: 2, count: 1, guard: "outlier" }] });
    const all = [
      ...[{}, { step: 4 }, { coefficients: [0.5] }, { learningRate: 1 }].map(of),
      fingerprintOfUpdates(HEADER, dropped),
      fingerprintOfUpdates({ ...HEADER, created: "2026-12-01T00:00:00.000Z" }, steps),
    ];
    expect(new Set(await Promise.all(all)).size).toBe(all.length);
  });
});

describe("units that lack updates", () => {
  const updates = [0, 1, 2, 3, 4].map((step) => ({ step }) as never);

  it("get what they lack, with those that lack the same", () => {
    const has = [5, 2, 0, 2, 5, 4];
    expect(lackingOf([0, 1, 2, 3, 5], (unit) => has[unit] ?? 0, updates)).toEqual([
      { updates, units: [2] },
      { updates: updates.slice(2), units: [1, 3] },
      { updates: updates.slice(4), units: [5] },
    ]);
    expect(lackingOf([0, 4], (unit) => has[unit] ?? 0, updates)).toEqual([]);
  });
});

describe("what is said of a step", () => {
  const turn = () => new Promise((resolve) => setImmediate(resolve));
  const [first, second] = stepsOf(2) as [ReturnType<typeof stepsOf>[number], ReturnType<typeof stepsOf>[number]];
  async function notesWith(synced: () => Promise<void>) {
    const notes = new RunNotes(await UpdatesFingerprint.create(HEADER), synced);
    const heard = (step: number) => {
      const said: { note?: Uint8Array | null } = {};
      void notes.noteOf(step).then((note) => Object.assign(said, { note }));
      return said;
    };
    return { notes, heard };
  }

  it("is said when its record is on the disk, and no sooner", async () => {
    const syncs: (() => void)[] = [];
    const { notes, heard } = await notesWith(() => new Promise((resolve) => syncs.push(resolve)));
    const early = heard(0);
    await turn();
    expect([early, syncs.length]).toEqual([{}, 0]);
    notes.recorded(first);
    await turn();
    expect([early, syncs.length]).toEqual([{}, 1]);
    syncs[0]?.();
    await turn();
    const note = encodeNote({ steps: 1, fingerprint: await fingerprintOfUpdates(HEADER, [first]) });
    expect(early).toEqual({ note });
    // Nobody waits for the second yet: its record need not be on the disk.
    notes.recorded(second);
    await turn();
    expect(syncs.length).toBe(1);
    const late = heard(1);
    syncs[1]?.();
    await turn();
    expect(late).toEqual({
      note: encodeNote({ steps: 2, fingerprint: await fingerprintOfUpdates(HEADER, [first, second]) }),
    });
  });

  it("is nothing where nobody will know the step, or its record cannot be kept, which is told once", async () => {
    const { notes, heard } = await notesWith(() => Promise.reject(new Error("no room")));
    const never = heard(1);
    const failed = heard(0);
    notes.recorded(first);
    notes.giveUp();
    await turn();
    expect([never, failed]).toEqual([{ note: null }, { note: null }]);
    expect(() => notes.recorded(second)).toThrow("no room");
    expect(() => notes.check()).not.toThrow();
    notes.restart(await UpdatesFingerprint.create(HEADER));
    const again = heard(0);
    notes.giveUp();
    await turn();
    expect(again).toEqual({ note: null });
  });
});
