import { table } from "./markdown.mjs";
import { provenance } from "./provenance.mjs";

const gib = (bytes) => (bytes / 2 ** 30).toFixed(bytes < 0.95 * 2 ** 30 ? 2 : 1);
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
