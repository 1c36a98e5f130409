/**
 * What hardware does in a second: one figure, or where it depends on the size of the work several, by that size,
 * ascending.
 */
export type Rate = number | readonly (readonly [size: number, perSecond: number])[];

/**
 * Seconds of `operations` on work of this size. What one more of the size costs is taken to change evenly from one
 * measured size to the next: an effort that is the same for every size, as reading a matrix, is a straight line then.
 * Beyond the largest the rate stays as it is there.
 */
export function secondsAt(rate: Rate, size: number, operations: number): number {
  if (operations === 0) return 0;
  if (typeof rate === "number") return operations / rate;
  const [first, second = first] = rate;
  const last = rate[rate.length - 1];
  if (first === undefined || second === undefined || last === undefined) throw new Error("a rate needs a figure");
  if (size >= last[0]) return operations / last[1];
  if (size < first[0]) {
    // Less work never takes longer, and never less than its share.
    const effort = Math.max(between(first, second, size), (effortOf(first) * size) / first[0]);
    return (operations / size) * Math.min(effort, effortOf(first));
  }
  const above = rate.findIndex(([at]) => at > size);
  const [from, to] = [rate[above - 1] ?? first, rate[above] ?? last];
  return (operations / size) * between(from, to, size);
}

type Point = readonly [size: number, perSecond: number];

/** Seconds of one operation for each of the size. */
function effortOf([size, perSecond]: Point): number {
  return size / perSecond;
}

function between(from: Point, to: Point, size: number): number {
  if (to[0] === from[0]) return (effortOf(from) * size) / from[0];
  return effortOf(from) + ((effortOf(to) - effortOf(from)) * (size - from[0])) / (to[0] - from[0]);
}
