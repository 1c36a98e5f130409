/** The review sentences that SmolLM2 is tuned on in benches, as docs/tutorial-smollm2.md has them. */
import fs from "node:fs";
import path from "node:path";

export const REVIEWS_TEMPLATE = { prompt: "{text} It was", choices: [" terrible", " great"] };

/** The sentences of a folder: `train`, the last `dev` of its file held out, and `test`. */
export function readReviews(folder, dev) {
  const read = (name) =>
    fs
      .readFileSync(path.join(folder, name), "utf8")
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line));
  const all = read("train.jsonl");
  return { train: all.slice(0, -dev), dev: all.slice(-dev), test: read("test.jsonl") };
}
