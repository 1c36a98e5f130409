/** The tables of docs/methods.md: what methods learn from the same work. */
import { table } from "./markdown.mjs";
import { provenance } from "./provenance.mjs";

/** Markdown of `methods-accuracy.json`. */
export function methodsAccuracyBlock(result) {
  const { candidates, model, passes, batch } = result;
  const chosen = Object.entries(candidates).map(([name, { trials }]) => {
    const [best] = trials.toSorted((a, b) => a.dev.at(-1).loss - b.dev.at(-1).loss);
    return { name, best, tried: trials.map(({ learningRate }) => learningRate.toExponential()).join(", ") };
  });
  // The time that all of them had.
  const least = Math.min(...chosen.map(({ best }) => best.dev.at(-1).seconds));
  const lines = chosen.map(({ name, tried, best: { learningRate, steps, dev, test } }) => [
    name,
    learningRate.toExponential(),
    tried,
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
      "that falls to 0: the best of some rates by the loss on 200 sentences that are held out; the 415 of the test " +
      "were read once in each trial, at its end. The last column is the last look within the seconds of the fastest.",
    "",
    table(
      [
        "candidate",
        "rate",
        "of",
        "steps",
        ...looks,
        "test",
        "test loss",
        "seconds",
        `held out at ${least.toFixed(0)} s`,
      ],
      lines,
      1,
    ),
    "",
    ...curves(chosen),
    "",
    `Trials by commit: ${counted(Object.values(candidates).flatMap(({ trials }) => trials))}.`,
    "",
    provenance(result),
  ].join("\n");
}

function counted(trials) {
  const commits = trials.map(({ commit }) => commit.slice(0, 12));
  const count = (one) => commits.filter((commit) => commit === one).length;
  return [...new Set(commits)].map((commit) => `${count(commit)} at ${commit}`).join(", ");
}

/** Of the lines of a chart, in their order. */
const COLOURS = {
  blue: "#1f77b4",
  orange: "#ff7f0e",
  green: "#2ca02c",
  red: "#d62728",
  violet: "#9467bd",
  black: "#000",
};

/** The loss on held-out sentences over a training, as a chart that GitHub draws. */
function curves(chosen) {
  const losses = chosen.map(({ best }) => best.dev.map(({ loss }) => loss));
  const largest = Math.ceil(10 * Math.max(...losses.flat())) / 10;
  const least = Math.floor(10 * Math.min(...losses.flat())) / 10;
  const palette = JSON.stringify({
    themeVariables: { xyChart: { plotColorPalette: Object.values(COLOURS).join(", ") } },
  });
  const names = Object.keys(COLOURS);
  return [
    `Loss on held-out sentences: ${chosen.map(({ name }, i) => `${name} ${names[i]}`).join(", ")}.`,
    "",
    "```mermaid",
    `%%{init: ${palette}}%%`,
    "xychart-beta",
    '  x-axis "part of the forward passes" ["1/4", "2/4", "3/4", "4/4"]',
    `  y-axis "loss" ${least} --> ${largest}`,
    ...losses.map((line) => `  line [${line.map((loss) => loss.toFixed(3)).join(", ")}]`),
    "```",
  ];
}

const percent = (share) => (Number.isNaN(share) ? "" : `${(100 * share).toFixed(1)} %`);
