import { Command } from "commander";
import { addonCommand } from "./addon.js";
import { addCommand } from "./command.js";
import type { Context } from "./context.js";
import { demoCommand } from "./demo.js";
import { evalCommand } from "./eval.js";
import { describeError, EXIT, exitCodeOf } from "./exit.js";
import { generateCommand } from "./generate.js";
import { stopOf } from "./signals.js";
import { ClosedOutput, writeText } from "./streams.js";
import { infoCommand } from "./info.js";
import { journalCommand } from "./journal.js";
import { mergeCommand } from "./merge.js";
import { planCommand } from "./plan.js";
import { replayCommand } from "./replay.js";
import { reportCommand } from "./report.js";
import { scoreCommand } from "./score.js";
import { sweepCommand } from "./sweep.js";
import { timelineCommand } from "./timeline.js";
import { trainCommand } from "./train.js";

/** Every command of `zo2`, in the order of the help. */
export const COMMANDS = [
  demoCommand,
  trainCommand,
  sweepCommand,
  evalCommand,
  scoreCommand,
  generateCommand,
  mergeCommand,
  replayCommand,
  journalCommand,
  reportCommand,
  planCommand,
  timelineCommand,
  infoCommand,
  addonCommand,
] as const;

/**
 * Runs `zo2` with these arguments (without the interpreter and the script).
 * @returns the exit code; an error has been printed as one line on standard error
 */
export async function runCli(args: readonly string[], context: Context): Promise<number> {
  let exitCode: number = EXIT.ok;
  // Commander does not wait for its help and version to be written.
  const written: Promise<void>[] = [];
  const program = new Command("zo2")
    .description(
      "Fine-tune large language models with forward passes only, streaming the weights between host memory and " +
        "one device.",
    )
    .version(context.version, "--version", "print the version")
    .helpOption("--help", "print this help")
    .helpCommand(false)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => written.push(writeText(context.stdout, text)),
      // Help after a usage error is for people too; the error itself is printed below, as every other.
      writeErr: (text) => context.stderr.write(text),
      outputError: () => undefined,
      getOutHelpWidth: () => helpWidth(context.stdout.columns),
      getErrHelpWidth: () => helpWidth(context.stderr.columns),
    })
    .addHelpText(
      "after",
      "\nExamples:\n  $ zo2 demo\n  $ zo2 train --help\n\nExit codes: 0 done, 1 failure, 2 wrong usage or " +
        "configuration, 128 + its number where a signal stopped it (130: Ctrl-C).",
    );
  for (const spec of COMMANDS) {
    addCommand(program, spec, context, (code) => {
      exitCode = code;
    });
  }
  const failed = (error: unknown): number => {
    const code = exitCodeOf(error, stopOf(context.signal));
    // Help and version have been printed, and a bare `zo2` has printed its help.
    const printed = code === EXIT.ok || (error instanceof Error && "code" in error && error.code === "commander.help");
    if (!printed) context.stderr.write(`${describeError(error, args.includes("--debug"))}\n`);
    return code;
  };
  try {
    await program.parseAsync([...args], { from: "user" });
  } catch (error) {
    exitCode = failed(error);
  }
  const unwritten = (await Promise.allSettled(written)).find((result) => result.status === "rejected");
  return unwritten === undefined || unwritten.reason instanceof ClosedOutput ? exitCode : failed(unwritten.reason);
}

function helpWidth(columns: number | undefined): number {
  return Math.min(columns === undefined || columns < 40 ? 80 : columns, 120);
}
