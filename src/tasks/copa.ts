import { LineError } from "../data/index.js";
import type { TaskRow } from "./row.js";
import type { ChoiceTask } from "./task.js";
import { stripEnd } from "./text.js";

/** What came of something, or before it: Roemmele et al. 2011, in SuperGLUE. */
export const copa: ChoiceTask = {
  name: "copa",
  source: { dataset: "aps/super_glue", config: "copa" },
  sizes: { dev: 100 },
  metric: "accuracy",
  loss: "answer",
  read: (row) => ({
    prompt: stripEnd(row.text("premise")).replace(/\.$/, "") + conjunction(row),
    candidates: [lowered(row.text("choice1")), lowered(row.text("choice2"))],
    right: [row.label("label", 2)],
  }),
};

function conjunction(row: TaskRow): string {
  const question = row.text("question");
  if (question === "effect") return " so ";
  if (question === "cause") return " because ";
  throw new LineError("shape", row.place, `column "question" is ${JSON.stringify(question)}, and no cause or effect`);
}

/** The first word in lower case, unless it is "I". */
function lowered(choice: string): string {
  const [first = "", ...rest] = choice.split(" ");
  return [first === "I" ? first : first.toLowerCase(), ...rest].join(" ");
}
