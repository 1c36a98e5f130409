import { isDeepStrictEqual } from "node:util";
import { Zo2Error } from "../base/errors.js";
import { methodSchema } from "../config/methods/index.js";
import type { RunHeader } from "../journal/header.js";

/**
 * Checks that weights are those that a run began with.
 * @param where names the journal in messages.
 * @throws Zo2Error ZO2_ERR_JOURNAL naming the first tensor or option that is different
 */
export function checkBase(
  run: Pick<RunHeader, "base" | "numerics">,
  asked: Pick<RunHeader, "base" | "numerics">,
  where: string,
): void {
  const fail = (what: string) => new Zo2Error("ZO2_ERR_JOURNAL", `${where}: ${what}`);
  const { tensors } = run.base;
  const now = new Map(asked.base.tensors.map((tensor) => [tensor.name, tensor]));
  for (const tensor of tensors) {
    const other = now.get(tensor.name);
    const name = JSON.stringify(tensor.name);
    const isSame = other?.hash === tensor.hash && isDeepStrictEqual(tensor.shape, other.shape);
    if (tensor.adapter === true && !isSame) {
      throw fail(
        `the run has trained an adapter of which ${asked.base.name} does not have tensor ${name} with its first ` +
          `values; load with option "adapter" = ${JSON.stringify(run.base.adapter)}`,
      );
    }
    if (other === undefined)
      throw fail(`tensor ${name} of the run's base is not in ${asked.base.name}; load ${run.base.name}`);
    if (!isDeepStrictEqual(tensor.shape, other.shape)) {
      throw fail(
        `tensor ${name} of the run's base has the shape [${tensor.shape.join(", ")}], that of ${asked.base.name} has ` +
          `[${other.shape.join(", ")}]; load ${run.base.name}`,
      );
    }
    if (tensor.hash !== other.hash) {
      throw fail(
        `tensor ${name} of ${asked.base.name} has other values than the base of the run, ${run.base.name}: another ` +
          "model, another revision, or a tuned one; load the run's own",
      );
    }
    if (tensor.wire !== other.wire) {
      throw fail(
        `tensor ${name} was trained as ${tensor.wire} and is loaded as ${other.wire}; load with ` +
          `option "offload.wire" = "${tensor.wire}"`,
      );
    }
  }
  if (asked.base.adapter !== undefined && run.base.adapter === undefined)
    throw fail(`the run has trained ${run.base.name} itself; load without option "adapter"`);
  if (
    asked.base.tensors.length !== tensors.length ||
    asked.base.tensors.some(({ name }, i) => tensors[i]?.name !== name)
  )
    throw fail(`${asked.base.name} has other tensors, or in another order, than the run's base; load ${run.base.name}`);
  if (run.base.config !== asked.base.config)
    throw fail(`config.json of ${asked.base.name} is not that of the run's base; load ${run.base.name}`);
  checkOption("rounding", run.numerics.rounding, asked.numerics.rounding, where);
}

function checkOption(name: string, then: unknown, now: unknown, where: string): void {
  if (isDeepStrictEqual(then, now)) return;
  throw new Zo2Error(
    "ZO2_ERR_JOURNAL",
    `${where}: option "${name}" is ${textOf(now)} now and was ${textOf(then)} when the run began; give it as it ` +
      "was, or begin another run",
  );
}

/**
 * Checks that a run can go on with what is asked for now. @throws Zo2Error ZO2_ERR_JOURNAL naming what is different
 */
export function checkFits(run: RunHeader, asked: RunHeader, where: string): void {
  const given: readonly [string, unknown, unknown][] = [
    ["dtype", run.numerics.compute, asked.numerics.compute],
    ["tf32", run.numerics.tf32, asked.numerics.tf32],
    ...[...new Set([...Object.keys(run.training), ...Object.keys(asked.training)])].map(
      (name): [string, unknown, unknown] => [name, optionOf(run, name), asked.training[name]],
    ),
  ];
  for (const [name, then, now] of given) checkOption(name, then, now, where);
  if (run.data.hash !== asked.data.hash || run.data.examples !== asked.data.examples) {
    throw new Zo2Error(
      "ZO2_ERR_JOURNAL",
      `${where}: it began with ${dataText(run)}, and ${dataText(asked)} have other contents: a run goes on with the ` +
        "same data",
    );
  }
}

/** An option of a run; what a method has got since the run began has its default. */
function optionOf({ training }: RunHeader, name: string): unknown {
  const value = training[name];
  return name === "method" ? (methodSchema.safeParse(value).data ?? value) : value;
}

function dataText({ data }: RunHeader): string {
  return `${data.examples} examples of ${data.path ?? "the program"}`;
}

function textOf(value: unknown): string {
  return value === undefined ? "not given" : JSON.stringify(value);
}
