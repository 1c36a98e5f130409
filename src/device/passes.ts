import { at } from "../base/at.js";
import { writeBatch } from "../memory/batch-tables.js";
import { STEPS_IN_FLIGHT } from "../memory/control.js";
import type { Pass } from "../schedule/facts.js";
import type { PassData } from "./pass-data.js";
import type { Active } from "./plans.js";
import type { SessionOptions } from "./options.js";
import type { Encode, Queue } from "./queue.js";
import type { Seals } from "./seals.js";
import { putBytes } from "./place.js";
import { checkSticky, type Readback, writeCoefficients } from "./readback.js";
import type { CacheUse } from "./key-value-cache.js";
import type { Trace } from "./trace.js";

/** What a pass is, but for what its data and its turn say. */
export type PassKind = Pick<Pass, "probes" | "stores" | "yields"> & {
  readonly state?: number;
  /** Coefficients to put in the place of those of the losses. */
  readonly coefficients?: readonly number[] | undefined;
  readonly cache?: CacheUse | undefined;
  /** Of a flush: the units that it visits. @default all */
  readonly only?: readonly number[] | undefined;
  /** What the seals of the units say that it writes to a file; absent: they get none, and wait for nothing. */
  readonly note?: Promise<Uint8Array | null> | undefined;
};

/** Submits passes, two at most in flight: batch tables and readback memory exist twice. */
export class Passes {
  private count = 0;
  private readonly ringFree: Promise<unknown>[] = Array.from({ length: STEPS_IN_FLIGHT }, () => Promise.resolve());
  /** What was said of the flags last. */
  private failure: string | null = null;
  /** Times the commands of every pass, when it is there. */
  trace: Pick<Trace, "around"> | null = null;

  constructor(
    private readonly queue: Queue,
    private readonly seals: Seals,
    private readonly options: SessionOptions,
  ) {}

  /** Resolves when no pass is in flight; never rejects. */
  idle(): Promise<unknown> {
    return Promise.all(this.ringFree);
  }

  /** Enqueues a pass; resolves when that is done, with a promise of what `read` makes of the memory that comes back. */
  async enqueue<T>(
    active: Active,
    kind: PassKind,
    data: PassData,
    read: (back: Readback) => T,
  ): Promise<{ readonly end: Promise<T> }> {
    const { plan, objects } = active;
    const number = this.count++;
    const ring = number % STEPS_IN_FLIGHT;
    await this.ringFree[ring];
    const { probes, stores, yields, state = null, coefficients, cache, only, note } = kind;
    const writes = stores && plan.stagingOf.some((staging) => staging !== null && staging.write !== null);
    const seal = writes && note !== undefined ? this.seals.create(number) : null;
    const pass: Pass = {
      ...{ probes, stores, yields, state, ring, ...(only === undefined ? {} : { only }) },
      injects: coefficients !== undefined,
      microBatches: data.kind === "flush" ? 0 : data.batch.length,
      pending: data.pending.map((update) => update.state),
      cache:
        cache === undefined
          ? null
          : { moves: cache.cache.tier === "host", upload: cache.used.some(({ count }) => count > 0) },
    };
    if (data.kind !== "flush") {
      const staging = at(objects.host.staging, ring);
      const tables = new ArrayBuffer(staging.whole.bytes);
      writeBatch(data.batch, plan.batch, tables, data.table, this.options.positionRow);
      putBytes(staging.whole, tables);
      if (coefficients !== undefined) writeCoefficients(staging.coefficients, coefficients);
    }
    const commands = active.commands(pass);
    this.options.onPass?.(pass, commands);
    const issue = active.issue(data, seal);
    const plain: Encode = (words, stream, { work }) => issue.encode(words, stream, work);
    const encode = this.trace?.around(plan, issue, data, plain) ?? plain;
    const { done } = this.queue.submit(commands, encode);
    if (seal !== null && note !== undefined) void this.seals.open(seal, note);
    const back = at(objects.host.readback, ring);
    const ran = done.catch((error: unknown) => {
      issue.undo();
      throw error;
    });
    const end = ran.then(() => {
      this.check(back, data.kind === "flush");
      return read(back);
    });
    this.ringFree[ring] = end.catch(() => undefined);
    return { end };
  }

  /** The flags were cleared. */
  forgetFailure(): void {
    this.failure = null;
  }

  /** An update that went wrong does so in every visit until it is stored: the flush that stores it is no news. */
  private check(back: Readback, flushes: boolean): void {
    try {
      checkSticky(back, this.options.wire);
    } catch (error) {
      const { message } = error as Error;
      if (flushes && message === this.failure) return;
      this.failure = message;
      throw error;
    }
  }
}
