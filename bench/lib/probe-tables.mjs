/** The tables of docs/methods.md that say what several probes in one visit cost and save. */
import { table } from "./markdown.mjs";
import { provenance } from "./provenance.mjs";

const PLACES = { host: "host memory", disk: "disk" };
/** Whose seconds are shown one by one; the others are in the table of all. */
const SHOWN = ["rtx-4090", "h100"];

/** Markdown of `probes-cpu.json`: every row that was measured, those that streaming makes slow included. */
export function probesBlock(result) {
  const { rows, repaid, asked, runs, threads, near } = result;
  const resident = rows.filter(({ to }) => to === "device");
  const lines = [
    `Steps of ${asked.model} (${count(asked.parameters)} parameters, fp32) with weights resident, streamed from host ` +
      `memory and streamed from a file, by turns in one process on ${runs.name} (${threads} threads). Ratios: the ` +
      `step's time over that of the resident one, median of ${asked.rounds} rounds, in brackets the least and the ` +
      "most.",
    "",
    table(
      [
        ...["batch x sequence", "method", "directions", "forward passes", "resident, s per step", "s per pass"],
        ...["from host memory, s per pass", "ratio", "from disk, s per pass", "ratio"],
      ],
      resident.map((row) => [
        ...[sizeOf(row), `\`${row.method}\``, String(row.directions), String(row.passes)],
        ...[row.seconds.toFixed(3), row.secondsPerPass.toFixed(4)],
        ...Object.keys(PLACES).flatMap((to) => {
          const { secondsPerPass, ratio, least, most } = rows.find(
            (other) => other.to === to && isSameStep(other, row),
          );
          return [secondsPerPass.toFixed(4), `${ratio.toFixed(2)} (${least.toFixed(2)} to ${most.toFixed(2)})`];
        }),
      ]),
      2,
    ),
    "",
    `Directions from which on a streamed step takes at most ${percent(near)} longer than the resident one:`,
    "",
    table(
      ["batch x sequence", "method", ...Object.values(PLACES).map((place) => `from ${place}`)],
      repaid
        .filter(({ to }) => to === "host")
        .map((row) => [
          ...[sizeOf(row), `\`${row.method}\``],
          ...Object.keys(PLACES).map((to) => {
            const { from } = repaid.find((other) => other.to === to && isSameMethod(other, row));
            return from === null ? `not with ${Math.max(...directionsOf(resident, row))}` : String(from);
          }),
        ]),
      2,
    ),
    "",
    `A traced step moved, whatever its directions: from host memory ${moved(rows, "host", "uploaded")} to the device ` +
      `and ${moved(rows, "host", "offloaded")} back; from disk ${moved(rows, "disk", "read")} more to host memory ` +
      `and ${moved(rows, "disk", "written")} back to the file. On a CPU, device and host memory are the same, and a ` +
      "transfer takes a core from what computes.",
    "",
    provenance(result),
  ];
  return lines.join("\n");
}

/** Markdown of `probes-plan.json`. */
export function probesPlanBlock(result) {
  const { rows, gpus, directions, shapes, type, held, near, sources } = result;
  const most = Math.max(...directions);
  const cases = rows.filter(({ gpu }) => gpu === rows[0].gpu);
  const from = (n) => (n === null ? `> ${most}` : String(n));
  const detailed = rows.filter((row) => SHOWN.includes(row.gpu) && nameOf(row) === shapes[0]);
  const lines = [
    "**Predictions** from the commands of a step and data sheets; no GPU has confirmed any. Steps of `mezo-sgd` " +
      `along N directions (2N forward passes) in ${type}, all weights in host memory or all on disk, ${held.slots} ` +
      `slots, units of at most ${count(held.unitBytes / 2 ** 20)} MiB, prepared ahead. In each cell: from which N on ` +
      "no transfer is the busiest lane / the step takes at most " +
      `${percent(near)} longer than with all weights resident, on a device that had the memory.`,
    "",
    table(
      ["model", "sequences x tokens", "weights in", "GiB to the device / back", ...Object.values(gpus)],
      cases.map((row) => [
        ...[row.model, sizeOf(row), PLACES[row.to], bytesOf(row)],
        ...Object.keys(gpus).map((gpu) => {
          const { computes, repaid } = rows.find((r) => r.gpu === gpu && isSameCase(r, row));
          return `${from(computes)} / ${from(repaid)}`;
        }),
      ]),
      3,
    ),
    "",
    "The bytes are those of a step, whatever N; from disk as many are read and written besides. Predicted seconds " +
      `per forward pass of steps on ${sizeOf(rows[0])} tokens; a step takes 2N times as long:`,
    "",
    table(
      ["model", "weights in", "GPU", ...directions.map((n) => `N = ${n}`), "resident, N = 1", `resident, N = ${most}`],
      detailed.map(({ model, to, gpu, steps }) => [
        ...[model, PLACES[to], gpus[gpu], ...steps.map(({ secondsPerPass }) => secondsPerPass.toPrecision(3))],
        ...[steps[0], steps.at(-1)].map(({ secondsPerPass, ratio }) => (secondsPerPass / ratio).toPrecision(3)),
      ]),
      3,
    ),
    "",
    `Figures: ${[...new Set(sources.flatMap((source) => namesIn(source)))].join(", ")}.`,
    "",
    provenance(result),
  ];
  return lines.join("\n");
}

const count = (n) => n.toLocaleString("en");
const percent = (share) => `${(100 * share).toFixed(0)} %`;
const nameOf = ({ batch, seq }) => `${batch}x${seq}`;
const sizeOf = ({ batch, seq }) => `${batch} x ${count(seq)}`;
const isSameMethod = (a, b) => nameOf(a) === nameOf(b) && a.method === b.method;
const isSameStep = (a, b) => isSameMethod(a, b) && a.directions === b.directions;
const isSameCase = (a, b) => a.model === b.model && a.to === b.to && nameOf(a) === nameOf(b);
const directionsOf = (rows, row) => rows.filter((r) => isSameMethod(r, row)).map(({ directions }) => directions);

/** What every step of a residence moved one way; the least and the most where batches look up more or fewer rows. */
function moved(rows, to, way) {
  const own = rows.filter((row) => row.to === to);
  const batches = [...new Set(own.map(nameOf))];
  const sizes = batches.map((batch) =>
    sameBytes(own.filter((row) => nameOf(row) === batch).map(({ bytes }) => bytes[way])),
  );
  const [least, most] = [Math.min(...sizes), Math.max(...sizes)].map((bytes) => (bytes / 2 ** 20).toFixed(0));
  return `${least === most ? least : `${least} to ${most}`} MiB`;
}

/** GiB of a step to the device and back. */
function bytesOf({ steps }) {
  const ways = ["uploaded", "offloaded"].map((way) => sameBytes(steps.map(({ bytes }) => bytes[way])));
  return ways.map((bytes) => (bytes / 2 ** 30).toFixed(1)).join(" / ");
}

/** @throws Error where they are not the same: the tables say that directions do not change them */
function sameBytes(values) {
  const [first, ...others] = new Set(values);
  if (others.length > 0)
    throw new Error(`steps along other directions move other bytes: ${[first, ...others].join(", ")}`);
  return first;
}

/** Of the words that say where figures come from, those that name a publication. */
function namesIn(source) {
  return source.split(/[,;] /).filter((part) => /whitepaper|data sheet/.test(part));
}
