import type { ChoiceTask } from "./task.js";

/** Yes or no to a question about a passage: Clark et al. 2019. */
export const boolq: ChoiceTask = {
  name: "boolq",
  source: { dataset: "google/boolq" },
  metric: "accuracy",
  loss: "choices",
  read: (row) => ({
    prompt: `${row.text("passage")} ${asked(row.text("question"))}\n`,
    candidates: ["Yes", "No"],
    right: [row.truth("answer") ? 0 : 1],
  }),
};

function asked(question: string): string {
  const whole = question.endsWith("?") ? question : `${question}?`;
  const [first = ""] = whole;
  return first.toUpperCase() + whole.slice(first.length);
}
