import type { Command } from "commander";
import { parseOptions } from "../config/parse.js";
import { readConfigFile } from "./config-file.js";
import type { Context } from "./context.js";
import { EXIT, isStopped } from "./exit.js";
import {
  COMMAND_LINE,
  commanderOption,
  flagsSchema,
  inWordsOfFlags,
  negationOf,
  type FlagName,
  type Flags,
} from "./flags.js";
import { Output } from "./output.js";
import { stopOf } from "./signals.js";

/** One command of `zo2`. */
export interface CommandSpec {
  readonly name: string;
  readonly summary: string;
  readonly flags: readonly FlagName[];
  /** What stands behind the command's name, as commander writes it: `<base> <journal...>`. @default nothing */
  readonly arguments?: string;
  /** Shown below the help, one a line. */
  readonly examples: readonly string[];
  /** What flags that other commands have too mean here, where that differs. */
  readonly help?: { readonly [K in FlagName]?: string };
  /** Shown between the description and the flags. */
  readonly details?: string;
  /** Whether work is lost to the caller where nobody reads its result: the exit code says so then. */
  readonly resultMatters?: boolean;
  /** @returns the exit code */
  run(flags: Flags, context: Context, output: Output, args: readonly string[]): Promise<number>;
}

/** Turns a spec into a command of `program`; `finish` gets its exit code. */
export function addCommand(
  program: Command,
  spec: CommandSpec,
  context: Context,
  finish: (exitCode: number) => void,
): void {
  const command = program.command(spec.name).summary(spec.summary).allowExcessArguments(false);
  command.description(spec.details === undefined ? spec.summary : `${spec.summary}\n\n${spec.details}`);
  if (spec.arguments !== undefined) command.arguments(spec.arguments);
  for (const flag of spec.flags) {
    command.addOption(commanderOption(flag, spec.help?.[flag]));
    const negation = negationOf(flag);
    if (negation !== undefined) command.addOption(negation);
  }
  command.addHelpText("after", `\nExamples:\n${spec.examples.map((example) => `  $ ${example}`).join("\n")}`);
  command.action(async () => {
    const flags = await mergeFlags(spec.flags, given(command));
    try {
      finish(await spec.run(flags, context, new Output(context, flags), command.processedArgs.flat().map(String)));
    } catch (error) {
      const stop = stopOf(context.signal);
      // Quiet: whoever has closed standard output does not want to hear of it.
      if (isStopped(error) && stop?.by === "SIGPIPE") finish(spec.resultMatters === true ? stop.exitCode : EXIT.ok);
      else throw inWordsOfFlags(error);
    }
  });
}

/** What the command line itself says, without commander's own defaults for `--no-...`. */
function given(command: Command): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(command.opts<Record<string, unknown>>()).filter(
      ([name]) => command.getOptionValueSource(name) === "cli",
    ),
  );
}

/**
 * Flags over the config file that `--config` names.
 * @throws Zo2Error `ZO2_ERR_CONFIG` for a key of the file that is no flag of this command, or a value of the wrong type
 */
export async function mergeFlags(
  names: readonly FlagName[],
  commandLine: Readonly<Record<string, unknown>>,
): Promise<Flags> {
  const schema = flagsSchema(names);
  const path = commandLine["config"];
  // A config file cannot name another one.
  const fromFile =
    typeof path === "string"
      ? parseOptions(flagsSchema(names.filter((name) => name !== "config")), await readConfigFile(path), path)
      : {};
  try {
    return { ...(fromFile as Flags), ...(parseOptions(schema, commandLine, COMMAND_LINE) as Flags) };
  } catch (error) {
    throw inWordsOfFlags(error);
  }
}
