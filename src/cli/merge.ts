import type { ModelOptions } from "../config/model.js";
import { readPeftConfig } from "../adapters/peft/config.js";
import { buildModelOptions, requireFlags } from "./build.js";
import type { CommandSpec } from "./command.js";
import { EXIT } from "./exit.js";
import { COMMON_FLAGS } from "./flags.js";
import { openModel } from "./load.js";
import { checkTarget } from "./target.js";

export const mergeCommand: CommandSpec = {
  name: "merge",
  summary: "write a whole model from a base and the adapter that was trained over it",
  details:
    "The adapter is a folder of PEFT with a LoRA. Each weight that it changes is summed in double precision, and " +
    "rounded once to the dtype in which it is saved. It runs on the CPU, without a forward pass.",
  resultMatters: true,
  flags: [
    ...(["model", "adapter", "out", "saveDtype", "revision", "ignoreConfigFields", "threads"] as const),
    ...(["offload", "hostMemory", "diskPath", "diskMemory", "config"] as const),
    ...COMMON_FLAGS,
  ],
  help: {
    out: "folder for the merged model",
    offload: "auto, host, disk: where weights rest meanwhile (default: auto)",
  },
  examples: [
    "zo2 merge --model opt-1.3b --adapter tuned --out merged",
    "zo2 merge --model facebook/opt-1.3b --adapter tuned --out merged --save-dtype fp16",
  ],
  async run(given, context, output) {
    const { model: name, adapter, out, saveDtype, ...flags } = requireFlags(given, ["model", "adapter", "out"]);
    await checkTarget(out, { model: name, adapter });
    // Before gigabytes are read for it.
    await readPeftConfig(adapter);
    const resting = saveDtype === undefined || saveDtype === "wire" ? {} : { wire: saveDtype };
    const options: ModelOptions = buildModelOptions({ ...flags, ...resting, device: "cpu" });
    const api = await context.loadApi();
    const model = await openModel(api, name, options, { training: false }, context, output);
    try {
      await model.merge(adapter, { signal: context.signal });
      await model.save(out, { signal: context.signal });
    } finally {
      await model.dispose();
    }
    await output.result([`merged ${adapter} into ${name} and saved the model to ${out}`], { out });
    return EXIT.ok;
  },
};
