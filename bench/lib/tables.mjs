import { kernelsBlock, preparePathBlock } from "./kernel-tables.mjs";
import { table } from "./markdown.mjs";
import { methodsAccuracyBlock } from "./method-tables.mjs";
import { OPT_125M } from "./opt-shape.mjs";
import { probesBlock, probesPlanBlock } from "./probe-tables.mjs";
import { provenance } from "./provenance.mjs";
import { autoRateBlock } from "./rate-tables.mjs";
import { journalBlock, replayBlock, smollm2RunBlock } from "./run-tables.mjs";
import { ablationsBlock, inPlaceBlock, planChoicesBlock, planModelsBlock, predictBlock } from "./plan-tables.mjs";
import { wireAccuracyBlock, wireLossBlock } from "./wire-tables.mjs";

const KINDS_SHOWN = 6;
/** Steps of one mark of a curve. */
const SMOOTHED_OVER = 25;
const MARKS = "▁▂▃▄▅▆▇█";

/** The blocks of the pages that are made from results: marker, file of results, and what stands between the markers. */
export const TABLES = {
  plan: { results: "plan.json", render: planBlock },
  opt125m: { results: "opt125m-cpu.json", render: opt125mBlock },
  "event-loop": { results: "event-loop-cpu.json", render: eventLoopBlock },
  smollm2: { results: "smollm2-cpu.json", render: smollm2Block },
  "smollm2-run": { results: "smollm2-run-cpu.json", render: smollm2RunBlock },
  mutants: { results: "mutants.json", render: mutantsBlock },
  journal: { results: "journal-cpu.json", render: journalBlock },
  replay: { results: "replay-cpu.json", render: replayBlock },
  kernels: { results: "kernels.json", render: kernelsBlock },
  "prepare-path": { results: "kernels.json", render: preparePathBlock },
  "wire-loss": { results: "wire-loss.json", render: wireLossBlock },
  probes: { results: "probes-cpu.json", render: probesBlock },
  "probes-plan": { results: "probes-plan.json", render: probesPlanBlock },
  "methods-accuracy": { results: "methods-accuracy.json", render: methodsAccuracyBlock },
  "wire-accuracy": { results: "wire-accuracy.json", render: wireAccuracyBlock },
  "plan-choices": { results: "plan-choices.json", render: planChoicesBlock },
  "plan-models": { results: "plan-models.json", render: planModelsBlock },
  predict: { results: "predict-cpu.json", render: predictBlock },
  ablations: { results: "ablations-cpu.json", render: ablationsBlock },
  "auto-rate": { results: "auto-rate.json", render: autoRateBlock },
  "in-place": { results: "in-place-cpu.json", render: inPlaceBlock },
};

/** Markdown of `mutants.json`: how many mutants of a sample the tests noticed, by room, and what that leaves open. */
export function mutantsBlock(result) {
  const { all, rooms, seed, share, seconds } = result;
  const count = (n) => n.toLocaleString("en");
  const row = (name, r) => [
    name,
    ...[r.mutants, r.sampled, r.killed, r.timedOut, r.survived, r.uncovered].map(count),
    r.score === null ? "" : percent(r.score),
  ];
  const spread = 1.96 * Math.sqrt((all.score * (1 - all.score)) / all.sampled);
  const lines = [
    table(
      ["room", "mutants", "sampled", "killed", "timed out", "survived", "run by no unit test", "noticed"],
      [...Object.entries(rooms).map(([name, r]) => row(`\`${name}/\``, r)), row("all", all)],
      1,
    ),
    "",
    `Each mutant was in the sample with the probability ${share}, by seed ${seed}; ${count(all.static)} that change ` +
      "what a module makes when it is loaded were left out. " +
      `A sample of ${count(all.sampled)} leaves about ${percent(spread)} either way (95 %) for the whole. ` +
      `Unit tests alone, ${Math.round(seconds / 60)} minutes.`,
    "",
    provenance(result),
  ];
  return lines.join("\n");
}

/** Markdown of `plan.json`: what a step takes of a device by the model's size, before anything has run. */
export function planBlock(result) {
  const { memory, moved, planning, tokens } = result;
  const lines = [
    `Device memory of a MeZO step in fp16 on a sequence of ${tokens.toLocaleString("en")} tokens, by the memory ` +
      "plan, to the byte. Streamed: three units on the device, as large as the largest decoder layer, or of at most " +
      `${mebibytes(planning.unitBytes)}.`,
    "",
    table(
      [
        "model",
        "parameters",
        "resident",
        "streamed",
        `streamed, units of ${mebibytes(planning.unitBytes)}`,
        "host memory, streamed",
      ],
      memory.map((row) => [
        row.model,
        `${(row.parameters / 1e9).toFixed(1)} G`,
        gibibytes(row.resident.deviceBytes),
        gibibytes(row.streamed.deviceBytes),
        gibibytes(row.small.deviceBytes),
        gibibytes(row.streamed.hostBytes),
      ]),
      1,
    ),
    "",
    `What is frozen is read and not taken back: a step of ${moved.model} in units of ` +
      `${mebibytes(moved.unitBytes)} brings ${gibibytes(moved.all.up)} to the device and takes ` +
      `${gibibytes(moved.all.down)} back when all is trained, ${gibibytes(moved.norms.up)} and ` +
      `${mebibytes(moved.norms.down)} when only the norms are. Planning a pass of ${planning.model} in ` +
      `${planning.units.toLocaleString("en")} units takes ${planning.median.toFixed(1)} ms of JavaScript (median).`,
    "",
    provenance(result),
  ];
  return lines.join("\n");
}

/** Markdown of `opt125m-cpu.json`: every row that was measured, the slow ones included. */
export function opt125mBlock(result) {
  const { model, threads } = result;
  const compared = result.ratios.length > 0;
  const peers = compared
    ? `Programs alternate step by step in one run; the PyTorch ${result.torch} ones are described in ` +
      "[bench/](bench/README.md)."
    : "Measured without a peer.";
  const lines = [
    `A MeZO step of ${modelName(model)} in fp32 on ${threads} threads, every position labelled; median of the ` +
      `quiet steps (others used less than 0.05 cores), or of all where none was. ${peers}`,
    "",
    table(
      [
        "batch x sequence",
        "program",
        "s per step",
        "tokens/s",
        ...(compared ? ["x torch original", "x torch addcmul"] : []),
        "peak MiB",
        "of it runtime",
        "quiet steps",
      ],
      result.rows.map((row) => [
        row.shape.replace("x", " x "),
        row.program,
        row.seconds.toFixed(2),
        row.tokensPerSecond.toFixed(0),
        ...(compared ? [ratioCell(result, row, "torch original"), ratioCell(result, row, "torch addcmul")] : []),
        row.memory.peakMiB.toFixed(0),
        row.memory.runtimeMiB.toFixed(0),
        `${row.quiet} of ${row.steps}`,
      ]),
      2,
    ),
    "",
    "Where the time of a streamed step goes, its commands run one after another (no overlap):",
    "",
    breakdownTable(result.breakdown),
    "",
    provenance(result),
  ];
  return lines.join("\n");
}

function modelName(model) {
  const same = Object.entries(OPT_125M).every(([name, value]) => model[name] === value);
  return same
    ? "the OPT-125M shape"
    : `an OPT shape of ${model.parameters.toLocaleString("en")} parameters (not OPT-125M)`;
}

/** How many times faster than the peer, with its spread over the rounds. */
function ratioCell(result, row, against) {
  const found = result.ratios.find((r) => r.shape === row.shape && r.program === row.program && r.against === against);
  if (found === undefined) return row.program === against ? "1" : "";
  const { ratio, least, most } = found.speed;
  return `${ratio.toFixed(2)} (${least.toFixed(2)} to ${most.toFixed(2)})`;
}

function breakdownTable(breakdowns) {
  const kinds = [...new Set(breakdowns.flatMap((b) => b.rows.map((r) => r.what)))];
  const shareOf = (what) => Math.max(...breakdowns.map((b) => b.rows.find((r) => r.what === what)?.share ?? 0));
  const shown = kinds.sort((a, b) => shareOf(b) - shareOf(a)).slice(0, KINDS_SHOWN);
  const share = (value) => `${(100 * value).toFixed(1)} %`;
  return table(
    ["batch x sequence", "s", ...shown, "the rest", "matrix products"],
    breakdowns.map((b) => {
      const shares = shown.map((what) => b.rows.find((r) => r.what === what)?.share ?? 0);
      const rest = 1 - shares.reduce((sum, s) => sum + s, 0);
      return [
        b.shape.replace("x", " x "),
        b.seconds.toFixed(2),
        ...shares.map(share),
        share(Math.max(0, rest)),
        `${b.matrixProducts.gflops.toFixed(0)} GFLOP/s`,
      ];
    }),
    1,
  );
}

/** Markdown of `event-loop-cpu.json`. */
export function eventLoopBlock(result) {
  const ms = (value) => value.toFixed(1);
  const rows = result.rows.flatMap((row) =>
    Object.entries(row.phases).map(([phase, { delay, seconds }]) => [
      row.model,
      phase,
      seconds.toFixed(1),
      ms(delay.p50),
      ms(delay.p99),
      ms(delay.max),
      String(row.waits),
    ]),
  );
  return [
    "How late the event loop's timers come, in milliseconds:",
    "",
    table(["model", "meanwhile", "s", "p50", "p99", "most", "waits on the JavaScript thread"], rows, 2),
    "",
    provenance(result),
  ].join("\n");
}

/** Markdown of `smollm2-cpu.json`: what the model was before and after its fine-tuning, and what that took. */
export function smollm2Block(result) {
  const { before, after, evaluations, curve, model, template, threads } = result;
  const residence = result.offload === "host" ? "streamed from host memory" : "resident on the device";
  const weights = `${result.wire} weights ${residence}`;
  const score = ({ accuracy, loss }) => [accuracy.toFixed(3), loss.toFixed(4)];
  const means = smoothed(curve.loss);
  const lines = [
    `${model.name} (${model.parameters.toLocaleString("en")} parameters), prompt \`${template.prompt}\`: ` +
      `${result.steps} steps of ${result.batch} sentences, ` +
      `${weights}, ${threads} threads; learning rate ${exponential(result.learningRate)} (${result.schedule}), ` +
      `eps ${exponential(result.eps)}, seed ${result.seed}. ` +
      `A step took ${result.secondsPerStep.toFixed(2)} s (median). By the memory plan, ` +
      `${mebibytes(result.deviceBytes)} of device memory and ` +
      `${mebibytes(result.hostBytes)} of host memory.`,
    "",
    table(
      [`\`test.jsonl\`, ${before.test.examples} sentences`, "accuracy", "loss"],
      [
        ["before", ...score(before.test)],
        ["after, saved and loaded again", ...score(after.test)],
      ],
      1,
    ),
    "",
    "On the way, on the sentences of `train.jsonl` that were left out of training:",
    "",
    table(
      ["steps taken", "accuracy", "loss"],
      evaluations.map((e) => [String(e.step), ...score(e)]),
      0,
    ),
    "",
    `The training loss, a mark for the mean of each ${SMOOTHED_OVER} steps, from ` +
      `${Math.min(...means).toFixed(3)} (lowest mark) to ${Math.max(...means).toFixed(3)}:`,
    "",
    `\`${sparkline(means)}\``,
    "",
    table(
      ["asked", "said before", "said after"],
      before.said.map((said, i) => [
        cell(said.question),
        quoted(said),
        after.said[i] === undefined ? "" : quoted(after.said[i]),
      ]),
      3,
    ),
    "",
    provenance(result),
  ];
  return lines.join("\n");
}

/** Means of `SMOOTHED_OVER` values each; the last of what is left. */
function smoothed(values) {
  const means = [];
  for (let i = 0; i < values.length; i += SMOOTHED_OVER) {
    const part = values.slice(i, i + SMOOTHED_OVER);
    means.push(part.reduce((sum, v) => sum + v, 0) / part.length);
  }
  return means;
}

/** One mark for each value, its height between the least and the most of them. */
function sparkline(values) {
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const level = (value) => (most === least ? 0 : Math.round(((value - least) / (most - least)) * (MARKS.length - 1)));
  return values.map((value) => MARKS[level(value)]).join("");
}

/** What a model said, in one cell; dots where it was cut off. */
function quoted({ answer, reason }) {
  return `${cell(answer)}${reason === "length" ? " ..." : ""}`;
}

/** Text that may hold anything, as it is shown in a cell of a table. */
function cell(text) {
  return text
    .trim()
    .replace(/\s+/g, " ")
    .replace(/[\\`*_<>|[\]~]/g, "\\$&");
}

const exponential = (value) => value.toExponential().replace("e+", "e").replace(/e0$/, "");
const gibibytes = (bytes) => `${(bytes / 2 ** 30).toFixed(2)} GiB`;
const mebibytes = (bytes) => `${(bytes / 2 ** 20).toFixed(0)} MiB`;

const percent = (share) => `${(100 * share).toFixed(0)} %`;

/**
 * The text with what stands between `<!-- bench:NAME -->` and `<!-- /bench:NAME -->` replaced.
 * @throws Error when the markers are not there, each once and in this order
 */
export function replaceBlock(text, name, block) {
  const [open, close] = [`<!-- bench:${name} -->`, `<!-- /bench:${name} -->`];
  const begin = text.indexOf(open);
  const end = text.indexOf(close);
  if (begin < 0 || end < begin || text.indexOf(open, begin + 1) >= 0 || text.indexOf(close, end + 1) >= 0) {
    throw new Error(`needs ${open} and ${close}, each once and in this order`);
  }
  return `${text.slice(0, begin + open.length)}\n${block}\n${text.slice(end)}`;
}

/** Names of the tables that the text has a place for, or half of one. */
export function blocksOf(text) {
  return [...new Set([...text.matchAll(/<!-- \/?bench:([\w-]+) -->/g)].map(([, name]) => name))];
}
