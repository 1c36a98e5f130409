import type { ModelPlan } from "../planner/summary.js";
import { activationsText } from "../report/residence.js";
import { formatBytes, formatCount, formatDuration, formatRate } from "../report/units.js";
import { HARDWARE_NAMES, THIS_MACHINE } from "../simulate/hardware.js";
import { buildPlanOptions } from "./build.js";
import type { CommandSpec } from "./command.js";
import { diskOf } from "./describe-model.js";
import { EXIT } from "./exit.js";
import { COMMON_FLAGS, longFlag } from "./flags.js";

export const planCommand: CommandSpec = {
  name: "plan",
  summary: "what training a model would take in memory and time, from its config.json alone",
  details:
    "For one step of training on --batch-size sequences of --max-length tokens: how the weights are cut, how many " +
    "stay on the device, bytes by purpose, and with --hardware the predicted time. No weight is read or downloaded, " +
    "and no native addon is needed but for --hardware this: it measures this machine once, and keeps its figures.",
  arguments: "<model>",
  flags: [
    ...["hardware", "measure", "deviceMemory", "hostMemory", "diskPath", "diskMemory"],
    ...["batchSize", "microBatchSize", "maxLength"],
    ...["wire", "dtype", "unitBytes", "slots", "prepareAhead", "activations", "offload", "overlap"],
    ...[
      "method",
      "directions",
      "antithetic",
      "rank",
      "interval",
      "noise",
      "lora",
      "loraAlpha",
      "loraTarget",
      "prefix",
      "adapter",
    ],
    ...["ignoreConfigFields", "revision", "config", ...COMMON_FLAGS],
  ] as CommandSpec["flags"],
  help: {
    batchSize: "sequences in a step (default: 1)",
    diskPath: "a folder that weights may rest in, which is not looked at (default: none)",
    diskMemory: "most bytes there (default: no limit)",
    deviceMemory: "most device memory in use (default: that of --hardware, else no limit)",
    maxLength: "tokens of each sequence (default: the model's positions)",
    wire: "fp32, fp16, bf16, int8, e4m3: weights at rest and in transfer (default: as config.json says)",
    unitBytes: "largest unit of a transfer (default: chosen)",
    slots: "units on the device at once, of those that move (default: chosen)",
  },
  examples: [
    "zo2 plan facebook/opt-13b --hardware rtx-4090 --dtype fp16",
    "zo2 plan opt-1.3b --device-memory 3GiB --max-length 512",
    "zo2 plan opt-125m --hardware this --max-length 128",
  ],
  async run(flags, context, output, [model = ""]) {
    const options = buildPlanOptions(flags);
    const { planModel } = await import("../planner/plan-model.js");
    const plan = await planModel(model, options, {
      signal: context.signal,
      onMeasure: (device) => output.say(`measuring ${device}: up to a minute, once`),
    });
    await output.result(linesOf(plan), { ...plan });
    return EXIT.ok;
  },
};

function linesOf(plan: ModelPlan): string[] {
  const { step } = plan;
  const passes = step.microBatches === 1 ? "" : ` in ${formatCount(step.microBatches)} micro-batches`;
  const sequences = `${formatCount(step.sequences)} ${step.sequences === 1 ? "sequence" : "sequences"}`;
  const width = Math.max(...plan.parts.map(({ name }) => name.length));
  return [
    `model     ${plan.model}: ${formatCount(plan.parameters)} parameters${adapterOf(plan)}, ` +
      `${formatBytes(plan.checkpointBytes)} to read or download` +
      (plan.storedKnown ? "" : " if it is stored in fp32: config.json names no dtype"),
    ...(plan.hardware === null ? [] : [`hardware  ${plan.hardware.title} (${plan.hardware.source})`]),
    `plan      ${choiceOf(plan)}`,
    `memory    device ${formatBytes(plan.deviceBytes)}${allowedOf(plan)}, host ${formatBytes(plan.hostBytes)}` +
      `${diskOf(plan)}: a training step on ${sequences} of ${formatCount(step.length)} tokens${passes}`,
    ...plan.parts.map(({ name, bytes }) => `          ${name.padEnd(width)}  ${formatBytes(bytes)}`),
    ...timeLines(plan),
  ];
}

function adapterOf({ adapterParameters }: ModelPlan): string {
  return adapterParameters === null ? "" : ` under an adapter of ${formatCount(adapterParameters)}`;
}

function allowedOf({ deviceMemory }: ModelPlan): string {
  return deviceMemory === null ? "" : ` of ${formatBytes(deviceMemory)}`;
}

/** How the weights are held, and why. */
function choiceOf(plan: ModelPlan): string {
  const { residentUnits, streamedUnits, unitBytes, slots, prepareAhead, predicted, wire, dtype } = plan;
  const units = residentUnits + streamedUnits;
  const weights = `${formatBytes(plan.weightBytes)} of weights in ${wire}`;
  const ahead = prepareAhead ? "prepared ahead" : "not prepared ahead";
  const bound = predicted === null ? "" : `; the ${predicted.bound} lane bounds a step`;
  const how =
    streamedUnits === 0
      ? `resident: ${weights} in ${formatCount(units)} units of up to ${formatBytes(unitBytes)}`
      : `streamed, ${weights}: ${formatCount(residentUnits)} of ${formatCount(units)} units resident, units of up to ` +
        `${formatBytes(unitBytes)}, ${slots} slots`;
  return `${how}, ${ahead}${activationsText(plan)}, computed in ${dtype}${bound}`;
}

function timeLines({ predicted, hardware }: ModelPlan): string[] {
  const names = [THIS_MACHINE, ...HARDWARE_NAMES];
  if (predicted === null) return [`time      ${longFlag("hardware")} predicts it: ${names.join(", ")}`];
  const { stepSeconds, tokensPerSecond, lanes } = predicted;
  const seconds = stepSeconds < 1 ? `${(stepSeconds * 1e3).toPrecision(3)} ms` : formatDuration(stepSeconds);
  const working = Object.entries(lanes).filter(([, share]) => share > 0);
  const busy = working.map(([lane, share]) => `${lane} ${Math.round(100 * share)} %`);
  return [
    `time      ${seconds} a step, ${formatRate(tokensPerSecond, "tokens")}: a prediction from those figures, ` +
      (hardware?.name === THIS_MACHINE ? "which were measured" : "which nobody has measured"),
    `          busy: ${busy.join(", ")}`,
  ];
}
