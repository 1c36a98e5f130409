import type { ChoiceTask } from "./task.js";

/** Whether one sentence follows from another: Dagan et al. 2005 and later, in SuperGLUE. */
export const rte: ChoiceTask = {
  name: "rte",
  source: { dataset: "aps/super_glue", config: "rte" },
  metric: "accuracy",
  loss: "choices",
  read: (row) => ({
    prompt: `${row.text("premise")}\nDoes this mean that "${row.text("hypothesis")}" is true? Yes or No?\n`,
    candidates: ["Yes", "No"],
    right: [row.label("label", 2)],
  }),
};
