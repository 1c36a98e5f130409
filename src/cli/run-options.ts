/** The flags of a run, kept in its folder, so that it can be resumed with no other flag. */
import { join, resolve } from "node:path";
import { parseOptions } from "../config/parse.js";
import { Zo2Error } from "../base/errors.js";
import { exists, makeFolder, replaceTextFile } from "../base/files.js";
import { messageOf } from "../base/guards.js";
import { JOURNAL_FILE } from "../journal/read-run.js";
import { readConfigFile } from "./config-file.js";
import { type FlagName, type Flags, flagsSchema, longFlag } from "./flags.js";

const OPTIONS_FILE = "options.json";

/** Flags that hold the path of a file or a folder. */
const PATHS = ["data", "evalData", "taskData", "out", "metrics", "adapter"] as const satisfies readonly FlagName[];
/** Flags of one process: how it speaks, and where a run comes from. */
const NOT_OF_A_RUN = ["config", "resume", "run", "json", "debug", "quiet"] as const satisfies readonly FlagName[];

/** Writes the flags of a run into its folder: nobody resumes one without them. @throws Zo2Error ZO2_ERR_IO */
export async function keepOptions(dir: string, flags: Flags): Promise<void> {
  try {
    await makeFolder(dir);
    await replaceTextFile(join(dir, OPTIONS_FILE), textOf(await ofTheRun(flags)));
  } catch (error) {
    throw new Zo2Error("ZO2_ERR_IO", `${dir}: no run can be kept there: ${messageOf(error)}`, { cause: error });
  }
}

/** The flags of the run in `dir`, with those given now over them. @throws Zo2Error ZO2_ERR_CONFIG, ZO2_ERR_IO */
export async function resumedFlags(dir: string, names: readonly FlagName[], given: Flags): Promise<Flags> {
  const path = join(dir, OPTIONS_FILE);
  if (!(await exists(path))) {
    const what = `there is no ${OPTIONS_FILE} in it, which stands there before the first step; start the run anew`;
    const why = (await exists(join(dir, JOURNAL_FILE)))
      ? `${what}, or where a program began it resume it there (Trainer.resume)`
      : `keeps no run: ${what}`;
    throw new Zo2Error("ZO2_ERR_CONFIG", `${longFlag("resume")} ${dir}: ${why}`);
  }
  const known = names.filter((name) => !(NOT_OF_A_RUN as readonly string[]).includes(name));
  const kept = parseOptions(flagsSchema(known), await readConfigFile(path), path) as Flags;
  return { ...kept, ...given, run: dir };
}

/** The folder of a new run beside `out`: one in which no run is kept yet. */
export async function freeRunFolder(out: string): Promise<string> {
  for (let i = 1; ; i++) {
    const dir = `${out}.run${i === 1 ? "" : `-${i}`}`;
    if (!(await exists(join(dir, JOURNAL_FILE)))) return dir;
  }
}

async function ofTheRun(flags: Flags): Promise<Flags> {
  const kept: Record<string, unknown> = { ...flags };
  for (const name of NOT_OF_A_RUN) delete kept[name];
  for (const name of PATHS) if (flags[name] !== undefined) kept[name] = resolve(flags[name]);
  // What is no folder is the id of a repository.
  if (flags.model !== undefined && (await exists(flags.model))) kept["model"] = resolve(flags.model);
  return kept;
}

/** JSON; whole numbers beyond 2^53 stand in it digit by digit, as config files have them. */
function textOf({ seed, ...flags }: Flags): string {
  const text = JSON.stringify(flags, undefined, 2);
  return `${seed === undefined ? text : text.replace(/\n}$/, `,\n  "seed": ${seed}\n}`)}\n`;
}
