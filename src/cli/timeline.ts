import { formatBytes } from "../report/units.js";
import { buildTimelineOptions } from "./build.js";
import type { CommandSpec } from "./command.js";
import { EXIT } from "./exit.js";
import { COMMON_FLAGS, inFlags, MODEL_FLAGS } from "./flags.js";

const DEFAULT_OUT = "timeline.html";

export const timelineCommand: CommandSpec = {
  name: "timeline",
  summary: "one HTML file on what happens when in a training step: predicted, and as it ran",
  details:
    "Loads the model, takes a few steps on --batch-size sequences of --max-length tokens that mean nothing, and " +
    "draws one: a row for each lane, a bar for each command, waits and what they were for, below what is predicted " +
    "for this machine. The model is not changed.",
  arguments: "<model>",
  flags: [
    ...MODEL_FLAGS.filter((name) => name !== "model"),
    ...(["rounding", "writeBackEvery", "batchSize", "microBatchSize", "maxLength", "measure"] as const),
    ...(["method", "directions", "antithetic", "rank", "interval", "noise"] as const),
    ...(["out", "config", ...COMMON_FLAGS] as const),
  ],
  help: {
    batchSize: "sequences in the step (default: 1)",
    maxLength: "tokens of each sequence (default: 128)",
    out: `HTML file to write (default: ${DEFAULT_OUT})`,
  },
  examples: [
    "zo2 timeline opt-125m",
    "zo2 timeline opt-125m --batch-size 4 --max-length 64 --wire bf16 --out opt.html",
    "zo2 timeline opt-125m --no-overlap --unit-bytes 8MiB",
  ],
  async run(flags, context, output, [model = ""]) {
    const options = buildTimelineOptions(flags);
    const api = await context.loadApi();
    const written = await api.writeTimeline(model, flags.out ?? DEFAULT_OUT, options, {
      signal: context.signal,
      onMeasure: (device) => output.say(`measuring ${device}: up to a minute, once`),
      onWarning: ({ code, message }) => output.say(`${code}: ${inFlags(message)}`),
    });
    const { out, bytes, predicted, measured } = written;
    const text = (seconds: number) => `${(seconds * 1e3).toPrecision(4)} ms`;
    await output.result(
      [`a step of ${text(measured)}, predicted ${text(predicted)}, is in ${out} (${formatBytes(bytes)})`],
      { ...written },
    );
    return EXIT.ok;
  },
};
