import type { AnswerTask } from "./task.js";
import { strip } from "./text.js";

/** Answers to questions about a paragraph, in its words: Rajpurkar et al. 2016. */
export const squad: AnswerTask = {
  name: "squad",
  source: { dataset: "rajpurkar/squad", config: "plain_text" },
  metric: "f1",
  read: (row) => {
    const answers = row.textsIn("answers", "text");
    return {
      prompt:
        `Title: ${row.text("title")}\nContext: ${row.text("context")}\n` +
        `Question: ${strip(row.text("question"))}\nAnswer:`,
      completion: ` ${answers[0]}\n`,
      answers,
    };
  },
};
