/** The lanes of one step of a run, traced while it trains and kept in its folder. */
import { join } from "node:path";
import { replaceTextFile } from "../base/files.js";
import { messageOf } from "../base/guards.js";
import type { Warning } from "../base/warnings.js";
import { isDrawn } from "../device/noise.js";
import type { StepRequest } from "../device/requests.js";
import type { Session } from "../device/session.js";
import type { Trace } from "../device/trace.js";
import { keptHardware } from "../measure/this-machine.js";
import type { Batch } from "../memory/batch-tables.js";
import { LANES_FILE, lanesText } from "../page/lanes-file.js";
import { LANES } from "../schedule/command.js";
import { hardwareOf } from "../simulate/hardware.js";
import { measuredStep, predictedStep } from "./record.js";

/** Of steps that follow on one another, from 0: the first has nothing pending, and meets cold memory. */
const SHOWN = 2;

interface Traced {
  readonly index: number;
  readonly batch: Batch;
  readonly request: StepRequest;
  readonly trace: Trace;
}

/**
 * Traces the third of the first steps that nothing comes between, and the one before it, at whose end it begins. It
 * costs two events a command of these two steps, and once a wait until all lanes have ended; it changes no bit.
 */
export class StepLanes implements Disposable {
  private following = 0;
  private readonly traced: Traced[] = [];
  private done = false;

  /** @param dir folder of the run */
  constructor(
    private readonly session: Session,
    private readonly dir: string,
    private readonly overlap: boolean,
  ) {}

  /** Calls `enqueue`, which puts step `index` on the device. */
  async enqueue<T>(index: number, batch: Batch, request: StepRequest, enqueue: () => Promise<T>): Promise<T> {
    const place = this.following++;
    if (this.done || place < SHOWN - 1 || place > SHOWN) return enqueue();
    this.traced.push({ index, batch, request, trace: this.session.trace() });
    try {
      return await enqueue();
    } finally {
      this.session.endTrace();
    }
  }

  /** Something stands between the steps that are in flight and those that come. */
  interrupt(): void {
    if (this.traced.length > SHOWN - 1) return;
    this.following = 0;
    this[Symbol.dispose]();
  }

  /**
   * Writes the file when the result of the step that is shown, `index`, is there.
   * @returns what stood in the way; the run is none the worse for it
   */
  async keep(index: number): Promise<Warning | null> {
    const shown = this.traced[SHOWN - 1];
    if (this.done || shown?.index !== index) return null;
    this.done = true;
    const path = join(this.dir, LANES_FILE);
    try {
      await this.session.settle();
      await replaceTextFile(path, await this.text(shown));
      return null;
    } catch (error) {
      return {
        code: "ZO2_WARN_LANES",
        message: `${path}: the lanes of step ${index} are not kept: ${messageOf(error)}`,
      };
    } finally {
      this[Symbol.dispose]();
    }
  }

  [Symbol.dispose](): void {
    for (const { trace } of this.traced.splice(0)) trace.dispose();
  }

  private async text({ index, batch, request: { probes, noise } }: Traced): Promise<string> {
    const { session, overlap } = this;
    const info = session.info();
    const measured = measuredStep(
      this.traced.map(({ trace }) => trace.take()),
      SHOWN - 1,
      session,
    );
    const known = hardwareOf(info.name) ?? (await keptHardware(info));
    // Noise that a test gives is read like any other table.
    const kind = isDrawn(noise) ? noise : "gaussian";
    const steps =
      known === undefined
        ? [measured]
        : [predictedStep(session, batch, { noise: kind, overlap, hardware: known, probes }), measured];
    return lanesText({
      ...{ step: index, device: info.name, figures: known === undefined ? null : `${known.name}, ${known.source}` },
      lanes: LANES.filter((lane) => steps.some(({ bars }) => bars.some((bar) => bar.lane === lane))),
      steps: [...steps],
    });
  }
}
