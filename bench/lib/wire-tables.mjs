/** The tables of docs/concepts.md: what a wire dtype loses of training. */
import { table } from "./markdown.mjs";
import { provenance } from "./provenance.mjs";

/** Markdown of `wire-loss.json`. */
export function wireLossBlock(result) {
  const { rows, steps, coefficient, layer } = result;
  const lines = rows
    .filter(({ wire }) => wire !== "fp32")
    .map(({ rate, wire, rounding, lost, movement, drift }) => [
      rate.toExponential(0),
      wire,
      rounding,
      percent(lost),
      percent(movement),
      percent(drift),
    ]);
  return [
    `${steps.toLocaleString("en")} updates of the matrices of decoder layer ${layer} of docs/demo/tiny-opt, with ` +
      "coefficients of a " +
      `standard deviation of ${coefficient}, beside the same in fp32.`,
    "",
    table(["learning rate", "wire", "rounding", "updates lost", "movement", "drift"], lines, 3),
    "",
    provenance(result),
  ].join("\n");
}

/** Markdown of `wire-accuracy.json`. */
export function wireAccuracyBlock(result) {
  const { rows, model, steps, batch, learningRate } = result;
  const lines = rows.map(({ wire, rounding, before, dev, after, warned, hostBytes }) => [
    wire,
    wire === "fp32" ? "" : rounding,
    `${(hostBytes / 2 ** 20).toFixed(0)} MiB`,
    percent(before.accuracy),
    percent(dev.at(-1).accuracy),
    percent(after.accuracy),
    after.loss.toFixed(3),
    warned.includes("ZO2_WARN_LOST_UPDATES") ? "yes" : "",
  ]);
  return [
    `${model} after ${steps} steps of ${batch} review sentences at a learning rate of ` +
      `${learningRate.toExponential(0)} that falls to 0; 200 sentences held out, 415 for the test.`,
    "",
    table(
      ["wire", "rounding", "host memory", "test before", "held out after", "test after", "test loss", "warned"],
      lines,
      2,
    ),
    "",
    provenance(result),
  ].join("\n");
}

const percent = (share) => `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`;
