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
  /**
   * The choice (by index from 0) that each label of the data means, by the label's text:
   * `{ entailment: 0, neutral: 1 }`. With it, no other label is taken.
   * @default none: an index, a choice's text, true or false
   */
  labelMap: z
    .record(z.string(), z.int().min(0))
    .refine((map) => Object.keys(map).length > 0, { error: "must map at least one label" })
    .optional(),
  /**
   * Whether a data set is read and put into tokens as a whole before it is used, so that all that is wrong with it is
   * known at once. @default true
   */
  checkData: z.boolean().default(true),
  /** Whether lines that cannot be used are left out instead of being an error. @default false */
  skipBadLines: z.boolean().default(false),
};

/** What cannot be left out without being looked for. */
export function refineCheck(
  { checkData, skipBadLines }: { readonly checkData: boolean; readonly skipBadLines: boolean },
  context: z.core.$RefinementCtx,
): void {
  if (checkData || !skipBadLines) return;
  context.addIssue({
    code: "custom",
    path: ["skipBadLines"],
    input: skipBadLines,
    message: 'needs the check that option "checkData" turns off',
  });
}
