import { Zo2Error } from "../base/errors.js";
import { Pace } from "../base/pace.js";
import { type DataIssues, IssueLog, issueOf } from "./issue.js";

/** How far the check of a data set has come. */
export interface CheckProgress {
  /** Of the data set. */
  readonly name: string;
  /** Lines or examples that were looked at so far, bad ones included. */
  readonly lines: number;
  /** Of the data set, 0 to 1; null where its size is not known before its end. */
  readonly share: number | null;
}

export interface CheckOptions {
  /** Whether lines that cannot be used are left out instead of being an error. @default false */
  readonly skipBadLines?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onCheck?: ((progress: CheckProgress) => void) | undefined;
}

/** What the check of a data set has found. */
export interface CheckResult {
  /** Lines that are not blank, or examples. */
  readonly lines: number;
  /** Those that were left out. */
  readonly skipped: DataIssues;
}

/** @throws Zo2Error ZO2_ERR_ABORTED */
export function checkAborted(name: string, signal: AbortSignal | undefined): void {
  if (signal?.aborted === true)
    throw new Zo2Error("ZO2_ERR_ABORTED", `${name}: reading was stopped`, { cause: signal.reason });
}

/** Where one line of a data set stands. */
export interface LinePlace {
  readonly place: string;
  /** Of a file, from 1. */
  readonly line: number | null;
  /** Of the data set, up to this line. */
  readonly share: number | null;
}

/** One pass over the lines of a data set, in which what is wrong is collected, and the event loop turns. */
export class Check {
  private lines = 0;
  private readonly bad = new IssueLog();
  private readonly pace = new Pace();

  /** @param unit what the data set holds: "lines". */
  constructor(
    private readonly name: string,
    private readonly unit: string,
    private readonly options: CheckOptions,
  ) {}

  /**
   * Whether `look` finds the next line good.
   * @throws Zo2Error ZO2_ERR_ABORTED; what `look` throws that is not about the line
   */
  async passes({ place, line, share }: LinePlace, look: () => void | Promise<void>): Promise<boolean> {
    if (this.pace.due) {
      this.options.onCheck?.({ name: this.name, lines: this.lines, share });
      await this.pace.turn();
    }
    checkAborted(this.name, this.options.signal);
    this.lines++;
    try {
      await look();
      return true;
    } catch (error) {
      const issue = issueOf(error, place, line);
      if (issue === undefined) throw error;
      this.bad.add(issue);
      return false;
    }
  }

  /** @throws DataError for bad lines, where they are not left out or nothing would be left */
  end(): CheckResult {
    const { lines, bad, options } = this;
    options.onCheck?.({ name: this.name, lines, share: 1 });
    const noneLeft = lines > 0 && bad.count === lines;
    if (bad.count > 0 && (options.skipBadLines !== true || noneLeft)) {
      const advice =
        options.skipBadLines === true ? "none is left" : 'mend them, or leave them out with option "skipBadLines"';
      throw bad.error(this.name, `${lines} ${this.unit}`, advice);
    }
    return { lines, skipped: bad };
  }
}
