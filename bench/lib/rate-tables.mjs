/** The table of docs/methods.md: the learning rate that `"auto"` chooses, among those of a grid. */
import { table } from "./markdown.mjs";
import { provenance } from "./provenance.mjs";

/** Markdown of `auto-rate.json`. */
export function autoRateBlock(result) {
  const { models } = result;
  const lines = models.flatMap(({ name, method, before, rows }) => [
    [name, methodText(method), "none: before", loss(before), accuracy(before)],
    ...[...rows]
      .sort((a, b) => a.learningRate - b.learningRate)
      .map((row) => [
        name,
        methodText(method),
        row.chosen ? `**${row.learningRate.toExponential()}, chosen**` : row.learningRate.toExponential(),
        row.diverged ? `diverged after ${row.steps} steps` : loss(row),
        row.diverged ? "" : accuracy(row),
      ]),
  ]);
  const said = models.map(({ name, method, steps, batch, wire, dev }) => {
    const how = `${steps} steps of ${batch} review sentences at a constant rate, eps 1e-3, ${wire}; ${dev} held out.`;
    return `${name}, ${methodText(method)}: ${how}`;
  });
  return [
    table(["model", "method", "learning rate", "held-out loss", "accuracy"], lines, 3),
    "",
    said.join(" "),
    "",
    provenance(result),
  ].join("\n");
}

function methodText({ name, directions, antithetic = false }) {
  const sides = antithetic ? ", antithetic" : "";
  return directions === 1 ? name : `${name}, ${directions} directions${sides}`;
}

// A loss without a finite number is null in JSON.
const loss = ({ loss: value }) => (value === null ? "not finite" : Number(value.toPrecision(3)).toLocaleString("en"));
const accuracy = ({ accuracy: share }) => `${(100 * share).toFixed(1)} %`;
