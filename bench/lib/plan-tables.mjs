import { table } from "./markdown.mjs";
import { provenance } from "./provenance.mjs";

const gib = (bytes) => (bytes / 2 ** 30).toFixed(bytes < 0.95 * 2 ** 30 ? 2 : 1);
/** Markdown of `plan-choices.json`: the plan that is chosen beside the best of those made by hand. */
export function planChoicesBlock(result) {
  const lines = result.rows.map(({ model, gpu, deviceMemory, tried, ratio, chosen, best }) => [
    model,
    gpu,
    gib(deviceMemory),
    mib(chosen.unitBytes),
    chosen.stepSeconds.toPrecision(3),
    String(tried),
    mib(best.unitBytes),
    best.stepSeconds.toPrecision(3),
    ratio.toFixed(3),
  ]);
  const head = ["model", "GPU", "allowed, GiB", "units chosen, MiB", "s per step", "by hand"];
  return [
    "The predicted step of the plan that is chosen, beside the best of those made by hand: units of 32 to 1,024 MiB, " +
      "2 to 4 slots, prepared ahead or not, with resident units or without; one sequence of " +
      `${result.tokens.toLocaleString("en")} tokens in fp16.`,
    "",
    table([...head, "units of the best, MiB", "s per step", "chosen / best"], lines, 2),
    "",
    provenance(result),
  ].join("\n");
}

const mib = (bytes) => Math.round(bytes / 2 ** 20).toLocaleString("en");

/** Markdown of `plan-models.json`: what is chosen for a model on a GPU, and the step that is predicted. */
export function planModelsBlock(result) {
  const { plans, tokens } = result;
  const sources = [...new Set(plans.map(({ hardware }) => hardware.source.split(",")[0]))];
  const lines = [
    `A MeZO step in fp16 on one sequence of ${tokens.toLocaleString("en")} tokens. Bytes are exact. Times are ` +
      "**predictions**, from the commands of a step and what data sheets say; no GPU has confirmed any.",
    "",
    table(
      [
        "model",
        "GPU",
        "device memory allowed, GiB",
        "units of at most, MiB",
        "resident units",
        "device, GiB",
        "host, GiB",
        "predicted s per step",
        "bound by",
      ],
      plans.map((plan) => [
        plan.model,
        plan.hardware.title,
        gib(plan.deviceMemory),
        mib(plan.unitBytes),
        plan.streamedUnits === 0 ? "all" : `${plan.residentUnits} of ${plan.residentUnits + plan.streamedUnits}`,
        gib(plan.deviceBytes),
        gib(plan.hostBytes),
        plan.predicted.stepSeconds.toPrecision(3),
        plan.predicted.bound,
      ]),
      2,
    ),
    "",
    `Figures of the GPUs: ${sources.join(", ")}. What is allowed is the card's memory less 1 GB, or 3 GiB of it.`,
    "",
    provenance(result),
  ];
  return lines.join("\n");
}

const percent = (share) => `${share < 0 ? "−" : "+"}${Math.abs(100 * share).toFixed(0)} %`;

/** What a plan of `predict-cpu.json` is, where it is not as most are. */
function planWords({ to, wire, dtype, noise, overlap, slots, unitBytes, microBatch }) {
  const words = [
    to === "device" ? "resident" : "streamed",
    wire === dtype ? wire : `${wire} on the wire, ${dtype}`,
    ...(noise === "gaussian" ? [] : [noise]),
    ...(unitBytes === null ? [] : [`units of ${mib(unitBytes)} MiB`]),
    ...(slots === 3 ? [] : [`${slots} slots`]),
    ...(microBatch === undefined ? [] : [`micro-batches of ${microBatch}`]),
    ...(overlap ? [] : ["no overlap"]),
  ];
  return words.join(", ");
}

/** Where an error counts as near. */
const NEAR = 0.15;

/** Markdown of `predict-cpu.json`: every plan, those that are predicted badly included. */
export function predictBlock(result) {
  const { rows, measured, threads, rest } = result;
  const near = rows.filter(({ error }) => Math.abs(error) <= NEAR).length;
  const worst = rows.reduce((most, { error }) => (Math.abs(error) > Math.abs(most) ? error : most), 0);
  const seconds = measured.map((round) => round.seconds.toFixed(0)).join(" and ");
  const lines = [
    `Steps on ${threads} threads, as \`--hardware this\` predicts them and as they were measured, both the median of ` +
      `${measured.length} rounds. Within ${100 * NEAR} %: ${near} of ${rows.length}; the farthest is off by ` +
      `${percent(worst)}.`,
    "",
    table(
      ["model", "batch x sequence", "plan", "units", "predicted s", "measured s", "predicted − measured"],
      rows.map((row) => [
        row.model,
        `${row.batch} x ${row.length}`,
        planWords(row),
        String(row.units),
        row.predicted.toFixed(3),
        row.seconds.toFixed(3),
        percent(row.error),
      ]),
      4,
    ),
    "",
    "Other programs used the machine meanwhile: the steps had its cores by real-time priority, which Linux holds to " +
      `95 % of the time, and rested for ${rest === 1 ? "as long as" : `${rest} times as long as`} they took. So ` +
      `measuring the machine took ${seconds} s.`,
    "",
    provenance(result),
  ];
  return lines.join("\n");
}

/** Markdown of `ablations-cpu.json`. */
export function ablationsBlock(result) {
  const { rows, gpus, asked, runs, threads, parameters } = result;
  const lines = [
    `MeZO steps of ${asked.model} (${parameters.toLocaleString("en")} parameters) on ${asked.batch} x ${asked.seq} ` +
      `tokens, one idea taken away or changed in each row, by turns in one process on ${runs.name} (${threads} ` +
      "threads). A ratio above 1: slower than the first row; in brackets the least and the most over the rounds. The " +
      "columns of GPUs are **predictions** from data sheets.",
    "",
    table(
      ["", "units", "device memory, MiB", "s per step", "ratio", ...Object.values(gpus).map((n) => `${n}, predicted`)],
      rows.map((row) => [
        row.name,
        String(row.units),
        mib(row.deviceBytes),
        row.seconds.toFixed(3),
        `${row.ratio.toFixed(2)} (${row.least.toFixed(2)} to ${row.most.toFixed(2)})`,
        ...Object.keys(gpus).map((gpu) => row.predictedRatio[gpu]?.toFixed(2) ?? ""),
      ]),
      1,
    ),
    "",
    "On a CPU, device and host memory are the same, and all lanes share the cores: what overlap hides there is little.",
    "",
    provenance(result),
  ];
  return lines.join("\n");
}

/** Markdown of `in-place-cpu.json`: MeZO's own order of perturbations against W+ and W- beside the weights. */
export function inPlaceBlock(result) {
  const { rows, asked, runs, threads } = result;
  const percent = (share) => `${(100 * share).toFixed(1)} %`;
  const size = (value) => (value === 0 ? "0" : value.toExponential(1));
  const lines = [
    `One visit of a decoder layer of ${rows[0].weights.toLocaleString("en")} weights (${asked.hidden} wide), without ` +
      `its forward passes, ${asked.rounds} of each kind by turns on ${runs.name} (${threads} threads); weights after ` +
      `${asked.steps} visits with a learning rate of 0 and eps ${asked.eps}, in one of its matrices. Drift: root ` +
      "mean square of the changes over that of the weights.",
    "",
    table(
      [
        ...["weights", "", "s per visit", "ratio", "scratch, MiB"],
        ...["weights not restored", "drift", "largest change"],
      ],
      rows.flatMap(({ type, outOfPlace, inPlace, ratio }) => [
        visit(type, "beside the weights, one pass", outOfPlace, "1"),
        visit(
          type,
          "in place, three passes",
          inPlace,
          `${ratio.median.toFixed(2)} (${ratio.least.toFixed(2)} to ${ratio.most.toFixed(2)})`,
        ),
      ]),
      2,
    ),
    "",
    provenance(result),
  ];
  return lines.join("\n");

  function visit(type, way, { seconds, scratchBytes, changed, drift, most }, ratio) {
    return [type, way, seconds.toFixed(3), ratio, mib(scratchBytes), percent(changed), size(drift), size(most)];
  }
}
