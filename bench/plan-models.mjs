/**
 * What `zo2 plan` says of OPT models of all sizes for the GPUs that it knows, and for 3 GiB of one of them: how much
 * stays on the device, memory, and the time of a step that the simulator predicts. Nothing is computed, and no GPU is
 * asked: bytes are exact, times are predictions from data sheets.
 *
 *   node bench/plan-models.mjs [--tokens 2048] [--out bench/results/plan-models.json]
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
const DEFAULTS = { tokens: 2048, out: path.join(root, "bench", "results", "plan-models.json") };
const GPUS = ["rtx-4090", "a100-80gb", "h100", "h200"];
/** A GPU of which little is left for this. */
const SMALL = { hardware: "rtx-4090", deviceMemory: 3 * 2 ** 30 };

function planned(name, shape, tokens, { hardware, deviceMemory }) {
  const options = { hardware, maxLength: tokens, dtype: "fp16", offload: { wire: "fp16", deviceMemory } };
  const begin = performance.now();
  const plan = planConfig(name, optConfig(shape), parseOptions(planOptionsSchema, options, "plan options"));
  return { ...plan, planningSeconds: (performance.now() - begin) / 1e3 };
}

await runMain("plan-models", () => {
  const o = readOptions(process.argv.slice(2), DEFAULTS);
  const plans = [];
  for (const [name, shape] of Object.entries(OPT_MODELS)) {
    for (const asked of [SMALL, ...GPUS.map((hardware) => ({ hardware }))]) {
      const plan = planned(name, shape, o.tokens, asked);
      plans.push({ ...plan, small: asked === SMALL });
      console.log(name, asked.hardware, plan.predicted.stepSeconds.toFixed(3), plan.planningSeconds.toFixed(1));
    }
  }
  const about = {
    bench: "plan-models",
    date: new Date().toISOString(),
    node: process.version,
    ...describeCommit(root),
  };
  const result = { ...about, device: describeMachine(), tokens: o.tokens, plans };
  fs.mkdirSync(path.dirname(o.out), { recursive: true });
  fs.writeFileSync(o.out, `${JSON.stringify(result, null, 2)}\n`);
});
