import { Zo2Error } from "../base/errors.js";
import { patternOf } from "../base/pattern.js";
import { fixedParameters, isOfAdapter, type Parameter } from "../ops/parameter.js";

/**
 * The parameters that no step changes: those that one of the patterns names, and all of a base under an adapter; `*`
 * stands for any run of characters, everything else for itself. Throws ZO2_ERR_CONFIG for a pattern that names none,
 * and when nothing is left to train.
 */
export function matchParameters(parameters: readonly Parameter[], patterns: readonly string[]): ReadonlySet<Parameter> {
  const frozen = new Set(fixedParameters(parameters));
  for (const pattern of patterns) {
    const expression = patternOf(pattern);
    const matches = parameters.filter((p) => expression.test(p.name));
    if (matches.length === 0) {
      throw new Zo2Error(
        "ZO2_ERR_CONFIG",
        `freeze: ${JSON.stringify(pattern)} matches no parameter; names look like ${parameters.at(-1)?.name ?? "?"}`,
      );
    }
    for (const match of matches) frozen.add(match);
  }
  if (frozen.size === parameters.length) {
    const own = parameters.filter(isOfAdapter).length;
    const all = own === 0 ? `all ${parameters.length} parameters` : `all ${own} parameters of the adapter`;
    throw new Zo2Error("ZO2_ERR_CONFIG", `freeze: the patterns match ${all}; leave some to train`);
  }
  return frozen;
}
