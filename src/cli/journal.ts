import { writeFile } from "node:fs/promises";
import { Zo2Error } from "../base/errors.js";
import { messageOf } from "../base/guards.js";
import { countedSteps } from "../journal/counted.js";
import { lossesOf, lossOf } from "../journal/record.js";
import type { Journal } from "../journal/read.js";
import { writeCompact } from "../journal/writer.js";
import { noiseText } from "../method/index.js";
import { formatBytes, formatCount, formatLoss } from "../report/units.js";
import { readRun } from "../journal/read-run.js";
import type { CommandSpec } from "./command.js";
import type { Context } from "./context.js";
import { EXIT } from "./exit.js";
import { COMMON_FLAGS, type Flags, longFlag } from "./flags.js";
import type { Output } from "./output.js";
import { writeText } from "./streams.js";

type Action = (journal: Journal, flags: Flags, context: Context, output: Output) => Promise<void>;

const ACTIONS: Readonly<Record<string, Action>> = { info, verify, export: exportSteps, compact };

export const journalCommand: CommandSpec = {
  name: "journal",
  summary: "look into the journal of a run: info, verify, export, compact",
  details:
    "info: what the run is, and how far it came. verify: reads every record, and fails where one was changed. " +
    "export: every step as CSV, or with --format jsonl as JSON Lines, to --out or to standard output. " +
    "compact: a copy with the coefficients alone, which replays alike, as --out.",
  arguments: "<action> <run>",
  flags: ["out", "format", ...COMMON_FLAGS],
  help: { out: "file to write (default: standard output)" },
  examples: [
    "zo2 journal info tuned.run",
    "zo2 journal verify tuned.run/run.zo2",
    "zo2 journal export tuned.run --out steps.csv",
    "zo2 journal compact tuned.run --out tuned.zo2",
  ],
  async run(flags, context, output, [name = "", run = ""]) {
    const action = Object.hasOwn(ACTIONS, name) ? ACTIONS[name] : undefined;
    if (action === undefined) {
      throw new Zo2Error(
        "ZO2_ERR_CONFIG",
        `zo2 journal ${name}: no such action; ${Object.keys(ACTIONS).join(", ")} are there`,
      );
    }
    await action(await readRun(run), flags, context, output);
    return EXIT.ok;
  },
};

async function info(journal: Journal, _flags: Flags, _context: Context, output: Output): Promise<void> {
  const { header, sessions, steps, dropped, evaluations, bytes, torn, closed, compact: short } = journal;
  const { base, method, numerics, data, training } = header;
  const last = steps.at(-1);
  const matrices = new Set(base.tensors.filter(({ shape }) => shape.length > 1).map(({ wire }) => wire));
  const best = evaluations.findLast((evaluation) => evaluation.best);
  const end = closed
    ? "ended in order"
    : torn > 0
      ? `ended amid a record (${torn} bytes are left out)`
      : "did not end in order";
  const lines = [
    `base      ${base.name}: ${formatCount(base.tensors.length)} tensors, at rest in ${[...matrices].join(", ")}, ` +
      `rounded ${numerics.rounding}`,
    `method    ${nameOf(training["method"])}, seed ${method.seed}, ${noiseText(method.noise)} noise` +
      (method.frozen.length === 0 ? "" : `, ${formatCount(method.frozen.length)} parameters frozen`),
    `data      ${data.path ?? "examples of the program"}: ${formatCount(data.examples)} examples`,
    `steps     ${formatCount(steps.length)} of ${textOf(sessions.at(-1)?.options["steps"])} in ` +
      `${formatCount(sessions.length)} ${sessions.length === 1 ? "session" : "sessions"}; the last ${end}`,
    ...dropped.map(
      ({ step, count, guard }) =>
        `dropped   ${count === 1 ? `step ${step}` : `steps ${step - count + 1} to ${step}`} (${guard})`,
    ),
    ...(last === undefined || short ? [] : [`loss      ${formatLoss(lossOf(last, method.inPlace))} at the last step`]),
    ...(best === undefined ? [] : [`best      loss ${formatLoss(best.loss)} after step ${best.step}`]),
    `journal   ${formatBytes(bytes)}${short ? ", coefficients alone" : ""}`,
  ];
  await output.result(lines, {
    header,
    sessions,
    steps: steps.length,
    dropped,
    evaluations,
    bytes,
    torn,
    closed,
    compact: short,
  });
}

async function verify(journal: Journal, _flags: Flags, _context: Context, output: Output): Promise<void> {
  const { path, steps, bytes, torn } = journal;
  const tail = torn === 0 ? "" : `; the last ${torn} bytes are half a record, which a crash has torn`;
  await output.result([`${path}: ${formatCount(steps.length)} steps are whole${tail}`], {
    ...{ path, steps: steps.length, bytes, torn },
  });
}

async function exportSteps(journal: Journal, flags: Flags, context: Context, output: Output): Promise<void> {
  const text = flags.format === "jsonl" ? jsonLines(journal) : csv(journal);
  if (flags.out === undefined) return writeText(context.stdout, text);
  await write(flags.out, text);
  await output.result([`${formatCount(journal.steps.length)} steps are in ${flags.out}`], {
    steps: journal.steps.length,
    out: flags.out,
  });
}

async function compact(journal: Journal, flags: Flags, _context: Context, output: Output): Promise<void> {
  if (flags.out === undefined)
    throw new Zo2Error("ZO2_ERR_CONFIG", `${longFlag("out")} is missing; give the file for the copy`);
  const bytes = await writeCompact(flags.out, journal);
  await output.result([`${formatBytes(bytes)} of ${formatBytes(journal.bytes)} are in ${flags.out}`], {
    ...{ bytes, from: journal.bytes, out: flags.out },
  });
}

/** `counts`: 1, or 0 for a step that was dropped. */
function rowsOf(journal: Journal): Record<string, number>[] {
  const { steps, header } = journal;
  const { probes, directions } = header.method;
  const counted = new Set(countedSteps(journal).map(({ step }) => step));
  return steps.map((step) => {
    const losses = lossesOf(step);
    return {
      step: step.step,
      ...Object.fromEntries(losses.map((loss, p) => [probes === 1 ? "loss" : `loss${p}`, loss])),
      ...Object.fromEntries(step.coefficients.map((c, d) => [directions === 1 ? "coefficient" : `coefficient${d}`, c])),
      ...{ learningRate: step.learningRate, counts: counted.has(step.step) ? 1 : 0 },
    };
  });
}

function jsonLines(journal: Journal): string {
  return rowsOf(journal)
    .map((row) => `${JSON.stringify(row)}\n`)
    .join("");
}

function csv(journal: Journal): string {
  const rows = rowsOf(journal);
  const names = Object.keys(rows[0] ?? {});
  return [names, ...rows.map((row) => names.map((name) => row[name]))].map((cells) => `${cells.join(",")}\n`).join("");
}

async function write(path: string, text: string): Promise<void> {
  await writeFile(path, text).catch((error: unknown) => {
    throw new Zo2Error("ZO2_ERR_IO", `${path}: cannot be written: ${messageOf(error)}`, { cause: error });
  });
}

function nameOf(method: unknown): string {
  return typeof method === "object" && method !== null && "name" in method ? String(method.name) : "?";
}

function textOf(steps: unknown): string {
  return typeof steps === "number" ? formatCount(steps) : "?";
}
