import { isZo2Error } from "../base/errors.js";
import { runtimeName } from "../base/runtime.js";
import { formatBytes, formatCount } from "../report/units.js";
import { residenceText } from "../report/residence.js";
import type { PlanSummary } from "../model.js";
import type { ModelView, SystemView } from "./api.js";
import { buildModelOptions } from "./build.js";
import type { CommandSpec } from "./command.js";
import { EXIT } from "./exit.js";
import { COMMON_FLAGS, MODEL_FLAGS } from "./flags.js";
import { diskOf, inPlaceOf } from "./describe-model.js";
import { openModel } from "./load.js";

export const infoCommand: CommandSpec = {
  name: "info",
  summary: "versions, backends, this machine; with --model, the memory plan",
  details:
    "With --model, the plan for a training step on one sequence: of --max-length tokens, or of as many of the " +
    "model's positions as --device-memory has room for.",
  flags: [...MODEL_FLAGS, "maxLength", "config", ...COMMON_FLAGS],
  help: { maxLength: "tokens to plan for (default: the model's positions, as far as memory allows)" },
  examples: [
    "zo2 info",
    "zo2 info --model opt-1.3b --wire fp16 --device-memory 4GiB",
    "zo2 info --model opt-1.3b --max-length 512",
  ],
  async run(flags, context, output) {
    const modelOptions = buildModelOptions(flags, { training: true });
    const api = await context.loadApi();
    const system = await systemOrReason(() =>
      api.systemInfo(flags.threads === undefined ? {} : { threads: flags.threads }),
    );
    const versions = {
      zo2: context.version,
      runtime: runtimeName(),
      platform: `${process.platform}-${process.arch}`,
    };
    const lines = systemLines(versions, system);
    const json: Record<string, unknown> = { versions, ...system };
    if (flags.model !== undefined) {
      const model = await openModel(api, flags.model, modelOptions, { training: false }, context, output);
      try {
        const { plan, training } = planOf(model, flags.maxLength);
        lines.push(
          "",
          `model     ${model.dir}`,
          `          ${formatCount(model.parameterCount)} parameters, ${residenceText(plan)}`,
          ...planLines(plan, training, model.maxPositions),
        );
        json["model"] = { dir: model.dir, parameterCount: model.parameterCount, options: model.options, plan };
      } finally {
        await model.dispose();
      }
    }
    await output.result(lines, json);
    return EXIT.ok;
  },
};

/** What the addon says, or why there is none: whoever asks what is wrong gets an answer. */
async function systemOrReason(ask: () => Promise<SystemView>): Promise<SystemView | { readonly addonError: string }> {
  try {
    return await ask();
  } catch (error) {
    if (isZo2Error(error) && error.code === "ZO2_ERR_ADDON") return { addonError: error.message };
    throw error;
  }
}

const inColumn = (name: string, lines: readonly string[]) =>
  lines.map((line, i) => `${(i === 0 ? name : "").padEnd(9)} ${line}`);

function systemLines(
  versions: { zo2: string; runtime: string; platform: string },
  system: SystemView | { readonly addonError: string },
): string[] {
  const head = `zo2       ${versions.zo2}, ${versions.runtime}, ${versions.platform}`;
  if ("addonError" in system) return [head, ...inColumn("addon", system.addonError.split("\n"))];
  const { cpu } = system;
  return [
    head,
    ...inColumn("addon", [...system.build.split("; "), system.file]),
    ...system.backends.map(({ kind, devices, reason }) => {
      const count = `${devices} ${devices === 1 ? "device" : "devices"}`;
      return `${kind.padEnd(9)} ${devices > 0 ? count : `not available: ${reason ?? "no device"}`}`;
    }),
    `processor ${cpu.name}, ${cpu.threads} ${cpu.threads === 1 ? "thread" : "threads"}` +
      limitedBy(cpu.threadsLimitedBy),
    `features  ${cpu.features === "" ? "none beyond the base of the architecture" : cpu.features}`,
    `memory    ${formatBytes(cpu.memoryFree)} free of ${formatBytes(cpu.memoryTotal)}${limitedBy(cpu.memoryLimitedBy)}`,
  ];
}

function limitedBy(what = ""): string {
  return what === "" ? "" : `, limited by ${what}`;
}

/** The plan of a training step; where not even the shortest fits, that of a forward pass. */
function planOf(model: ModelView, maxLength: number | undefined): { plan: PlanSummary; training: boolean } {
  try {
    return { plan: model.plan(maxLength), training: true };
  } catch (error) {
    if (!isZo2Error(error) || error.code !== "ZO2_ERR_MEMORY_BUDGET" || maxLength !== undefined) throw error;
    return { plan: model.plan(undefined, { training: false }), training: false };
  }
}

function planLines(plan: PlanSummary, training: boolean, positions: number): string[] {
  const tokens = Math.min(plan.tokens, positions);
  const pass = training ? "a training step" : "a forward pass (none of training fits)";
  const nameWidth = Math.max(...[...plan.units, ...plan.parts].map((entry) => entry.name.length));
  return [
    `memory    device ${formatBytes(plan.deviceBytes)}, host ${formatBytes(plan.hostBytes)}${diskOf(plan)}` +
      `${inPlaceOf(plan)}: ${pass} on one sequence of ${formatCount(tokens)} of the model's ` +
      `${formatCount(positions)} positions`,
    ...plan.parts.map((part) => `          ${part.name.padEnd(nameWidth)}  ${formatBytes(part.bytes)}`),
    `units     ${plan.units.length}, in the order of their visits`,
    ...plan.units.map(
      (unit) => `          ${unit.name.padEnd(nameWidth)}  ${formatBytes(unit.bytes).padEnd(9)}  ${unit.tier}`,
    ),
  ];
}
