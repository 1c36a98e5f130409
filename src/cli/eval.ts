import { checkedLines, CheckView } from "../report/check.js";
import { formatCount, formatDuration, formatLoss, formatShare } from "../report/units.js";
import { buildEvaluateOptions, buildModelOptions, requireFlags } from "./build.js";
import type { CommandSpec } from "./command.js";
import { EXIT } from "./exit.js";
import { COMMON_FLAGS, inFlags, MODEL_FLAGS, TEXT_FLAGS } from "./flags.js";
import { openModel } from "./load.js";

export const evalCommand: CommandSpec = {
  name: "eval",
  summary: "loss, and accuracy where there are choices, on a data set",
  details: "Needs --model and --data.",
  flags: [...MODEL_FLAGS, "data", "batchSize", ...TEXT_FLAGS, "config", ...COMMON_FLAGS],
  examples: ['zo2 eval --model tuned --data test.jsonl --prompt "{text} It was" --choices " terrible" " great" --json'],
  async run(given, context, output) {
    const flags = requireFlags(given, ["model", "data"]);
    const modelOptions = buildModelOptions(flags);
    const evaluateOptions = buildEvaluateOptions(flags);
    const purpose = { training: false, maxLength: flags.maxLength };
    const model = await openModel(await context.loadApi(), flags.model, modelOptions, purpose, context, output);
    try {
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
