/** What a sweep tries, from flags and config files to the options of the library. */
import { Zo2Error } from "../base/errors.js";
import { isRecord } from "../base/guards.js";
import { type SweptValues, sweptPath } from "../config/sweep.js";
import type { SweepParts } from "../sweep/trials.js";
import { FLAGS, type FlagName, type Flags, longFlag } from "./flags.js";

/** How the parts of a sweep are called in a config file. */
export const CONFIG_PLACES = { grid: "sweep", trials: "sweep.trials" } as const;

/**
 * The grid and the listed trials of option `sweep`; names of flags are the options that they set.
 * @throws Zo2Error ZO2_ERR_CONFIG for text without a `=`, or trials that are no list of objects
 */
export function sweepOf({ sweep = {} }: Flags): Pick<SweepParts, "grid" | "trials"> {
  const { trials = [], ...grid } = Array.isArray(sweep) ? Object.fromEntries(sweep.map(axisOf)) : sweep;
  if (!Array.isArray(trials) || !trials.every(isRecord))
    throw new Zo2Error(
      "ZO2_ERR_CONFIG",
      `${CONFIG_PLACES.trials}: must be a list of trials, each an object of options`,
    );
  return { grid: named(grid), trials: trials.map(named) };
}

/** A name that is a flag's alone is that of the option which it sets: `lrSchedule` is `method.schedule.name`. */
function named(values: SweptValues): SweptValues {
  return Object.fromEntries(
    Object.entries(values).map(([name, value]) => {
      if (!("problem" in sweptPath(name)) || !Object.hasOwn(FLAGS, name)) return [name, value];
      const flag = FLAGS[name as FlagName];
      return ["path" in flag && flag.path !== undefined ? flag.path : name, value];
    }),
  );
}

/** `learningRate=1e-7,1e-6`. */
function axisOf(text: string): [string, unknown] {
  const [, name, values] = /^([^=]+)=(.*)$/s.exec(text) ?? [];
  if (name === undefined || values === undefined) {
    throw new Zo2Error(
      "ZO2_ERR_CONFIG",
      `${longFlag("sweep")} is ${JSON.stringify(text)}; write an option and its values, such as learningRate=1e-7,1e-6`,
    );
  }
  return [name, values.split(",").map(parsed)];
}

function parsed(text: string): unknown {
  if (/^[-+]?\d+$/.test(text) && !Number.isSafeInteger(Number(text))) return BigInt(text.replace(/^\+/, ""));
  if (text === "true" || text === "false") return text === "true";
  return text.trim() !== "" && Number.isFinite(Number(text)) ? Number(text) : text;
}
