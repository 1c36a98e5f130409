import type { ChoiceTask } from "./task.js";
import { strip } from "./text.js";

/** Whether a review is kind: Socher et al. 2013, in GLUE. */
export const sst2: ChoiceTask = {
  name: "sst2",
  source: { dataset: "nyu-mll/glue", config: "sst2" },
  metric: "accuracy",
  loss: "choices",
  read: (row) => ({
    prompt: `${strip(row.text("sentence"))} It was`,
    candidates: [" terrible", " great"],
    right: [row.label("label", 2)],
  }),
};
