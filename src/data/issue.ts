/** What can be wrong with a line of a data set, and all that is wrong with a data set in one error. */
import { type ErrorCode, isZo2Error, Zo2Error } from "../base/errors.js";

/** What is wrong with a line, with what that means. */
export const ISSUE_KINDS = {
  syntax: "not UTF-8, not JSON, or no object",
  shape: "fields that make no example, or hold what they must not",
  label: "a label that is none of the choices",
  choices: "choices that cannot be told apart",
  length: "longer than the limit",
  tokens: "no tokens that could be scored, or tokens that the model does not have",
} as const;

export type DataIssueKind = keyof typeof ISSUE_KINDS;

/** One line that cannot be used. */
export interface DataIssue {
  readonly kind: DataIssueKind;
  readonly code: ErrorCode;
  /** Where it stands: "train.jsonl:17", "examples[3]". */
  readonly place: string;
  /** Of a file, from 1, blank lines counted; null elsewhere. */
  readonly line: number | null;
  /** Begins with the place. */
  readonly message: string;
}

/** Lines that something is to be said of: how many, of which kinds, and the first of them. */
export interface DataIssues {
  readonly count: number;
  /** Kinds that occur. */
  readonly counts: Readonly<Partial<Record<DataIssueKind, number>>>;
  /** The first 20. */
  readonly issues: readonly DataIssue[];
}

/** Issues that are kept whole; the others are counted. */
const LISTED = 20;

/** What is wrong with one line. The message begins with its place. */
export class LineError extends Zo2Error {
  constructor(
    readonly kind: DataIssueKind,
    place: string,
    what: string,
    options?: { cause?: unknown },
  ) {
    super(kind === "length" ? "ZO2_ERR_LENGTH" : "ZO2_ERR_DATA", `${place}: ${what}`, options);
  }
}

/**
 * All that is wrong with a data set. The code is that of its lines where they share one, else `ZO2_ERR_DATA`; the
 * message lists the first 20, one a line.
 */
export class DataError extends Zo2Error implements DataIssues {
  readonly count: number;
  readonly counts: DataIssues["counts"];
  readonly issues: readonly DataIssue[];

  constructor(code: ErrorCode, message: string, { count, counts, issues }: DataIssues) {
    super(code, message);
    this.count = count;
    this.counts = counts;
    this.issues = issues;
  }
}

/** The kinds of errors of a line that do not say it themselves. */
const KIND_OF: Readonly<Partial<Record<ErrorCode, DataIssueKind>>> = {
  ZO2_ERR_DATA: "tokens",
  ZO2_ERR_LENGTH: "length",
  ZO2_ERR_TOKENIZER: "tokens",
};

/** What an error says of the line at `place`; undefined for one that is not about a line. */
export function issueOf(error: unknown, place: string, line: number | null): DataIssue | undefined {
  if (!isZo2Error(error)) return undefined;
  const kind = error instanceof LineError ? error.kind : KIND_OF[error.code];
  return kind === undefined ? undefined : { kind, code: error.code, place, line, message: error.message };
}

/** Collects issues, in memory for the first of them only. */
export class IssueLog implements DataIssues {
  count = 0;
  readonly counts: Partial<Record<DataIssueKind, number>> = {};
  readonly issues: DataIssue[] = [];
  private readonly codes = new Set<ErrorCode>();

  add(issue: DataIssue): void {
    this.count++;
    this.counts[issue.kind] = (this.counts[issue.kind] ?? 0) + 1;
    this.codes.add(issue.code);
    if (this.issues.length < LISTED) this.issues.push(issue);
  }

  /** @param of how many there are in all: "5000 lines". @param advice what to do about it. */
  error(name: string, of: string, advice: string): DataError {
    const [code = "ZO2_ERR_DATA", ...others] = this.codes;
    const [first] = this.issues;
    const shared = others.length > 0 ? "ZO2_ERR_DATA" : code;
    if (this.count === 1 && first !== undefined) return new DataError(shared, first.message, this);
    const listed = this.count > this.issues.length ? `The first ${this.issues.length}:` : "They are:";
    const head = `${name}: ${this.count} of ${of} cannot be used (${kindsText(this)}); ${advice}. ${listed}`;
    return new DataError(shared, [head, ...this.issues.map(({ message }) => message)].join("\n"), this);
  }
}

/** `12 label, 25 length`, in the order of `ISSUE_KINDS`. */
export function kindsText({ counts }: Pick<DataIssues, "counts">): string {
  const kinds = Object.keys(ISSUE_KINDS) as DataIssueKind[];
  return kinds.flatMap((kind) => (counts[kind] === undefined ? [] : [`${counts[kind]} ${kind}`])).join(", ");
}
