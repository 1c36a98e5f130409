/**
 * The element at a place that exists. @throws RangeError for a place that does not: a mistake of ours, never a default
 */
export function at<T>(items: ArrayLike<T>, index: number): T {
  const item = items[index];
  if (item === undefined) throw new RangeError(`there is no item ${index} among ${items.length}`);
  return item;
}
