import type { ChoiceTask } from "./task.js";

/** Whether an answer to a question about a paragraph is right, each by itself: Khashabi et al. 2018, in SuperGLUE. */
export const multirc: ChoiceTask = {
  name: "multirc",
  source: { dataset: "aps/super_glue", config: "multirc" },
  metric: "accuracy",
  loss: "choices",
  read: (row) => ({
    prompt:
      `${row.text("paragraph")}\nQuestion: ${row.text("question")}\nI found this answer "${row.text("answer")}". ` +
      "Is that correct? Yes or No?\n",
    candidates: ["No", "Yes"],
    right: [row.label("label", 2)],
  }),
};
