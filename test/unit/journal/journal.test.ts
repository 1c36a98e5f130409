import { appendFile, mkdtemp, readFile, rm, stat, truncate } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { blocksOf, decodeCoefficients, encodeCoefficients } from "../../../src/journal/compact.js";
import { encodeFrame, KINDS, MAGIC } from "../../../src/journal/frames.js";
import type { RunHeader } from "../../../src/journal/header.js";
import { type Journal, parseJournal, readJournal } from "../../../src/journal/read.js";
import { countedSteps } from "../../../src/journal/counted.js";
import {
  decodeDropped,
  decodeEvaluation,
  decodeStep,
  encodeDropped,
  encodeEvaluation,
  encodeStep,
  lossesOf,
} from "../../../src/journal/record.js";
import { type Durability, JournalWriter, writeCompact } from "../../../src/journal/writer.js";
import { HEADER, stepsOf } from "./support.js";

let dir: string;
let path: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "zo2-journal-"));
  path = join(dir, "run.zo2");
});
afterEach(() => rm(dir, { recursive: true, force: true }));

const SESSION = {
  ...{ from: 0, started: "2026-11-30T00:00:00.000Z", package: "0.1.0", device: "a CPU", options: { steps: 9 } },
  rounding: "1".repeat(32),
};

/** A run that ended in order, or as if its process had been killed. */
async function written(count: number, o: { durability?: Durability; killed?: boolean } = {}): Promise<Buffer> {
  const writer = await JournalWriter.create(path, HEADER, o.durability ?? "step");
  await writer.session(SESSION);
  for (const step of stepsOf(count)) await writer.step(step);
  await writer.evaluation({ step: count, examples: 10, loss: 0.5, accuracy: null, best: true });
  const bytes = o.killed === true ? await readFile(path) : null;
  await writer.close();
  return bytes ?? (await readFile(path));
}

const parse = (bytes: Buffer, o?: Parameters<typeof parseJournal>[2]) => parseJournal(bytes, "run.zo2", o);

/** What reading gives, or the code of its error. */
function read(bytes: Buffer, o?: Parameters<typeof parseJournal>[2]): Journal | string {
  try {
    return parse(bytes, o);
  } catch (error) {
    return (error as { code: string }).code;
  }
}

describe("a journal", () => {
  test("gives back what was written", async () => {
    const steps = stepsOf(50);
    const bytes = await written(50);
    expect(parse(bytes)).toMatchObject({
      ...{ header: HEADER, sessions: [SESSION], steps, closed: true, compact: false, torn: 0, bytes: bytes.length },
      evaluations: [{ step: 50, examples: 10, loss: 0.5, accuracy: null, best: true }],
    });
    expect(await readJournal(path)).toEqual({ ...parse(bytes), path });
  });

  test("has every checksum go on from that of the frame before, as docs/journal.md says", async () => {
    const bytes = await written(3);
    let checksum = crc32(bytes.subarray(0, 10));
    let at = 10;
    while (at < bytes.length) {
      const body = at + 4 + (bytes.readUInt32LE(at) >>> 8);
      checksum = crc32(bytes.subarray(at, body), checksum);
      expect(bytes.readUInt32LE(body)).toBe(checksum);
      at = body + 4;
    }
    expect(at).toBe(bytes.length);
  });

  test("holds 20,000 steps of MeZO in less than 1 MB, and their coefficients alone in less than 200 kB", async () => {
    const steps = stepsOf(20000);
    const rate = steps.reduce((sum, step) => sum + encodeStep(step).length + 8, 0);
    expect(rate).toBeLessThan(1e6 - 50e3);
    const compact = blocksOf(steps).reduce((sum, block) => sum + encodeCoefficients(block).length + 8, 0);
    expect(compact).toBeLessThan(200e3 - 50e3);
  });

  test.each([
    ["whole", false],
    ["as a killed process leaves it", true],
  ])("that is cut off at any byte (%s) is a prefix of itself, or has no header", async (_, killed) => {
    const bytes = await written(6, { killed });
    const whole = parse(bytes);
    const lengths = new Set<number>();
    for (let length = 0; length < bytes.length; length++) {
      const cut = read(bytes.subarray(0, length));
      if (typeof cut === "string") {
        expect([length, cut]).toEqual([length, "ZO2_ERR_JOURNAL"]);
        continue;
      }
      expect(cut.steps).toEqual(whole.steps.slice(0, cut.steps.length));
      expect(cut.end + cut.torn).toBe(length);
      lengths.add(cut.steps.length);
    }
    expect([...lengths]).toEqual([0, 1, 2, 3, 4, 5, 6]);
  });

  test("in which any byte was changed is refused, or loses what stands at its very end alone", async () => {
    const bytes = await written(6);
    for (let at = 0; at < bytes.length; at++) {
      for (const bit of [1, 128]) {
        const changed = Buffer.from(bytes);
        changed.writeUInt8(changed.readUInt8(at) ^ bit, at);
        for (const resuming of [false, true]) {
          const result = read(changed, { resuming });
          // Of the closing frame.
          if (typeof result !== "string") expect([result.steps.length, result.closed]).toEqual([6, false]);
          else expect(result).toBe("ZO2_ERR_JOURNAL");
        }
      }
    }
  });

  test("whose tail was never synced is resumed from what is whole before the damage, and read no further", async () => {
    const bytes = await written(6, { durability: "never", killed: true });
    const third = parse(bytes.subarray(0, parse(bytes).end)).steps.length - 3;
    const one = encodeStep(stepsOf(1)[0] as never).length + 8;
    const evaluation = 25 + 8;
    const at = bytes.length - evaluation - one * 3 + 5;
    const torn = Buffer.from(bytes);
    // A page that the machine had not written when its power went, and one behind it that it had.
    torn.fill(0, at, at + 10);
    expect(read(torn)).toBe("ZO2_ERR_JOURNAL");
    const resumed = parse(torn, { resuming: true });
    expect([resumed.steps.length, resumed.torn > 0]).toEqual([third, true]);
  });

  test("goes on where it ended, torn or in order", async () => {
    const steps = stepsOf(8);
    await written(4);
    for (const [count, tear] of [
      [4, 0],
      [5, 13],
      [6, 1],
    ] as const) {
      if (tear > 0) {
        await truncate(path, (await stat(path)).size - 8);
        await appendFile(path, encodeFrame(KINDS.step, encodeStep(steps[7] as never), 0, false).subarray(0, tear));
      }
      const writer = await JournalWriter.resume(await readJournal(path, { resuming: true }), "second");
      await writer.step(steps[count] as (typeof steps)[number]);
      await writer.close();
      expect((await readJournal(path)).steps).toEqual(steps.slice(0, count + 1));
    }
  });

  test("is what another version has written, or no journal, or out of order: each is refused by name", async () => {
    const bytes = await written(2);
    const withHeader = (header: object) => {
      const first = encodeFrame(KINDS.header, Buffer.from(JSON.stringify(header)), crc32(MAGIC), true);
      return Buffer.concat([MAGIC, first]);
    };
    const tail = (header: RunHeader, kind: number, payload: Uint8Array) => {
      const begin = withHeader(header);
      const frame = encodeFrame(kind as 1, payload, begin.readUInt32LE(begin.length - 4), true);
      return Buffer.concat([begin, frame]);
    };
    const refused = [
      [Buffer.from("PK\u0003\u0004 and so on"), "not a journal of zo2"],
      [MAGIC, "ends before its header is whole"],
      [bytes.subarray(0, 40), "ends before its header is whole"],
      [withHeader({ ...HEADER, format: 2, more: true }), "written in version 2 of the format"],
      [withHeader({ ...HEADER, base: null }), "base"],
      [tail(HEADER, 77, new Uint8Array(3)), "a record of kind 77, which a later version"],
      [
        tail(HEADER, KINDS.step, encodeStep(stepsOf(2)[1] as never)),
        "the record of step 1 stands where step 0 belongs",
      ],
      [tail(HEADER, KINDS.step, new Uint8Array(9)), "not a step of this run"],
      [tail(HEADER, KINDS.evaluation, new Uint8Array(9)), "not an evaluation of this run"],
      [tail(HEADER, KINDS.dropped, new Uint8Array(9)), "not a record of steps of this run that are dropped"],
      [tail(HEADER, KINDS.coefficients, new Uint8Array(9)), "not a block of coefficients of this run"],
    ] as const;
    for (const [given, message] of refused) {
      expect(() => parse(given)).toThrow(
        expect.objectContaining({ code: "ZO2_ERR_JOURNAL", message: expect.stringContaining(message) }),
      );
    }
    await expect(readJournal(join(dir, "none"))).rejects.toMatchObject({ code: "ZO2_ERR_IO" });
  });

  test("that cannot be written says so, and what stands in it stays whole", async () => {
    await expect(JournalWriter.create(join(dir, "no", "run.zo2"), HEADER, "second")).rejects.toMatchObject({
      code: "ZO2_ERR_IO",
    });
    const writer = await JournalWriter.create(path, HEADER, "second");
    await writer.close();
    await writer.close();
    await expect(writer.step(stepsOf(1)[0] as never)).rejects.toMatchObject({ code: "ZO2_ERR_DISPOSED" });
    expect((await readJournal(path)).steps).toEqual([]);
  });

  test("whose disk is full says so once, at the record, and closes as it is", async () => {
    const writer = await JournalWriter.create(path, HEADER, "second");
    const steps = stepsOf(3);
    await writer.step(steps[0] as never);
    const { handle } = writer as unknown as { readonly handle: { write: () => Promise<never> } };
    handle.write = () => Promise.reject(Object.assign(new Error("ENOSPC: no space left"), { code: "ENOSPC" }));
    await expect(writer.step(steps[1] as never)).rejects.toMatchObject({
      code: "ZO2_ERR_IO",
      message: expect.stringContaining("no space left; what stands in it is whole") as unknown,
    });
    await writer.close();
    expect(await readJournal(path)).toMatchObject({ steps: steps.slice(0, 1), torn: 0, closed: false });
  });

  test("is synced a second after a record that none follows, and says before the next one that it failed", async () => {
    const writer = await JournalWriter.create(path, HEADER, "second");
    const { handle } = writer as unknown as { readonly handle: { datasync: () => Promise<void> } };
    const steps = stepsOf(3);
    let syncs = 0;
    handle.datasync = () => {
      syncs++;
      // The system says once that something has not reached the disk.
      return syncs === 2 ? Promise.reject(new Error("EIO: i/o error")) : Promise.resolve();
    };
    const until = async (count: number) => {
      while (syncs < count) await new Promise((resolve) => setTimeout(resolve, 10));
    };
    await writer.step(steps[0] as never);
    await until(1);
    await writer.step(steps[1] as never);
    await until(2);
    await expect(writer.step(steps[2] as never)).rejects.toMatchObject({ code: "ZO2_ERR_IO" });
    await writer.close();
    expect(await readJournal(path)).toMatchObject({ steps: steps.slice(0, 2), closed: false });
  });

  test("keeps the order of calls that nobody awaits", async () => {
    const writer = await JournalWriter.create(path, HEADER, "second");
    const steps = stepsOf(100);
    await Promise.all(steps.map((step) => writer.step(step)));
    await writer.close();
    expect((await readJournal(path)).steps).toEqual(steps);
  });
});

describe("the compact form", () => {
  test.each([
    ["half a cosine", (step: number) => 1e-6 * 0.5 * (1 + Math.cos(step / 7000))],
    ["a constant", () => 3e-7],
    ["a line", (step: number) => 1e-4 * ((20000 - step) / 20000)],
    ["anything", (step: number) => [0, -0, 5e-324, 1.7e308, -2.5, Number.NaN][step % 6] as number],
  ])("has the coefficients and rates of every step, bit for bit: %s", async (_, rateAt) => {
    const steps = stepsOf(5000).map((step) => ({ ...step, learningRate: rateAt(step.step) }));
    const writer = await JournalWriter.create(path, HEADER, "never");
    for (const step of steps) await writer.step(step);
    await writer.close();
    const whole = await readJournal(path);
    const short = join(dir, "short.zo2");
    expect(await writeCompact(short, whole)).toBe((await stat(short)).size);
    const compact = await readJournal(short);
    expect(compact).toMatchObject({ compact: true, header: HEADER });
    const replayed = ({ step, coefficients, learningRate }: (typeof steps)[number]) => [
      step,
      coefficients,
      learningRate,
    ];
    expect(compact.steps.map(replayed)).toEqual(steps.map(replayed));
    expect((await stat(short)).size).toBeLessThan(((await stat(path)).size * 2) / 5);
  });

  test("has the steps that were dropped, whatever they came to", async () => {
    const steps = stepsOf(30).map((step) =>
      step.step === 12 ? { ...step, coefficients: [Number.NaN], shards: [{ labelled: 1, losses: [1, NaN] }] } : step,
    );
    const dropped = [
      { step: 4, count: 1, guard: "outlier" },
      { step: 12, count: 10, guard: "not-finite" },
      { step: 13, count: 1, guard: "collapsed" },
    ] as const;
    const writer = await JournalWriter.create(path, HEADER, "never");
    for (const step of steps) {
      const drop = dropped.find((record) => record.step === step.step);
      await (drop === undefined ? writer.step(step) : writer.dropped(drop, step));
    }
    await writer.dropped({ count: 2, guard: "outlier" }, null);
    await writer.close();
    const whole = await readJournal(path);
    const all = [...dropped, { step: 29, count: 2, guard: "outlier" }];
    expect(whole).toMatchObject({ steps, dropped: all, compact: false });
    const counted = (taken?: number) => countedSteps(whole, taken).map(({ step }) => step);
    expect(counted()).toEqual([0, 1, 2, ...steps.slice(14, 28).map(({ step }) => step)]);
    // The second guard had not spoken then.
    expect(counted(12)).toEqual([0, 1, 2, 3, 5, 6, 7, 8, 9, 10, 11]);
    const [short, again] = [join(dir, "short.zo2"), join(dir, "again.zo2")];
    await writeCompact(short, whole);
    await writeCompact(again, await readJournal(short));
    expect(await readFile(again)).toEqual(await readFile(short));
    const compact = await readJournal(short);
    expect([compact.dropped, compact.compact]).toEqual([all, true]);
    const replayed = compact.steps.map(({ step, coefficients }) => [step, coefficients]);
    expect(replayed).toEqual(steps.map(({ step, coefficients }) => [step, coefficients]));
  });

  test("that is cut, or has too much, is none", () => {
    const block = encodeCoefficients(stepsOf(20));
    const given = { method: { directions: 1 } };
    expect(decodeCoefficients(block, given)).toHaveLength(20);
    for (let length = 0; length < block.length; length++)
      expect(decodeCoefficients(block.subarray(0, length), given)).toBeNull();
    expect(decodeCoefficients(Buffer.concat([block, Buffer.alloc(1)]), given)).toBeNull();
  });
});

describe("records", () => {
  test("have room for the losses of several workers, which count by their weight, in their order", () => {
    const record = {
      ...{ step: 2 ** 32 - 1, coefficients: [1.5, -2.25], learningRate: 1e-7 },
      shards: [
        { labelled: 3, losses: [1, 2, 3] },
        { labelled: 1, losses: [5, 6, 7] },
      ],
    };
    const shape = { probes: 3, directions: 2 };
    expect(decodeStep(encodeStep(record), shape)).toEqual(record);
    expect(lossesOf(record)).toEqual([2, 3, 4]);
    for (const other of [
      { probes: 2, directions: 2 },
      { probes: 3, directions: 1 },
    ])
      expect(decodeStep(encodeStep(record), other)).toBeNull();
  });

  test("of steps that are dropped have no more of them than there were, and a guard that is known", () => {
    const [first] = stepsOf(1);
    const shape = { probes: 2, directions: 1 };
    const step = { ...(first as NonNullable<typeof first>), step: 7 };
    for (const count of [1, 8]) {
      const dropped = { step: 7, count, guard: "collapsed" } as const;
      expect(decodeDropped(encodeDropped(dropped, step), shape, 7)).toEqual({ dropped, step });
      // That step stands in the record before.
      expect(decodeDropped(encodeDropped(dropped, null), shape, 8)).toEqual({ dropped, step: null });
      expect(decodeDropped(encodeDropped(dropped, null), shape, count - 1)).toBeNull();
    }
    const bytes = encodeDropped({ count: 9, guard: "collapsed" }, step);
    expect(decodeDropped(bytes, shape, 7)).toBeNull();
    bytes.writeUInt32LE(0, 1);
    expect(decodeDropped(bytes, shape, 7)).toBeNull();
    bytes.writeUInt32LE(1, 1);
    expect(decodeDropped(bytes, shape, 7)).not.toBeNull();
    bytes.writeUInt8(9, 0);
    expect(decodeDropped(bytes, shape, 7)).toBeNull();
  });

  test("of evaluations have an accuracy or none", () => {
    for (const accuracy of [null, 0, 0.625]) {
      const record = { step: 7, examples: 3, loss: 0.1, accuracy, best: accuracy === 0 };
      expect(decodeEvaluation(encodeEvaluation(record))).toEqual(record);
    }
    expect(decodeEvaluation(new Uint8Array(24))).toBeNull();
  });
});
