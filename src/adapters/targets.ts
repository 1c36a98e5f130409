/** Which linear layers an adapter changes. */
import { Zo2Error } from "../base/errors.js";
import { patternOf } from "../base/pattern.js";
import { type LinearLayer, someLayers } from "./lora.js";

/** For all linear layers but the head, as in PEFT. */
export const ALL_LINEAR = "all-linear";
/** Projections of queries and values (LoRA, section 4.2); GPT-2 has them in one matrix. */
const USUAL = ["q_proj", "v_proj", "c_attn"];

/**
 * @param targets each matches a layer whose name is it, or ends with a dot and it; `*` stands for any text. @default
 *   `USUAL`
 * @throws Zo2Error ZO2_ERR_CONFIG for one that matches none, naming some that there are
 */
export function matchLayers(
  layers: readonly LinearLayer[],
  targets: readonly string[] | undefined,
): readonly LinearLayer[] {
  if (targets?.length === 1 && targets[0] === ALL_LINEAR) return layers;
  const matching = (target: string) => {
    const [whole, end] = [patternOf(target), patternOf(`*.${target}`)];
    return layers.filter(({ module }) => whole.test(module) || end.test(module));
  };
  const matched = new Set((targets ?? USUAL).flatMap(matching));
  const missing =
    targets === undefined ? matched.size === 0 && USUAL[0] : targets.find((t) => matching(t).length === 0);
  if (missing !== undefined && missing !== false)
    throw new Zo2Error(
      "ZO2_ERR_CONFIG",
      `option "adapter.targets": ${JSON.stringify(missing)} matches no linear layer but the head; the model has ` +
        someLayers(layers),
    );
  return layers.filter((layer) => matched.has(layer));
}
