/** The table of docs/methods.md: the learning rate that `"auto"` chooses, among those of a grid. */
import { table } from "./markdown.mjs";
import { provenance } from "./provenance.mjs";

/** Markdown of `auto-rate.json`. */
export function autoRateBlock(result) {
  const { models } = result;
  const lines = models.flatMap(({ name, before, rows }) => [
    [name, "none: before", loss(before), accuracy(before)],
    ...[...rows]
      .sort((a, b) => a.learningRate - b.learningRate)
      .map((row) => [
        name,
        row.chosen ? `**${row.learningRate.toExponential()}, chosen**` : row.learningRate.toExponential(),
        row.diverged ? `diverged after ${row.steps} steps` : loss(row),
        row.diverged ? "" : accuracy(row),
      ]),
  ]);
  const said = models.map(
    ({ name, steps, batch, wire, dev }) =>
      `${name}: ${steps} steps of ${batch} review sentences at a constant rate, eps 1e-3, ${wire}; ${dev} held out.`,
  );
  return [
    table(["model", "learning rate", "held-out loss", "accuracy"], lines, 2),
    "",
    said.join(" "),
    "",
    provenance(result),
  ].join("\n");
}

// A loss without a finite number is null in JSON.
const loss = ({ loss: value }) => (value === null ? "not finite" : Number(value.toPrecision(3)).toLocaleString("en"));
const accuracy = ({ accuracy: share }) => `${(100 * share).toFixed(1)} %`;
