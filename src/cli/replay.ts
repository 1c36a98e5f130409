import { formatCount } from "../report/units.js";
import { stat } from "node:fs/promises";
import type { ModelOptions } from "../config/model.js";
import { Zo2Error } from "../base/errors.js";
import type { Journal } from "../journal/read.js";
import { readRun } from "../journal/read-run.js";
import { buildModelOptions, requireFlags } from "./build.js";
import type { CommandSpec } from "./command.js";
import { EXIT } from "./exit.js";
import { COMMON_FLAGS, MODEL_FLAGS } from "./flags.js";
import { openModel } from "./load.js";
import { checkTarget } from "./target.js";

/** What a journal says itself. */
const OF_THE_RUN: readonly string[] = [
  ...["model", "wire", "offload", "dtype", "tf32", "lora", "loraAlpha", "loraTarget", "prefix", "adapter"],
];

export const replayCommand: CommandSpec = {
  name: "replay",
  summary: "rebuild a tuned model, byte for byte, from its base and the journal of its run",
  details:
    "BASE is the folder or the Hub id that the run began with; RUN the folder of a run, or its run.zo2. Several runs " +
    "are replayed one after another, each on what the one before it made.",
  arguments: "<base> <run...>",
  resultMatters: true,
  flags: [
    ...MODEL_FLAGS.filter((name) => !OF_THE_RUN.includes(name)),
    ...(["out", "steps", "saveDtype", "config"] as const),
    ...COMMON_FLAGS,
  ],
  help: { steps: "steps of the last run to apply (default: all)" },
  examples: [
    "zo2 replay opt-1.3b tuned.run --out tuned",
    "zo2 replay facebook/opt-1.3b run.zo2 --out after-500 --steps 500",
  ],
  async run(given, context, output, [base = "", ...runs]) {
    const { steps, ...flags } = requireFlags(given, ["out"]);
    const journals = await Promise.all(runs.map((run) => readRun(run)));
    const [first] = journals;
    await checkTarget(flags.out, { model: base }, first?.header.base.adapter === undefined ? "model" : "adapter");
    for (const { path, torn } of journals)
      if (torn > 0) output.say(`${path}: the last ${torn} bytes are half a record, which a crash has torn; left out`);
    const options: ModelOptions = {
      ...buildModelOptions(flags),
      ...(first === undefined ? {} : numericsOf(first)),
      journals: runs.map((run, i) => (i === runs.length - 1 && steps !== undefined ? { run, steps } : run)),
    };
    const api = await context.loadApi();
    const begun = performance.now();
    const purpose = { training: false };
    const model = await openModel(api, base, options, purpose, context, output);
    try {
      const seconds = (performance.now() - begun) / 1000;
      await model.save(flags.out, flags.saveDtype === undefined ? {} : { dtype: flags.saveDtype });
      const total = journals.reduce(
        (sum, journal, i) => sum + (i === journals.length - 1 ? (steps ?? journal.steps.length) : journal.steps.length),
        0,
      );
      const bytes = (await Promise.all(journals.map(({ path }) => stat(path)))).reduce(
        (sum, { size }) => sum + size,
        0,
      );
      await output.result(
        [
          `replayed ${formatCount(total)} steps (${formatCount(bytes)} bytes of journal) and saved the weights to ` +
            flags.out,
        ],
        { steps: total, journalBytes: bytes, seconds, out: flags.out },
      );
      return EXIT.ok;
    } finally {
      await model.dispose();
    }
  },
};

/** How weights have to rest and to be rounded, so that a run's updates give the same bytes. */
function numericsOf({ header, path }: Journal): ModelOptions {
  const { tensors, adapter } = header.base;
  const wires = new Set(tensors.filter((t) => t.shape.length > 1 && t.adapter !== true).map(({ wire }) => wire));
  const [wire] = wires;
  if (wire === undefined) throw new Zo2Error("ZO2_ERR_JOURNAL", `${path}: the run's base has no matrix`);
  return {
    ...{ rounding: header.numerics.rounding, offload: { wire: wires.size === 1 ? wire : "stored" } },
    ...(adapter === undefined ? {} : { adapter: adapter as ModelOptions["adapter"] }),
  };
}
