/** The tables of docs/journal.md: what a journal costs, and how fast it becomes weights again. */
import { table } from "./markdown.mjs";
import { provenance } from "./provenance.mjs";

/** Markdown of `journal-cpu.json`. */
export function journalBlock(result) {
  const { steps, reading, batch, seq, stepsOfBlock } = result;
  const rows = steps.map(({ way, seconds, quiet, blocks, ...kept }) => [
    way === "no run" ? "none" : `\`"${way}"\``,
    seconds.toFixed(4),
    kept.speed === undefined ? "1" : ratio(kept.speed),
    ...(kept.record === undefined
      ? ["", "", ""]
      : [(kept.record * 1e6).toFixed(0), `${(kept.share * 100).toFixed(2)} %`, String(kept.bytes)]),
    `${quiet} of ${blocks}`,
  ]);
  const head = ["durability", "s per step", "x none", "µs per record", "of a step", "bytes", "quiet blocks"];
  const [hashed, plain, file] = reading.rows.map(({ gigabytesPerSecond }) => gigabytesPerSecond.toFixed(2));
  return [
    `A MeZO step of ${million(result.parameters)} parameters in fp32 on a batch of ${batch} x ${seq} tokens, on ` +
      `${result.threads} threads; blocks of ${stepsOfBlock} steps, by turns. A record is timed from the call until ` +
      "it is in the file, with the sync where one belongs to it. Medians, of the quiet blocks where there are any.",
    "",
    table(head, rows, 1),
    "",
    `Weights are read at ${hashed} GB/s with fingerprints and at ${plain} GB/s without ` +
      `(${ratio(reading.speed)} times the speed); their file alone, in the system's cache, at ${file} GB/s.`,
    "",
    provenance(result),
  ].join("\n");
}

/** Markdown of `replay-cpu.json`. */
export function replayBlock(result) {
  const { rows, switches, noise } = result;
  const lines = rows.flatMap(({ weights, replays, steps }) =>
    replays.map((replay) => [
      weights,
      replay.noise,
      replay.stepsPerSecond.toFixed(2),
      million(replay.elementsPerSecond),
      noise[replay.noise] === null ? "" : million(noise[replay.noise]),
      `${replay.quiet} of ${replay.all.length} (${steps} steps)`,
    ]),
  );
  const times = rows.map(({ weights, base, snapshot }) => {
    const worth = replayedMeanwhile({ rows }, weights, snapshot.seconds);
    return (
      `${weights}: the base is read in ${base.seconds.toFixed(2)} s, a snapshot in ${snapshot.seconds.toFixed(2)} s, ` +
      `in which ${worth.toFixed(1)} steps are replayed`
    );
  });
  const switched = switches.map(
    ({ steps, fromAnother }) => `${fromAnother.toFixed(1)} s to a run of ${steps.toLocaleString("en")} steps`,
  );
  return [
    `Replay of a run of ${million(rows[0].parameters)} parameters on ${result.threads} threads, with what the ` +
      "generator of the noise alone reaches there:",
    "",
    table(["weights", "noise", "steps/s", "weights/s", "noise alone/s", "quiet"], lines, 2),
    "",
    `${times.join("; ")} (Gaussian noise). ` +
      (switched.length === 0 ? "" : `\`model.withRuns\` goes from another run (fp16) in ${switched.join(", ")}.`),
    "",
    provenance(result),
  ].join("\n");
}

/** Markdown of `smollm2-run-cpu.json`. */
export function smollm2RunBlock({ steps, bytes, seconds, equal, ...about }) {
  const kib = (count) => `${(count / 1024).toFixed(1)} KiB`;
  const times = Math.floor(bytes.weights / bytes.journal).toLocaleString("en");
  return [
    table(
      [`of a run of ${steps} steps`, "size"],
      [
        ["`run.zo2`, the journal", kib(bytes.journal)],
        ["its compact form", kib(bytes.compact)],
        ["`model.safetensors`, the tuned weights in fp32", `${(bytes.weights / 2 ** 20).toFixed(0)} MiB`],
      ],
      1,
    ),
    "",
    `The weights are ${times} times as large as the journal. Training took ${seconds.training.toFixed(0)} s; the ` +
      `replay, from weights in memory to weights in memory, ${seconds.replay.toFixed(1)} s. Both files have ` +
      `${equal ? "the same bytes" : "other bytes"}.`,
    "",
    provenance(about),
  ].join("\n");
}

/** Steps of Gaussian noise whose replay takes so many seconds. */
export function replayedMeanwhile({ rows }, weights, seconds) {
  const row = rows.find((one) => one.weights === weights);
  return row.replays.find(({ noise }) => noise === "gaussian").stepsPerSecond * seconds;
}

const million = (count) => `${(count / 1e6).toFixed(0)} M`;
const ratio = ({ ratio: value, least, most }) => `${value.toFixed(2)} (${least.toFixed(2)} to ${most.toFixed(2)})`;
