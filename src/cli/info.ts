import { formatBytes, formatCount } from "../report/units.js";
import type { PlanSummary } from "../model.js";
import type { SystemView } from "./api.js";
import { buildModelOptions } from "./build.js";
import type { CommandSpec } from "./command.js";
import { EXIT } from "./exit.js";
import { COMMON_FLAGS, MODEL_FLAGS } from "./flags.js";
import { openModel } from "./load.js";

export const infoCommand: CommandSpec = {
  name: "info",
  summary: "versions, backends, this machine; with --model, the memory plan",
  flags: [...MODEL_FLAGS, "config", ...COMMON_FLAGS],
  examples: ["zo2 info", "zo2 info --model opt-1.3b --wire fp16 --device-memory 4GiB"],
  async run(flags, context, output) {
    const modelOptions = buildModelOptions(flags);
    const api = await context.loadApi();
    const system = await api.systemInfo(flags.threads === undefined ? {} : { threads: flags.threads });
    const versions = {
      zo2: context.version,
      node: process.versions.node,
      platform: `${process.platform}-${process.arch}`,
    };
    const lines = systemLines(versions, system);
    const json: Record<string, unknown> = { versions, ...system };
    if (flags.model !== undefined) {
      const model = await openModel(api, flags.model, modelOptions, context, output);
      try {
        const plan = model.plan();
        lines.push(
          "",
          `model     ${model.dir}`,
          `          ${formatCount(model.parameterCount)} parameters, weights rest on the ${model.options.offload.to}`,
          ...planLines(plan),
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

function systemLines(versions: { zo2: string; node: string; platform: string }, system: SystemView): string[] {
  const { cpu } = system;
  return [
    `zo2       ${versions.zo2}, Node ${versions.node}, ${versions.platform}`,
    ...system.build.split("; ").map((part, i) => `${i === 0 ? "addon" : "     "}     ${part}`),
    ...system.backends.map(({ kind, devices, reason }) => {
      const count = `${devices} ${devices === 1 ? "device" : "devices"}`;
      return `${kind.padEnd(9)} ${devices > 0 ? count : `not available: ${reason ?? "no device"}`}`;
    }),
    `processor ${cpu.name}, ${cpu.threads} ${cpu.threads === 1 ? "thread" : "threads"}`,
    `features  ${cpu.features === "" ? "none beyond the base of the architecture" : cpu.features}`,
    `memory    ${formatBytes(cpu.memoryFree)} free of ${formatBytes(cpu.memoryTotal)}`,
  ];
}

function planLines(plan: PlanSummary): string[] {
  const nameWidth = Math.max(...[...plan.units, ...plan.parts].map((entry) => entry.name.length));
  return [
    `memory    device ${formatBytes(plan.deviceBytes)}, host ${formatBytes(plan.hostBytes)}`,
    ...plan.parts.map((part) => `          ${part.name.padEnd(nameWidth)}  ${formatBytes(part.bytes)}`),
    `units     ${plan.units.length}, in the order of their visits`,
    ...plan.units.map(
      (unit) => `          ${unit.name.padEnd(nameWidth)}  ${formatBytes(unit.bytes).padEnd(9)}  ${unit.tier}`,
    ),
  ];
}
