import type { AnswerTask } from "./task.js";
import { strip } from "./text.js";

/** Answers that take some reasoning over a passage: Dua et al. 2019. */
export const drop: AnswerTask = {
  name: "drop",
  source: { dataset: "ucinlp/drop" },
  metric: "f1",
  read: (row) => {
    const answers = row.textsIn("answers_spans", "spans");
    return {
      prompt: `Passage: ${row.text("passage")}\nQuestion: ${strip(row.text("question"))}\nAnswer:`,
      completion: ` ${answers[0]}\n`,
      answers,
    };
  },
};
