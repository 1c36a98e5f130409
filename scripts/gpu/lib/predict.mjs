/** Published figures of devices, what they predict, and measurements beside predictions. */
import fs from "node:fs";
import path from "node:path";
import { root } from "./root.mjs";

const { attainable, contextBytes, devices, link, prepareInstructions } = JSON.parse(
  fs.readFileSync(path.join(root, "bench", "gpu", "devices.json"), "utf8"),
);

const WARP = 32;
const SCHEDULERS = 4;
/** Of a device whose link nvidia-smi does not name. */
const USUAL_LINK = { generation: 4, lanes: 16 };

/**
 * What a device should reach, in bytes, FLOP and warp instructions per second: published figures where its name is
 * known, its own clocks otherwise.
 *
 * @param facts the line of device_facts
 * @param linkOf `{generation, lanes}` of its link to the host; null where that is not known
 */
export function ratesOf(facts, linkOf) {
  const published = devices.find(({ match }) => new RegExp(match).test(facts.name));
  const { generation, lanes } = linkOf ?? USUAL_LINK;
  const perLane = link.bytesPerLane[generation] ?? link.bytesPerLane[USUAL_LINK.generation];
  const positive = (value, otherwise) => (value > 0 ? value : otherwise);
  const known = published ?? { ...facts, bytesPerSecond: facts.memoryBytesPerSecond };
  return {
    source: published?.source ?? "not in bench/gpu/devices.json: clocks that the driver names",
    link: `PCIe ${generation} x ${lanes}${linkOf === null ? " (assumed)" : ""}`,
    memory: attainable.memory * positive(known.bytesPerSecond, facts.copyBytesPerSecond),
    matrix: attainable.matrix * positive(known.flopsPerSecond, 1e14),
    transfer: link.payload * perLane * lanes,
    issue: attainable.issue * facts.multiprocessors * SCHEDULERS * positive(facts.clockHertz, 1e9),
  };
}

/**
 * Elements per second for which prepare can draw noise, by the instructions of one that draws twice for each, for its
 * update and its perturbation.
 */
export function drawRate(noise, rates) {
  return (2 * rates.issue * WARP * prepareInstructions.elements) / prepareInstructions[noise];
}

/** What a context takes of device memory beside a program's own, by public reports. */
export const CONTEXT_BYTES = contextBytes;

/** The least time that bytes and operations allow. */
export function roofline({ bytes = 0, flops = 0 }, rates) {
  return Math.max(bytes / rates.memory, flops / rates.matrix);
}

/**
 * A measurement beside its prediction.
 *
 * @param about `name`, `unit`; `measured`, `predicted`; `basis`: what the prediction comes from; `peer`: what another
 *   program reached in the same call, null without one; `goal`: `{of: "predicted" or "peer", least or most: ratio}`,
 *   or null
 * @returns it with `ratio` and `toPeer`, measured over each, and `met`, null without a goal or without its peer
 * @throws Error when there is no number on either side
 */
export function row({ name, unit, measured, predicted, basis, peer = null, goal = null, ...rest }) {
  for (const [what, value] of Object.entries({ measured, predicted })) {
    if (!Number.isFinite(value))
      throw new Error(`${name}: ${what} is ${value}; every row has a number and a prediction`);
  }
  const over = (other) => (other === null ? null : other === measured ? 1 : other === 0 ? null : measured / other);
  const ratio = over(predicted);
  const toPeer = over(peer);
  const judged = goal === null ? null : goal.of === "peer" ? toPeer : ratio;
  const within = (value) => (goal.least ?? -Infinity) <= value && value <= (goal.most ?? Infinity);
  // A measurement of what should be nothing has no ratio, and misses.
  const missed = goal?.of === "predicted" && ratio === null;
  const met = missed ? false : judged === null ? null : within(judged);
  return { name, unit, measured, predicted, ratio, basis, peer, toPeer, goal, met, ...rest };
}
