/** What a page says in words: rows with a value for each run. */
import { isRecord } from "../base/guards.js";
import type { Journal } from "../journal/read.js";
import type { RunSession } from "../journal/header.js";
import { formatBytes, formatCount } from "../report/units.js";
import { allCoefficients } from "./picture.js";
import type { ShownRun } from "./run.js";
import { spreadOf } from "./summary.js";

export interface Fact {
  readonly label: string;
  /** By run; null: it has none. */
  readonly values: readonly (string | null)[];
  /** Whether not all runs have the same. */
  readonly differs: boolean;
}

function factOf(label: string, values: readonly (string | null)[]): Fact {
  return { label, values, differs: values.some((value) => value !== values[0]) };
}

/** Base, method, data and journal of each run. */
export function runFacts(runs: readonly ShownRun[]): Fact[] {
  const row = (label: string, of: (journal: Journal) => string | null) =>
    factOf(
      label,
      runs.map(({ journal }) => of(journal)),
    );
  return [
    row("base model", ({ header }) => header.base.name),
    row("parameters", ({ header }) => parametersOf(header.base.tensors)),
    row("weights at rest", ({ header }) => wiresOf(header.base.tensors)),
    row("method", ({ header: { method, training } }) => {
      const { name } = isRecord(training["method"]) ? training["method"] : {};
      const probes = `${plural(method.probes, "forward pass", "forward passes")} a step`;
      return `${textOf(name) ?? "?"}, ${probes}, ${plural(method.directions, "direction", "directions")}`;
    }),
    row("frozen", ({ header: { method } }) =>
      method.frozen.length === 0 ? "nothing" : `${plural(method.frozen.length, "parameter", "parameters")}`,
    ),
    row("data", ({ header: { data } }) => data.path ?? "examples of the program"),
    row("examples", ({ header: { data } }) => formatCount(data.examples)),
    row("data fingerprint", ({ header: { data } }) => data.hash),
    row("begun", ({ header }) => timeOf(header.created)),
    row("steps taken", (journal) => `${formatCount(journal.steps.length)} of ${formatCount(stepsAsked(journal))}`),
    row("steps along no direction", ({ steps }) => {
      const count = steps.filter(({ coefficients }) => coefficients.every((value) => value === 0)).length;
      return count === 0 ? null : `${formatCount(count)}: their coefficients are 0`;
    }),
    row("projected gradient", (journal) => {
      const spread = spreadOf(allCoefficients(journal));
      return spread === null ? null : `mean ${short(spread.mean)}, standard deviation ${short(spread.deviation)}`;
    }),
    row("journal", ({ bytes, compact }) => `${formatBytes(bytes)}${compact ? ", coefficients alone" : ""}`),
    row("last session", endOf),
  ];
}

/** Every option of the trainer and of the last session, by its dotted name. */
export function optionFacts(runs: readonly ShownRun[]): Fact[] {
  const options = runs.map(
    ({ journal: { header, sessions } }) =>
      new Map([
        ...flat(header.training),
        ...flat({ dtype: header.numerics.compute, rounding: header.numerics.rounding, tf32: header.numerics.tf32 }),
        ...flat(sessions.at(-1)?.options ?? {}),
      ]),
  );
  const names = [...new Set(options.flatMap((map) => [...map.keys()]))];
  return names.map((name) =>
    factOf(
      name,
      options.map((map) => map.get(name) ?? null),
    ),
  );
}

/** What ran the last session. */
export function environmentFacts(runs: readonly ShownRun[]): Fact[] {
  const row = (label: string, of: (session: RunSession) => string | null) =>
    factOf(
      label,
      runs.map(({ journal }) => {
        const session = journal.sessions.at(-1);
        return session === undefined ? null : of(session);
      }),
    );
  return [
    row("device", ({ device }) => device),
    row("zo2", (session) => session.package),
    row("runtime", ({ runtime }) => runtime ?? null),
  ];
}

/** Bytes of the last session that has a plan, by part, with those of the whole first. */
export interface PlanRow {
  readonly label: string;
  readonly bytes: readonly (number | null)[];
  /** A part of the device's memory. */
  readonly part: boolean;
}

export function planRows(runs: readonly ShownRun[]): PlanRow[] {
  const plans = runs.map(({ journal }) => journal.sessions.findLast(({ plan }) => plan !== undefined)?.plan ?? null);
  const measured = runs.map(({ metrics }) => (metrics ?? []).reduce((most, m) => Math.max(most, m.deviceBytes), 0));
  if (plans.every((plan) => plan === null) && measured.every((bytes) => bytes === 0)) return [];
  const names = [...new Set(plans.flatMap((plan) => (plan?.parts ?? []).map(({ name }) => name)))];
  const row = (label: string, part: boolean, bytes: PlanRow["bytes"]) => ({ label, part, bytes });
  return [
    row(
      "device, planned",
      false,
      plans.map((plan) => plan?.deviceBytes ?? null),
    ),
    ...names.map((name) =>
      row(
        name,
        true,
        plans.map((plan) => plan?.parts.find((part) => part.name === name)?.bytes ?? null),
      ),
    ),
    row(
      "device, most in use",
      false,
      measured.map((bytes) => (bytes === 0 ? null : bytes)),
    ),
    row(
      "host, planned",
      false,
      plans.map((plan) => plan?.hostBytes ?? null),
    ),
  ].filter(({ bytes }) => bytes.some((value) => value !== null));
}

/** How many steps the last session was to reach; as many as there are where it does not say. */
export function stepsAsked({ sessions, steps }: Pick<Journal, "sessions" | "steps">): number {
  const asked = sessions.at(-1)?.options["steps"];
  return typeof asked === "number" ? asked : steps.length;
}

/** How the file ends, in words. */
export function endOf({ closed, torn, compact }: Pick<Journal, "closed" | "torn" | "compact">): string {
  if (compact) return "not in a compact journal";
  if (closed) return "ended in order";
  if (torn > 0) return `ended amid a record: the last ${torn} bytes are left out`;
  return "still going on, or it did not end in order";
}

/** `2026-11-30 04:00:00 UTC`; another text as it is. */
export function timeOf(text: string): string {
  const time = new Date(text);
  return Number.isNaN(time.getTime()) ? text : `${time.toISOString().slice(0, 19).replace("T", " ")} UTC`;
}

export function plural(count: number, one: string, many: string): string {
  return `${formatCount(count)} ${count === 1 ? one : many}`;
}

/** Nested fields by their dotted names; lists as JSON. */
function flat(fields: Readonly<Record<string, unknown>>, prefix = ""): [string, string][] {
  return Object.entries(fields).flatMap(([name, value]) =>
    isRecord(value)
      ? flat(value, `${prefix}${name}.`)
      : [[`${prefix}${name}`, textOf(value)] as const].filter((entry): entry is [string, string] => entry[1] !== null),
  );
}

function textOf(value: unknown): string | null {
  if (value === null || value === undefined) return null;
  return typeof value === "string" ? value : JSON.stringify(value);
}

function short(value: number): string {
  return String(Number(value.toPrecision(3)));
}

type Tensors = Journal["header"]["base"]["tensors"];

function parametersOf(tensors: Tensors): string {
  const elements = tensors.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);
  return `${formatCount(elements)} in ${plural(tensors.length, "tensor", "tensors")}`;
}

/** One-dimensional ones are always fp32. */
function wiresOf(tensors: Tensors): string {
  const matrices = tensors.filter(({ shape }) => shape.length > 1);
  return [...new Set((matrices.length === 0 ? tensors : matrices).map(({ wire }) => wire))].join(", ");
}
