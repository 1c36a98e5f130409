/**
 * Whether what is chosen is near the best: for OPT models of 13B to 175B in little device memory, the predicted step of
 * the plan that `zo2 plan` chooses beside those of plans made by hand: every unit size of a grid, 2 to 4 slots,
 * prepared ahead or not, with what is left filled with resident units or left empty. Nothing is computed; times are
 * predictions.
 *
 *   node bench/plan-choices.mjs [--tokens 2048] [--gpus rtx-4090,h100] [--models OPT-13B,...]
 *
 * Writes bench/results/plan-choices.json (--out), a table of docs/plan.md.
 */
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseOptions } from "../dist/esm/config/parse.js";
import { planOptionsSchema } from "../dist/esm/config/plan.js";
import { planConfig } from "../dist/esm/planner/plan-model.js";
import { describeCommit, describeMachine } from "./lib/machine.mjs";
import { OPT_MODELS, optConfig } from "./lib/opt-shape.mjs";
import { readOptions, runMain } from "./lib/options.mjs";

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const DEFAULTS = {
  ...{ tokens: 2048, gpus: "rtx-4090,h100", models: "OPT-13B,OPT-30B,OPT-66B,OPT-175B" },
  out: path.join(root, "bench", "results", "plan-choices.json"),
};
const GIB = 2 ** 30;
const memoryFor = (model) => (model === "OPT-175B" ? 3 : 2) * GIB;
const BY_HAND = [32, 64, 128, 256, 512, 1024].flatMap((mib) =>
  [2, 3, 4].flatMap((slots) =>
    ["on", "off"].flatMap((prepareAhead) =>
      ["auto", "host"].map((to) => ({ unitBytes: mib * 2 ** 20, slots, prepareAhead, to })),
    ),
  ),
);

/** Null where it does not fit. */
function planned(name, hardware, tokens, offload) {
  const whole = { wire: "fp16", deviceMemory: memoryFor(name), ...offload };
  const options = { hardware, maxLength: tokens, dtype: "fp16", offload: whole };
  try {
    return planConfig(name, optConfig(OPT_MODELS[name]), parseOptions(planOptionsSchema, options, "plan options"));
  } catch (error) {
    if (error.code === "ZO2_ERR_MEMORY_BUDGET") return null;
    throw error;
  }
}

const shown = ({ unitBytes, slots, prepareAhead, residentUnits, streamedUnits, predicted, deviceBytes }) => ({
  ...{ unitBytes, slots, prepareAhead, residentUnits, streamedUnits, deviceBytes },
  stepSeconds: predicted.stepSeconds,
});

await runMain("plan-choices", () => {
  const o = readOptions(process.argv.slice(2), DEFAULTS);
  const rows = [];
  for (const model of o.models.split(","))
    for (const gpu of o.gpus.split(",")) {
      const chosen = planned(model, gpu, o.tokens, {});
      if (chosen === null) throw new Error(`${model} does not fit`);
      const hand = BY_HAND.map((offload) => planned(model, gpu, o.tokens, offload)).filter((plan) => plan !== null);
      const best = hand.reduce((a, b) => (a.predicted.stepSeconds <= b.predicted.stepSeconds ? a : b));
      const ratio = chosen.predicted.stepSeconds / best.predicted.stepSeconds;
      rows.push({
        model,
        gpu,
        deviceMemory: memoryFor(model),
        tried: hand.length,
        ratio,
        chosen: shown(chosen),
        best: shown(best),
      });
      console.log(`${model} ${gpu}: ${ratio.toFixed(3)} times the best of ${hand.length} made by hand`);
    }
  const result = {
    ...describeCommit(root),
    device: describeMachine(),
    date: new Date().toISOString(),
    node: process.version,
  };
  fs.writeFileSync(o.out, `${JSON.stringify({ ...result, tokens: o.tokens, rows }, null, 2)}\n`);
});
