/** Cores that other programs may use in a step that counts as quiet. */
export const QUIET_CORES = 0.05;

export function median(values) {
  if (values.length === 0) return Number.NaN;
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** The steps during which other programs left the machine alone; all of them when there is none. */
export function preferQuiet(steps) {
  const quiet = steps.filter((s) => s.foreign !== null && s.foreign < QUIET_CORES);
  return { used: quiet.length > 0 ? quiet : steps, quiet: quiet.length };
}

/**
 * One row of results from the steps of one program, warm-up left out.
 * @param steps each `{t, foreign}`: seconds, and cores that other programs used meanwhile (null: not known)
 * @param tokens of one step
 */
export function summarise(steps, tokens) {
  const { used, quiet } = preferQuiet(steps);
  const seconds = used.map((s) => s.t);
  return {
    seconds: median(seconds),
    best: Math.min(...seconds),
    tokensPerSecond: tokens / median(seconds),
    steps: steps.length,
    quiet,
    used: used.length,
    all: steps.map((s) => ({ seconds: s.t, foreign: s.foreign })),
  };
}

/**
 * How many times faster one program was than another in the same run, round by round: the median, the least and the
 * most over the rounds in which both were left alone, or over all when there is none.
 *
 * @param own steps, one a round, as `other`
 */
export function compareSpeed(own, other) {
  const rounds = own.map((step, i) => ({ ratio: other[i].t / step.t, foreign: worst(step.foreign, other[i].foreign) }));
  const { used, quiet } = preferQuiet(rounds);
  const ratios = used.map((r) => r.ratio);
  return { ratio: median(ratios), least: Math.min(...ratios), most: Math.max(...ratios), rounds: rounds.length, quiet };
}

function worst(a, b) {
  return a === null || b === null ? null : Math.max(a, b);
}

/** Largest relative difference of two lists of losses. @throws Error when they are not of one length */
export function largestDifference(a, b) {
  if (a.length !== b.length) throw new Error(`${a.length} losses and ${b.length} losses cannot be compared`);
  // Math.max gives NaN for a NaN among its arguments: a loss that is not a number agrees with nothing.
  return Math.max(0, ...a.map((x, i) => Math.abs(x - b[i]) / Math.abs(b[i])));
}
