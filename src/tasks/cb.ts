import type { ChoiceTask } from "./task.js";

/** Whether a clause follows from a text: CommitmentBank, De Marneffe et al. 2019, in SuperGLUE. */
export const cb: ChoiceTask = {
  name: "cb",
  source: { dataset: "aps/super_glue", config: "cb" },
  sizes: { dev: 100 },
  metric: "accuracy",
  loss: "choices",
  read: (row) => ({
    prompt: `Suppose ${row.text("premise")} Can we infer that "${row.text("hypothesis")}"? Yes, No, or Maybe?\n`,
    candidates: ["Yes", "No", "Maybe"],
    right: [row.label("label", 3)],
  }),
};
