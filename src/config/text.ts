import { z } from "zod";

/** How the fields of a data set's line become what the model reads and is scored on. */
export const templateSchema = z
  .strictObject({
    /** The prompt, with `{field}` for a field of the line, `{{` and `}}` for braces: `"{text} How is it?"`. */
    prompt: z.string(),
    /**
     * The answers to choose from, as they follow the prompt; the line's label is an index into them or one of them by
     * name.
     */
    choices: z.array(z.string().min(1)).min(2).readonly().optional(),
    /** The text to learn after the prompt, with `{field}` as in `prompt`. Instead of `choices`. */
    completion: z.string().optional(),
    /** The field that holds the label. @default "label" */
    labelField: z.string().min(1).optional(),
  })
  .superRefine((template, context) => {
    if ((template.completion === undefined) === (template.choices === undefined)) {
      const message =
        `needs choices or a completion${template.choices === undefined ? "" : ", and has both"}; give one of the ` +
        "two";
      context.addIssue({ code: "custom", path: ["prompt"], input: template.prompt, message });
    }
  });

/** How text becomes sequences and scores; the same members in training and in evaluation. */
export const textOptions = {
  /** Longest sequence in tokens. @default the number of positions of the model */
  maxLength: z.int().min(1).optional(),
  /**
   * What happens to a longer sequence: `"error"` refuses it by its line, `"left"` drops tokens from the front of the
   * prompt, `"right"` from its end. Tokens of a completion or a choice are never dropped.
   * @default "error"
   */
  truncation: z.enum(["error", "left", "right"]).default("error"),
  /** A choice's score: the mean or the sum of the log-probabilities of its tokens. @default "mean" */
  reduction: z.enum(["mean", "sum"]).default("mean"),
  /** For data sets whose lines have other fields than zo2's own. @default none: lines are taken as they are */
  template: templateSchema.optional(),
};
