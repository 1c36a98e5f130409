import type { ChoiceTask } from "./task.js";

/** What a pronoun refers to: Winograd schemas, Levesque et al. 2012, in SuperGLUE. */
export const wsc: ChoiceTask = {
  name: "wsc",
  source: { dataset: "aps/super_glue", config: "wsc.fixed" },
  metric: "accuracy",
  loss: "choices",
  read: (row) => ({
    prompt:
      `${row.text("text")}\nIn the previous sentence, does the pronoun "${row.text("span2_text").toLowerCase()}" ` +
      `refer to ${row.text("span1_text")}? Yes or No?\n`,
    candidates: ["No", "Yes"],
    right: [row.label("label", 2)],
  }),
};
