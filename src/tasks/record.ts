import { LineError } from "../data/index.js";
import type { ChoiceTask } from "./task.js";

/** The entity that a sentence about a passage lacks: Zhang et al. 2018, in SuperGLUE. */
export const record: ChoiceTask = {
  name: "record",
  source: { dataset: "aps/super_glue", config: "record" },
  metric: "accuracy",
  loss: "answer",
  read: (row) => {
    const entities = [...new Set(row.texts("entities"))];
    const answers = row.texts("answers");
    const right = [...new Set(answers.map((answer) => entities.indexOf(answer)))].filter((index) => index >= 0);
    if (right.length === 0) throw new LineError("label", row.place, 'none of column "answers" is among "entities"');
    return {
      prompt: `${row.text("passage").replaceAll("@highlight\n", "- ")}\n-`,
      candidates: entities.map((entity) => ` ${row.text("query").replaceAll("@placeholder", () => entity)}`),
      right,
    };
  },
};
