/** The table of docs/concepts.md: what a wire dtype loses of training. */
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

const percent = (share) => `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`;
