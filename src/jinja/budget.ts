/**
 * What one rendering may cost. A template comes with a model from a stranger: it may not run without an end, nor fill
 * the memory. Renderings are synchronous, so that at most one is charged at a time on a thread.
 */
import { TemplateError } from "./errors.js";

/** Far more than the largest templates need for thousands of turns; used up within seconds. */
const MAX_WORK = 4_000_000;
/** Characters of one text, and items of one list. */
const MAX_TEXT = 2 ** 26;
const MAX_ITEMS = 2 ** 20;

let left = MAX_WORK;

/** Runs `work` with a budget of its own. */
export function withBudget<T>(work: () => T): T {
  const outer = left;
  left = MAX_WORK;
  try {
    return work();
  } finally {
    left = outer;
  }
}

/** A step is about one evaluation of an expression. */
export function spend(steps: number): void {
  left -= steps;
  if (left < 0) throw new TemplateError(`does more than ${MAX_WORK} steps; it may loop without an end`);
}

/** To be called before a text of `length` characters is made. */
export function spendText(length: number): void {
  if (!(length <= MAX_TEXT))
    throw new TemplateError(`makes a text of ${length} characters; at most ${MAX_TEXT} are allowed`);
  spend(length >> 6);
}

/** To be called before a list of `length` items is made. */
export function spendItems(length: number): void {
  if (!(length <= MAX_ITEMS))
    throw new TemplateError(`makes a list of ${length} items; at most ${MAX_ITEMS} are allowed`);
  spend(length);
}
