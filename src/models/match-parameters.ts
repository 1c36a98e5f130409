import { Zo2Error } from "../base/errors.js";
import type { Parameter } from "../ops/parameter.js";

/**
 * The parameters that one of the patterns names; `*` stands for any run of characters, everything else for itself.
 * Throws ZO2_ERR_CONFIG for a pattern that names none, and when nothing is left to train.
 */
export function matchParameters(parameters: readonly Parameter[], patterns: readonly string[]): ReadonlySet<Parameter> {
  const frozen = new Set<Parameter>();
  for (const pattern of patterns) {
    const expression = new RegExp(`^${pattern.split("*").map(literal).join(".*")}$`);
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
    throw new Zo2Error(
      "ZO2_ERR_CONFIG",
      `freeze: the patterns match all ${parameters.length} parameters; leave some to train`,
    );
  }
  return frozen;
}

function literal(text: string): string {
  return text.replace(/[.+?^${}()|[\]\\]/g, "\\$&");
}
