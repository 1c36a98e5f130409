/**
 * What a timeline shows: how long each lane worked, how long two, and three or more, worked at once, and what the same
 * commands would have taken one after another. Spans are `{lane, begin, end}` in seconds; those of one lane do not
 * overlap.
 */
export function overlapOf(spans) {
  const marks = spans.flatMap(({ lane, begin, end }) => [
    { at: begin, lane, step: 1 },
    { at: end, lane, step: -1 },
  ]);
  // At one instant ends come first, so that a span that begins where another ends does not overlap it.
  marks.sort((a, b) => a.at - b.at || a.step - b.step);
  const open = new Map();
  const busyLanes = () => [...open.values()].filter((count) => count > 0).length;
  const together = [0, 0, 0, 0];
  let last = marks[0]?.at ?? 0;
  for (const { at, lane, step } of marks) {
    together[Math.min(busyLanes(), 3)] += at - last;
    last = at;
    open.set(lane, (open.get(lane) ?? 0) + step);
  }
  const lanes = {};
  for (const { lane, begin, end } of spans) lanes[lane] = (lanes[lane] ?? 0) + (end - begin);
  const serial = Object.values(lanes).reduce((sum, seconds) => sum + seconds, 0);
  const wall = marks.length === 0 ? 0 : last - marks[0].at;
  const [idleSeconds, oneLaneSeconds, twoLanesSeconds, threeLanesSeconds] = together;
  return {
    wallSeconds: wall,
    serialSeconds: serial,
    busySeconds: lanes,
    idleSeconds,
    oneLaneSeconds,
    twoLanesSeconds,
    threeLanesSeconds,
  };
}

/**
 * The least that a step can take: the busiest lane, or all lanes one after another where they do not `overlap`; of each
 * command its bytes over the transfer rate, and the largest of its bytes on the device, its operations and the noise
 * that it draws, each over its rate. Rates in bytes, FLOP and draws per second.
 *
 * @param commands `{lane, bytes?, deviceBytes?, flops?, draws?}`
 */
export function predictStep(
  commands,
  { transferRate, memoryRate, flopRate, drawRate = Number.POSITIVE_INFINITY },
  overlap = true,
) {
  const lanes = {};
  for (const { lane, bytes = 0, deviceBytes = 0, flops = 0, draws = 0 } of commands) {
    const onDevice = Math.max(deviceBytes / memoryRate, flops / flopRate, draws / drawRate);
    lanes[lane] = (lanes[lane] ?? 0) + bytes / transferRate + onDevice;
  }
  const seconds = Object.values(lanes);
  return { laneSeconds: lanes, seconds: overlap ? Math.max(0, ...seconds) : seconds.reduce((sum, s) => sum + s, 0) };
}
