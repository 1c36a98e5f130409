import type { Output } from "./output.js";
import type { Value } from "./values.js";

/** What a rendering tells of itself, in places of the text that it writes. */
export interface Watcher {
  /** A round of a loop over `item` wrote what lies from `begin` to `end`. */
  readonly round?: (item: Value, begin: number, end: number) => void;
  /** `{% generation %}` wrote what lies from `begin` to `end`. */
  readonly generated?: (begin: number, end: number) => void;
}

/** A rendering under way. */
export interface Run {
  readonly main: Output;
  /** Where text goes now: the main text, or that of a macro or a captured block. */
  out: Output;
  /** Of the statement that is being run, from 1. */
  line: number;
  readonly watcher: Watcher;
}

/** What `write` writes, as a text of its own. */
export function captured(run: Run, into: Output, write: () => void): string {
  const { out } = run;
  run.out = into;
  try {
    write();
  } finally {
    run.out = out;
  }
  return into.text();
}
