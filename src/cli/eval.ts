import { checkedLines, CheckView } from "../report/check.js";
import { formatCount, formatDuration, formatLoss, formatShare } from "../report/units.js";
import type { TaskEvaluateOptions } from "../config/task.js";
import type { Api, ModelView } from "./api.js";
import {
  buildEvaluateOptions,
  buildModelOptions,
  buildTask,
  buildTaskEvaluateOptions,
  dataOrTask,
  requireFlags,
} from "./build.js";
import type { Context } from "./context.js";
import type { Output } from "./output.js";
import type { CommandSpec } from "./command.js";
import { EXIT } from "./exit.js";
import { COMMON_FLAGS, inFlags, MODEL_FLAGS, TASK_FLAGS, TEXT_FLAGS } from "./flags.js";
import { openModel } from "./load.js";
import { openTask } from "./task.js";

export const evalCommand: CommandSpec = {
  name: "eval",
  summary: "loss, and accuracy where there are choices, on a data set; or a task's metric",
  details: "Needs --model, and --data or --task.",
  flags: [...MODEL_FLAGS, "data", ...TASK_FLAGS, "shots", "batchSize", ...TEXT_FLAGS, "config", ...COMMON_FLAGS],
  examples: [
    'zo2 eval --model tuned --data test.jsonl --prompt "{text} It was" --choices " terrible" " great" --json',
    "zo2 eval --model facebook/opt-1.3b --task sst2 --shots 32",
  ],
  async run(given, context, output) {
    const flags = requireFlags(given, ["model", ...dataOrTask(given)]);
    const task = buildTask(flags);
    const taskOptions = buildTaskEvaluateOptions(flags);
    const modelOptions = buildModelOptions(flags);
    const evaluateOptions = buildEvaluateOptions(flags);
    const purpose = { training: false, maxLength: flags.maxLength };
    const api = await context.loadApi();
    const model = await openModel(api, flags.model, modelOptions, purpose, context, output);
    try {
      if (task !== undefined) {
        await evaluateTask(api, model, task, taskOptions, context, output);
        return EXIT.ok;
      }
      let skipped = 0;
      using view = new CheckView(context.stderr);
      const { loss, accuracy, examples, tokens, seconds } = await model.evaluate(flags.data, {
        ...evaluateOptions,
        signal: context.signal,
        ...(output.quiet ? {} : { onCheck: (progress) => view.show(progress) }),
        onChecked: (report) => {
          skipped = report.skipped.count;
          output.say(inFlags(checkedLines(report).join("\n")));
        },
      });
      await output.result(
        [
          ...(accuracy === null ? [] : [`accuracy  ${formatShare(accuracy)}`]),
          `loss      ${formatLoss(loss)}`,
          `examples  ${formatCount(examples)} (${formatCount(tokens)} tokens) in ${formatDuration(seconds)}`,
        ],
        { accuracy, loss, examples, tokens, seconds, ...(skipped === 0 ? {} : { skipped }) },
      );
      return EXIT.ok;
    } finally {
      await model.dispose();
    }
  },
};

async function evaluateTask(
  api: Api,
  model: ModelView,
  asked: NonNullable<ReturnType<typeof buildTask>>,
  options: TaskEvaluateOptions,
  context: Context,
  output: Output,
): Promise<void> {
  const task = await openTask(api, asked, context, output);
  if (task === undefined) return;
  try {
    const result = await task.evaluate(model, { ...options, signal: context.signal });
    const { accuracy, f1, exactMatch, loss, examples, tokens, seconds } = result;
    await output.result(
      [
        ...(accuracy === null ? [] : [`accuracy     ${formatShare(accuracy)}`]),
        ...(f1 === null ? [] : [`F1           ${formatShare(f1)}`]),
        ...(exactMatch === null ? [] : [`exact match  ${formatShare(exactMatch)}`]),
        ...(loss === null ? [] : [`loss         ${formatLoss(loss)}`]),
        `examples     ${formatCount(examples)} (${formatCount(tokens)} tokens) in ${formatDuration(seconds)}`,
      ],
      { ...result },
    );
  } finally {
    await task.close();
  }
}
