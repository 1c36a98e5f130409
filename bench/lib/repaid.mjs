/** From which number of directions on the transfer of the weights costs a step no more time. */

/** How much longer a step may take than one whose weights are resident. */
export const NEAR = 0.05;

/**
 * @param rows `{directions, ...}` of one method and one residence, in any order
 * @param holds whether what is asked is so in a row
 * @returns the least number of directions from which on it is so in every row; null: not in that of the most
 */
export function fromDirections(rows, holds) {
  const sorted = rows.toSorted((a, b) => a.directions - b.directions);
  const last = sorted.findLastIndex((row) => !holds(row));
  return sorted[last + 1]?.directions ?? null;
}
