import type { ChoiceTask } from "./task.js";

/** Whether a word means the same in two sentences: Pilehvar and Camacho-Collados 2019, in SuperGLUE. */
export const wic: ChoiceTask = {
  name: "wic",
  source: { dataset: "aps/super_glue", config: "wic" },
  metric: "accuracy",
  loss: "choices",
  read: (row) => ({
    prompt:
      `Does the word "${row.text("word")}" have the same meaning in these two sentences? Yes, No?\n` +
      `${row.text("sentence1")}\n${row.text("sentence2")}\n`,
    candidates: ["No", "Yes"],
    right: [row.label("label", 2)],
  }),
};
