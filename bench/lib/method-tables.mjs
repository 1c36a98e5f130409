/** The tables of docs/methods.md: what methods learn from the same work. */
import { table } from "./markdown.mjs";
import { provenance } from "./provenance.mjs";

/** Markdown of `methods-accuracy.json`. */
export function methodsAccuracyBlock(result) {
  const { candidates, model, passes, batch } = result;
  const chosen = Object.entries(candidates).map(([name, { trials }]) => {
    const [best] = trials.toSorted((a, b) => a.dev.at(-1).loss - b.dev.at(-1).loss);
    return { name, best, others: trials.length - 1 };
  });
  // The time that all of them had.
  const least = Math.min(...chosen.map(({ best }) => best.dev.at(-1).seconds));
  const lines = chosen.map(({ name, best: { learningRate, steps, dev, test } }) => [
    name,
    learningRate.toExponential(0),
    steps.toString(),
    ...dev.map(({ accuracy }) => percent(accuracy)),
    percent(test.accuracy),
    test.loss.toFixed(3),
    dev.at(-1).seconds.toFixed(0),
    percent(dev.findLast(({ seconds }) => seconds <= least)?.accuracy ?? Number.NaN),
  ]);
  const looks = (chosen[0]?.best.dev ?? []).map((_, i, { length }) => `held out ${i + 1}/${length}`);
  return [
    `${model} after ${passes} forward passes over ${batch} review sentences, streamed in fp32, at a learning rate ` +
      `that falls to 0: the best of ${(chosen[0]?.others ?? 0) + 1} rates by the loss on 200 sentences that are held ` +
      "out; 415 for the test. The last column is the last look within the seconds of the fastest.",
    "",
    table(
      ["candidate", "rate", "steps", ...looks, "test", "test loss", "seconds", `held out at ${least.toFixed(0)} s`],
      lines,
      1,
    ),
    "",
    provenance(result),
  ].join("\n");
}

const percent = (share) => (Number.isNaN(share) ? "" : `${(100 * share).toFixed(1)} %`);
