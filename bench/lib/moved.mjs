/**
 * Bytes that the commands of a step move, traced or simulated ones: to the device and from it, and from a disk and to
 * it.
 *
 * @param spans each `{lane, bytes?, diskBytes?}`
 */
export function movedBytes(spans) {
  const sum = (of, field) => spans.reduce((total, s) => (s.lane === of ? total + (s[field] ?? 0) : total), 0);
  return {
    ...{ uploaded: sum("upload", "bytes"), offloaded: sum("offload", "bytes") },
    ...{ read: sum("read", "diskBytes"), written: sum("write", "diskBytes") },
  };
}
