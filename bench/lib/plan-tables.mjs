import { table } from "./markdown.mjs";
import { provenance } from "./provenance.mjs";

const gib = (bytes) => (bytes / 2 ** 30).toFixed(bytes < 0.95 * 2 ** 30 ? 2 : 1);
/** Markdown of `plan-choices.json`: the plan that is chosen beside the best of those made by hand. */
export function planChoicesBlock(result) {
  const lines = result.rows.map(({ model, gpu, deviceMemory, tried, ratio, chosen, best }) => [
    model,
    gpu,
    gib(deviceMemory),
    mib(chosen.unitBytes),
    chosen.stepSeconds.toPrecision(3),
    String(tried),
    mib(best.unitBytes),
    best.stepSeconds.toPrecision(3),
    ratio.toFixed(3),
  ]);
  const head = ["model", "GPU", "allowed, GiB", "units chosen, MiB", "s per step", "by hand"];
  return [
    "The predicted step of the plan that is chosen, beside the best of those made by hand: units of 32 to 1,024 MiB, 2 " +
      `to 4 slots, prepared ahead or not, with resident units or without; one sequence of ` +
      `${result.tokens.toLocaleString("en")} tokens in fp16.`,
    "",
    table([...head, "units of the best, MiB", "s per step", "chosen / best"], lines, 2),
    "",
    provenance(result),
  ].join("\n");
}

const mib = (bytes) => Math.round(bytes / 2 ** 20).toLocaleString("en");

/** Markdown of `plan-models.json`: what is chosen for a model on a GPU, and the step that is predicted. */
export function planModelsBlock(result) {
  const { plans, tokens } = result;
  const sources = [...new Set(plans.map(({ hardware }) => hardware.source.split(",")[0]))];
  const lines = [
    `A MeZO step in fp16 on one sequence of ${tokens.toLocaleString("en")} tokens. Bytes are exact. Times are ` +
      "**predictions**, from the commands of a step and what data sheets say; no GPU has confirmed any.",
    "",
    table(
      [
        "model",
        "GPU",
        "device memory allowed, GiB",
        "units of at most, MiB",
        "resident units",
        "device, GiB",
        "host, GiB",
        "predicted s per step",
        "bound by",
      ],
      plans.map((plan) => [
        plan.model,
        plan.hardware.title,
        gib(plan.deviceMemory),
        mib(plan.unitBytes),
        plan.streamedUnits === 0 ? "all" : `${plan.residentUnits} of ${plan.residentUnits + plan.streamedUnits}`,
        gib(plan.deviceBytes),
        gib(plan.hostBytes),
        plan.predicted.stepSeconds.toPrecision(3),
        plan.predicted.bound,
      ]),
      2,
    ),
    "",
    `Figures of the GPUs: ${sources.join(", ")}. What is allowed is the card's memory less 1 GB, or 3 GiB of it.`,
    "",
    provenance(result),
  ];
  return lines.join("\n");
}
