/** From flags to the options of the library, checked before a model is loaded. */
import type { z } from "zod";
import { evaluateOptionsSchema, type EvaluateOptions } from "../config/evaluate.js";
import { generateOptionsSchema, type GenerateOptions } from "../config/generate.js";
import { modelOptionsSchema, type ModelOptions } from "../config/model.js";
import { parseOptions } from "../config/parse.js";
import { planOptionsSchema, type PlanModelOptions } from "../config/plan.js";
import {
  taskEvaluateOptionsSchema,
  type TaskEvaluateOptions,
  type TaskOptions,
  taskOptionsSchema,
} from "../config/task.js";
import { timelineOptionsSchema, type TimelineOptions } from "../config/timeline.js";
import { trainerOptionsSchema, type TrainerOptions } from "../config/trainer.js";
import { Zo2Error } from "../base/errors.js";
import type { DataSource } from "../infer/source.js";
import { COMMAND_LINE, longFlag, type FlagName, type Flags } from "./flags.js";

const DEFAULT_METHOD = "mezo-sgd";

/**
 * @param training whether the model is going to be trained.
 * @throws Zo2Error `ZO2_ERR_CONFIG`
 */
export function buildModelOptions(flags: Flags, { training = false } = {}): ModelOptions {
  const { batchSize, microBatchSize, maxLength } = flags;
  const workload = { training, ...probesOf(flags), ...defined({ batchSize, microBatchSize, maxLength }) };
  return checked(modelOptionsSchema, {
    ...defined({
      device: flags.device,
      dtype: flags.dtype,
      tf32: flags.tf32,
      threads: flags.threads,
      rounding: flags.rounding,
      ignoreConfigFields: flags.ignoreConfigFields,
    }),
    ...(flags.revision === undefined ? {} : { hub: { revision: flags.revision } }),
    ...adapterOf(flags),
    workload,
    offload: defined({
      to: flags.offload,
      wire: flags.wire,
      deviceMemory: flags.deviceMemory,
      hostMemory: flags.hostMemory,
      diskPath: flags.diskPath,
      diskMemory: flags.diskMemory,
      unitBytes: flags.unitBytes,
      slots: flags.slots,
      prepareAhead: flags.prepareAhead,
      activations: flags.activations,
      writeBackEvery: flags.writeBackEvery,
      overlap: flags.overlap,
    }),
  });
}

/** @throws Zo2Error `ZO2_ERR_CONFIG` */
export function buildPlanOptions(flags: Flags): PlanModelOptions {
  const { hardware, batchSize, microBatchSize, maxLength, noise, dtype, ignoreConfigFields, offload: to } = flags;
  const { wire, deviceMemory, hostMemory, diskPath, diskMemory, unitBytes, slots, prepareAhead } = flags;
  const { activations, overlap, revision, measure } = flags;
  return checked(planOptionsSchema, {
    ...defined({ hardware, measure, batchSize, microBatchSize, maxLength, noise, dtype, ignoreConfigFields }),
    ...probesOf(flags),
    ...adapterOf(flags),
    offload: defined({
      ...{ to, wire, deviceMemory, hostMemory, diskPath, diskMemory, unitBytes, slots, prepareAhead },
      ...{ activations, overlap },
    }),
    ...(revision === undefined ? {} : { hub: { revision } }),
  });
}

/** @throws Zo2Error `ZO2_ERR_CONFIG` */
export function buildTimelineOptions(flags: Flags): TimelineOptions {
  const { batchSize, microBatchSize, maxLength, noise, measure } = flags;
  // The step that is drawn is the one that the model is loaded for.
  const { workload: _, ...model } = buildModelOptions(flags);
  return checked(timelineOptionsSchema, {
    ...defined({ batchSize, microBatchSize, maxLength, noise, measure }),
    ...probesOf(flags),
    model,
  });
}

/** @throws Zo2Error `ZO2_ERR_CONFIG` */
export function buildEvaluateOptions(flags: Flags): EvaluateOptions {
  return checked(evaluateOptionsSchema, { ...defined({ batchSize: flags.batchSize }), ...textOptionsOf(flags) });
}

/** What a task says itself. */
const OF_A_TASK = [
  ...(["data", "evalData", "prompt", "choices", "completion", "labelField", "labelMap", "truncation"] as const),
  "reduction",
] as const satisfies readonly FlagName[];

/**
 * The task that the flags name, and what of its data; undefined where they name data.
 * @throws Zo2Error `ZO2_ERR_CONFIG` for both, for none, or for flags that go with the other
 */
export function buildTask(flags: Flags): { readonly name: string; readonly options: TaskOptions } | undefined {
  const {
    task: name,
    taskData: data,
    taskTrain: train,
    taskDev: dev,
    taskTest: test,
    taskSeed: seed,
    faithful,
  } = flags;
  const options = defined({ data, train, dev, test, seed, faithful });
  if (name === undefined) {
    const [stray] = (
      ["taskData", "taskTrain", "taskDev", "taskTest", "taskSeed", "faithful", "shots", "objective"] as const
    ).filter((flag) => flags[flag] !== undefined);
    if (stray !== undefined) throw new Zo2Error("ZO2_ERR_CONFIG", `${longFlag(stray)} needs ${longFlag("task")} NAME`);
    return undefined;
  }
  const clash = OF_A_TASK.find((flag) => flags[flag] !== undefined);
  if (clash !== undefined)
    throw new Zo2Error(
      "ZO2_ERR_CONFIG",
      `${longFlag(clash)} and ${longFlag("task")} are both given; a task has its own data, prompts and scores`,
    );
  return { name, options: checked(taskOptionsSchema, options) };
}

/** The flag of the data, where no task has it. */
export function dataOrTask({ task }: Flags): readonly "data"[] {
  return task === undefined ? ["data"] : [];
}

/** @throws Zo2Error `ZO2_ERR_CONFIG` */
export function buildTaskEvaluateOptions({ shots, batchSize, maxLength }: Flags): TaskEvaluateOptions {
  return checked(taskEvaluateOptionsSchema, defined({ shots, batchSize, maxLength }));
}

/** @throws Zo2Error `ZO2_ERR_CONFIG` */
export function buildGenerateOptions(flags: Flags): GenerateOptions {
  const { maxNewTokens, temperature, topK, topP, seed, stop, ignoreEos, batchSize, cache } = flags;
  return checked(
    generateOptionsSchema,
    defined({ maxNewTokens, temperature, topK, topP, seed, stop, ignoreEos, batchSize, cache }),
  );
}

/** @throws Zo2Error `ZO2_ERR_CONFIG` */
export function buildTrainerOptions(flags: Flags): TrainerOptions {
  return checked(trainerOptionsSchema, trainerOptionsOf(flags));
}

/** The same before it is checked, where some of it is still to come. @throws Zo2Error `ZO2_ERR_CONFIG` */
export function trainerOptionsOf(flags: Flags): Readonly<Record<string, unknown>> {
  if (flags.evalData === undefined && flags.task === undefined && flags.evalEvery !== undefined) {
    throw new Zo2Error(
      "ZO2_ERR_CONFIG",
      `${longFlag("evalEvery")} is ${flags.evalEvery} and there is nothing to evaluate; give ` +
        `${longFlag("evalData")} FILE`,
    );
  }
  const evaluation = flags.evalData === undefined ? {} : { evaluation: evaluationOf(flags, flags.evalData) };
  return {
    method: {
      name: flags.method ?? DEFAULT_METHOD,
      ...defined({
        directions: flags.directions,
        antithetic: flags.antithetic,
        rank: flags.rank,
        interval: flags.interval,
        fitness: flags.fitness,
        learningRate: flags.learningRate,
        eps: flags.eps,
        weightDecay: flags.weightDecay,
        noise: flags.noise,
      }),
      schedule: defined({ name: flags.lrSchedule, warmupSteps: flags.warmupSteps }),
    },
    ...defined({
      steps: flags.steps,
      batchSize: flags.batchSize,
      microBatchSize: flags.microBatchSize,
      seed: flags.seed,
      freeze: flags.freeze,
      deferredUpdate: flags.deferredUpdate,
      run: flags.run === false ? undefined : flags.run,
      durability: flags.durability,
      onDivergence: flags.onDivergence,
    }),
    ...snapshotsOf(flags),
    ...textOptionsOf(flags),
    ...evaluation,
  };
}

/** The evaluation during training that the flags ask for, on `data`. */
export function evaluationOf({ steps, evalEvery, keepBest, batchSize }: Flags, data: DataSource) {
  return { data, every: evalEvery ?? steps ?? 1, ...defined({ keepBest, batchSize }) };
}

/** @throws Zo2Error `ZO2_ERR_CONFIG` that names the flags that are missing */
export function requireFlags<N extends FlagName>(
  flags: Flags,
  names: readonly N[],
): Flags & { readonly [K in N]-?: NonNullable<Flags[K]> } {
  const missing = names.filter((name) => flags[name] === undefined);
  if (missing.length > 0) {
    throw new Zo2Error(
      "ZO2_ERR_CONFIG",
      `${missing.map(longFlag).join(", ")} ${missing.length === 1 ? "is" : "are"} missing; give ` +
        `${missing.length === 1 ? "it" : "them"} as flags or in ${longFlag("config")} FILE`,
    );
  }
  return flags as Flags & { readonly [K in N]-?: NonNullable<Flags[K]> };
}

/** The adapter that the flags ask for. */
function adapterOf({ adapter, lora, loraAlpha, loraTarget, prefix }: Flags): { readonly adapter?: object } {
  const given = defined({ alpha: loraAlpha, targets: loraTarget });
  if (adapter !== undefined && (lora !== undefined || prefix !== undefined || Object.keys(given).length > 0))
    throw new Zo2Error(
      "ZO2_ERR_CONFIG",
      `${longFlag("adapter")} and ${longFlag(prefix === undefined ? "lora" : "prefix")} are both given; a folder ` +
        "says itself what its adapter is",
    );
  if (adapter !== undefined) return { adapter: { name: "peft", folder: adapter } };
  if (lora !== undefined && prefix !== undefined) {
    throw new Zo2Error("ZO2_ERR_CONFIG", `${longFlag("lora")} and ${longFlag("prefix")} are two adapters; give one`);
  }
  if (lora === undefined && prefix !== undefined && Object.keys(given).length === 0)
    return { adapter: { name: "prefix", tokens: prefix } };
  if (lora !== undefined) return { adapter: { name: "lora", rank: lora, ...given } };
  if (Object.keys(given).length === 0) return {};
  const stray = longFlag(loraAlpha === undefined ? "loraTarget" : "loraAlpha");
  throw new Zo2Error("ZO2_ERR_CONFIG", `${stray} needs ${longFlag("lora")} RANK`);
}

/** What decides on the probes of a step, where a flag says something of it. */
function probesOf({ method, directions, antithetic, rank, interval }: Flags): { readonly method?: object } {
  const given = defined({ directions, antithetic, rank, interval });
  if (method === undefined && Object.keys(given).length === 0) return {};
  return { method: { name: method ?? DEFAULT_METHOD, ...given } };
}

function snapshotsOf({ saveEvery, keep }: Flags): Record<string, unknown> {
  if (saveEvery === undefined && keep !== undefined)
    throw new Zo2Error("ZO2_ERR_CONFIG", `${longFlag("keep")} needs ${longFlag("saveEvery")} N: snapshots to keep`);
  return saveEvery === undefined ? {} : { snapshots: { every: saveEvery, ...defined({ keep }) } };
}

function textOptionsOf(flags: Flags): Record<string, unknown> {
  const template = defined({
    prompt: flags.prompt,
    choices: flags.choices,
    completion: flags.completion,
    labelField: flags.labelField,
  });
  return {
    ...defined({ maxLength: flags.maxLength, truncation: flags.truncation, reduction: flags.reduction }),
    ...defined({ labelMap: labelMapOf(flags), checkData: flags.checkData, skipBadLines: flags.skipBadLines }),
    ...(Object.keys(template).length === 0 ? {} : { template }),
  };
}

/** `NAME=INDEX`, the last `=` parting the two; a config file may hold an object instead. */
function labelMapOf({ labelMap }: Flags): Record<string, number> | undefined {
  if (labelMap === undefined || !Array.isArray(labelMap)) return labelMap;
  const entries = labelMap.map((pair): [string, number] => {
    const [, name, index] = /^(.*)=(\d+)$/s.exec(pair) ?? [];
    if (name === undefined || index === undefined) {
      throw new Zo2Error(
        "ZO2_ERR_CONFIG",
        `${longFlag("labelMap")} is ${JSON.stringify(pair)}; write a label and the index of its choice, such as ` +
          "entailment=0",
      );
    }
    return [name, Number(index)];
  });
  const twice = entries.find(([name], i) => entries.findIndex(([other]) => other === name) < i);
  if (twice !== undefined)
    throw new Zo2Error(
      "ZO2_ERR_CONFIG",
      `${longFlag("labelMap")} maps ${JSON.stringify(twice[0])} twice; give it once`,
    );
  return Object.fromEntries(entries);
}

/** Parses now, so that a wrong flag is reported at once; what the library gets is what it would get from a program. */
function checked<S extends z.ZodType>(schema: S, options: unknown): z.input<S> {
  parseOptions(schema, options, COMMAND_LINE);
  // The schema has just taken it.
  return options as z.input<S>;
}

/** `object` without the members that are undefined. */
export function defined<T extends object>(object: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}
