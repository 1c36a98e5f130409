/** SQuAD's scores of a text against several that are right, as MeZO has them. */
import { words } from "./text.js";

const PUNCTUATION = /[!"#$%&'()*+,\-./:;<=>?@[\\\]^_`{|}~]/g;
/** Python's \b is a border of letters and digits of any script. */
const ARTICLES = /(?<![\p{L}\p{N}_])(?:a|an|the)(?![\p{L}\p{N}_])/gu;
/** Answers that say there is none: nothing is right but they. */
const NO_ANSWER = ["CANNOTANSWER", "no answer"];

/** Lower case, without punctuation and articles, with one space between words. */
export function normalizedAnswer(text: string): string {
  return words(text.toLowerCase().replace(PUNCTUATION, "").replace(ARTICLES, " ")).join(" ");
}

/** Of the answers the best, 0 to 1: harmonic mean of the shares of words in common. */
export function f1(prediction: string, answers: readonly string[]): number {
  const said = words(normalizedAnswer(prediction));
  if (NO_ANSWER.includes(answers[0] ?? "")) return Number(sameAnswer(prediction, answers[0] ?? ""));
  return Math.max(...answers.map((answer) => overlap(said, words(normalizedAnswer(answer)))));
}

/** Whether the prediction is one of the answers. */
export function exactMatch(prediction: string, answers: readonly string[]): boolean {
  return answers.some((answer) => sameAnswer(prediction, answer));
}

function sameAnswer(a: string, b: string): boolean {
  return normalizedAnswer(a) === normalizedAnswer(b);
}

function overlap(said: readonly string[], right: readonly string[]): number {
  const left = new Map<string, number>();
  for (const word of right) left.set(word, (left.get(word) ?? 0) + 1);
  let same = 0;
  for (const word of said) {
    const count = left.get(word) ?? 0;
    if (count === 0) continue;
    left.set(word, count - 1);
    same++;
  }
  if (same === 0) return 0;
  const precision = same / said.length;
  const recall = same / right.length;
  return (2 * precision * recall) / (precision + recall);
}
