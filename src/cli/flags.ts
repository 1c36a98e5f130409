import { InvalidArgumentError, Option } from "commander";
import { z } from "zod";
import { isZo2Error, Zo2Error } from "../base/errors.js";
import { BYTE_SIZE_FORMS, parseBytes } from "../base/bytes.js";
import { WIRE_TYPES } from "../base/dtype.js";
import { byteSizeSchema } from "../config/bytes.js";
import { evaluateOptionsSchema } from "../config/evaluate.js";
import { generateOptionsSchema } from "../config/generate.js";
import { deviceSchema, modelOptionsSchema } from "../config/model.js";
import { METHOD_NAMES, methodProbesSchema } from "../config/methods/index.js";
import { lozoProbes } from "../config/methods/lozo.js";
import { seedSchema } from "../config/seed.js";
import { trainerOptionsSchema } from "../config/trainer.js";
import { HARDWARE_NAMES, THIS_MACHINE } from "../simulate/hardware.js";

/** One flag: how it is written, what a config file may hold for it, and the option of the library that it sets. */
interface Flag<S extends z.ZodType> {
  readonly flags: string;
  readonly help: string;
  readonly schema: S;
  /** Text of the command line to a value that `schema` takes. */
  readonly parse?: (text: string) => unknown;
  /** Dotted path in the library's options, for messages. */
  readonly path?: string;
  /** The flag that says false, and its help; where it takes a value besides. */
  readonly negation?: readonly [string, string];
}

type Extra = { readonly path?: string };

const text = (flags: string, help: string, extra: Extra = {}) => ({ flags, help, schema: z.string(), ...extra });
const texts = (flags: string, help: string, extra: Extra = {}) => ({
  flags,
  help,
  schema: z.array(z.string()),
  ...extra,
});
const number = (flags: string, help: string, extra: Extra = {}) => ({
  flags,
  help,
  schema: z.number(),
  parse: parseNumber,
  ...extra,
});
const bytes = (flags: string, help: string, extra: Extra = {}) => ({
  flags,
  help,
  schema: byteSizeSchema,
  parse: parseByteSize,
  ...extra,
});
const toggle = (flags: string, help: string, extra: Extra = {}) => ({ flags, help, schema: z.boolean(), ...extra });
const choice = <const C extends readonly [string, ...string[]]>(
  flags: string,
  choices: C,
  help: string,
  extra: Extra = {},
) => ({ flags, help: help.replace("%", choices.join(", ")), schema: z.enum(choices), ...extra });

// The defaults that the help names are those of the schemas.
const lozo = lozoProbes.parse({ name: "lozo" });
const training = trainerOptionsSchema.parse({ method: { name: "mezo-sgd", learningRate: 1 }, steps: 1 });
const usualDirections = (name: (typeof METHOD_NAMES)[number]) =>
  `${methodProbesSchema.parse({ name }).directions} of ${name}`;
const loading = modelOptionsSchema.parse({});
const evaluating = evaluateOptionsSchema.parse({});
const generating = generateOptionsSchema.parse({});

/** Every flag of `zo2`, by its key in a config file: the long flag in camelCase, without `no`. */
export const FLAGS = {
  model: text("--model <dir|id>", "folder of the model, as Hugging Face lays it out, or its Hub id: org/name"),
  revision: text("--revision <name>", "branch, tag or commit of a model from the Hub (default: main)", {
    path: "hub.revision",
  }),
  ignoreConfigFields: texts("--ignore-config-fields <name...>", "unknown fields of config.json that change nothing", {
    path: "ignoreConfigFields",
  }),
  data: text("--data <file>", "JSON Lines or Parquet to train or evaluate on"),
  out: text("--out <dir>", "folder for the tuned model"),
  task: text("--task <name>", "one of MeZO's tasks, instead of data: sst2, rte, cb, boolq, wsc, wic, multirc, ..."),
  taskData: text("--task-data <dir>", "folder with the task's train and validation files (default: from the Hub)"),
  taskTrain: number("--task-train <n>", "examples to train on (default: 1000)", { path: "train" }),
  taskDev: number("--task-dev <n>", "examples to select by (default: 500, of cb and copa 100)", { path: "dev" }),
  taskTest: number("--task-test <n>", "examples to evaluate on (default: 1000)", { path: "test" }),
  taskSeed: number("--task-seed <n>", "seed of the draw of all three (default: 0)"),
  faithful: toggle("--faithful", "follow MeZO where it errs, too", { path: "faithful" }),
  shots: number("--shots <n>", "demonstrations before each prompt of a task (default: 0)", { path: "shots" }),
  objective: choice("--objective <name>", ["f1"], "%: train on the task's metric instead of a loss (default: none)"),
  input: text("--input <file>", "JSON Lines to score (default: standard input)"),

  steps: number("--steps <n>", "steps to take", { path: "steps" }),
  batchSize: number("--batch-size <n>", `examples in one step or batch (default: ${training.batchSize})`, {
    path: "batchSize",
  }),
  microBatchSize: number(
    "--micro-batch-size <n>",
    "examples on the device at once (default: all of a batch that have room)",
    {
      path: "microBatchSize",
    },
  ),
  method: choice(
    "--method <name>",
    METHOD_NAMES,
    `%: what the losses become, and where they are looked at (default: ${training.method.name})`,
    { path: "method.name" },
  ),
  directions: number(
    "--directions <n>",
    `random directions of a step (default: ${METHOD_NAMES.map(usualDirections).join(", ")})`,
    { path: "method.directions" },
  ),
  fitness: choice(
    "--fitness <kind>",
    ["zscore", "rank"],
    "%: of losses among those of a step, by es (default: zscore)",
    {
      path: "method.fitness",
    },
  ),
  rank: number("--rank <n>", `rank of lozo's directions (default: ${lozo.rank})`, { path: "method.rank" }),
  interval: number(
    "--interval <n>",
    `steps that share the columns' factors of lozo's directions (default: ${lozo.interval})`,
    { path: "method.interval" },
  ),
  antithetic: toggle("--antithetic", "evaluate each direction of es to both sides", { path: "method.antithetic" }),
  learningRate: {
    flags: "--learning-rate <x>",
    help: "learning rate, far below that of Adam: 1e-7 to 1e-4 by MeZO; auto: measured before the first step",
    schema: z.number().or(z.literal("auto")),
    parse: (given: string) => (given === "auto" ? given : parseNumber(given)),
    path: "method.learningRate",
  },
  lrSchedule: choice(
    "--lr-schedule <name>",
    ["constant", "linear", "cosine"],
    `%: how the learning rate goes on (default: ${training.method.schedule.name})`,
    { path: "method.schedule.name" },
  ),
  warmupSteps: number(
    "--warmup-steps <n>",
    `steps over which the learning rate first rises (default: ${training.method.schedule.warmupSteps})`,
    { path: "method.schedule.warmupSteps" },
  ),
  eps: number("--eps <x>", `distance of the evaluations from the weights (default: ${training.method.eps})`, {
    path: "method.eps",
  }),
  weightDecay: number("--weight-decay <x>", `decoupled weight decay (default: ${training.method.weightDecay})`, {
    path: "method.weightDecay",
  }),
  noise: choice(
    "--noise <kind>",
    ["gaussian", "rademacher"],
    `%: distribution of the directions (default: ${training.method.noise}; fzoo and lozo have their own)`,
    { path: "method.noise" },
  ),
  seed: {
    flags: "--seed <n>",
    help: `any 64-bit integer (default: ${training.seed})`,
    schema: z.union([z.number(), z.bigint()]),
    parse: parseSeed,
    path: "seed",
  },
  freeze: texts("--freeze <pattern...>", "parameters to leave alone, by name, * for any text", { path: "freeze" }),
  deferredUpdate: toggle("--no-deferred-update", "update weights in a pass of their own instead of at the next visit", {
    path: "deferredUpdate",
  }),

  device: {
    flags: "--device <name>",
    help: `auto, cpu, cuda, cuda:1, ...: what computes (default: ${loading.device})`,
    schema: deviceSchema,
    path: "device",
  },
  dtype: choice("--dtype <dtype>", ["fp32", "fp16", "bf16"], `%: of the matrix products (default: ${loading.dtype})`, {
    path: "dtype",
  }),
  lora: number("--lora <rank>", "train a LoRA of this rank over the model, which stays as it is (default: none)", {
    path: "adapter.rank",
  }),
  loraAlpha: number("--lora-alpha <x>", "it counts alpha / rank times (default: 16)", { path: "adapter.alpha" }),
  loraTarget: texts(
    "--lora-target <pattern...>",
    "linear layers it changes, by the end of their names, or all-linear (default: q_proj v_proj, of GPT-2 c_attn)",
    { path: "adapter.targets" },
  ),
  prefix: number(
    "--prefix <tokens>",
    "train as many keys and values in front of every sequence, over the model, which stays as it is (default: none)",
    { path: "adapter.tokens" },
  ),
  adapter: text("--adapter <dir>", "folder of an adapter over the model, as PEFT writes it", {
    path: "adapter.folder",
  }),
  tf32: toggle("--tf32", "fp32 matrix products on a GPU may round their operands to tf32", { path: "tf32" }),
  threads: number("--threads <n>", "threads of the CPU backend (default: one a core)", { path: "threads" }),
  offload: choice(
    "--offload <tier>",
    ["auto", "device", "host", "disk"],
    `%: where weights rest between visits (default: ${loading.offload.to}, as many on the device as fit)`,
    { path: "offload.to" },
  ),
  wire: choice("--wire <dtype>", WIRE_TYPES, "%: weights at rest and in transfer (default: the checkpoint's)", {
    path: "offload.wire",
  }),
  deviceMemory: bytes(
    "--device-memory <bytes>",
    'most device memory in use, such as "4GiB" (default: what is free on a GPU, less a reserve)',
    { path: "offload.deviceMemory" },
  ),
  diskPath: text("--disk-path <folder>", "folder on a fast disk for weights that rest there (default: none)", {
    path: "offload.diskPath",
  }),
  diskMemory: bytes("--disk-memory <bytes>", "most of that disk in use (default: what is free)", {
    path: "offload.diskMemory",
  }),
  hostMemory: bytes("--host-memory <bytes>", "most host memory in use (default: no limit)", {
    path: "offload.hostMemory",
  }),
  hardware: choice(
    "--hardware <name>",
    [THIS_MACHINE, ...HARDWARE_NAMES],
    "%: what the time is predicted for (default: none)",
  ),
  measure: toggle("--measure", "measure this machine anew, where its figures are kept"),
  unitBytes: bytes("--unit-bytes <bytes>", "largest unit of a transfer (default: chosen)", {
    path: "offload.unitBytes",
  }),
  slots: number("--slots <n>", "units that fit on the device at once, of those that move (default: chosen)", {
    path: "offload.slots",
  }),
  prepareAhead: choice(
    "--prepare-ahead <when>",
    ["auto", "on", "off"],
    `%: perturb the next unit while one computes (default: ${loading.offload.prepareAhead})`,
    { path: "offload.prepareAhead" },
  ),
  activations: choice(
    "--activations <tier>",
    ["auto", "device", "host"],
    `%: where activations between units rest (default: ${loading.offload.activations})`,
    { path: "offload.activations" },
  ),
  writeBackEvery: number(
    "--write-back-every <n>",
    `visits of a unit for each that writes it back (default: ${loading.offload.writeBackEvery})`,
    { path: "offload.writeBackEvery" },
  ),
  overlap: toggle("--no-overlap", "transfer and compute by turns, to measure what overlap brings", {
    path: "offload.overlap",
  }),
  rounding: choice(
    "--rounding <way>",
    ["auto", "nearest", "stochastic"],
    `%: rounding of updated weights (default: ${loading.rounding}, stochastic for wires of 8 bits)`,
    { path: "rounding" },
  ),

  maxLength: number("--max-length <n>", "longest sequence in tokens (default: the model's positions)", {
    path: "maxLength",
  }),
  truncation: choice(
    "--truncation <side>",
    ["error", "left", "right"],
    `%: what happens to a longer one (default: ${evaluating.truncation})`,
    { path: "truncation" },
  ),
  prompt: text("--prompt <text>", 'prompt with {field}s of a line: "{text} How is it?"', { path: "template.prompt" }),
  choices: texts("--choices <text...>", 'answers to choose from: " terrible" " great"', { path: "template.choices" }),
  completion: text("--completion <template>", "text to learn after the prompt, with {field}s", {
    path: "template.completion",
  }),
  labelField: text("--label-field <name>", "field of the label, an index or a choice (default: label)", {
    path: "template.labelField",
  }),
  labelMap: {
    flags: "--label-map <name=index...>",
    help: "what labels mean, as indices of choices: entailment=0 neutral=1",
    schema: z.union([z.array(z.string()), z.record(z.string(), z.number())]),
    path: "labelMap",
  },
  checkData: toggle("--no-check-data", "begin without reading the data through first", { path: "checkData" }),
  skipBadLines: toggle("--skip-bad-lines", "leave out lines that cannot be used", { path: "skipBadLines" }),
  reduction: choice(
    "--reduction <way>",
    ["mean", "sum"],
    `%: score of a choice from its tokens (default: ${evaluating.reduction})`,
    { path: "reduction" },
  ),

  jsonl: toggle("--jsonl", "read JSON Lines, and answer line for line"),
  chat: text("--chat <text>", "what a user says, to be answered through the model's chat template"),
  system: text("--system <text>", "what is said to a chat model before that"),
  maxNewTokens: number("--max-new-tokens <n>", `tokens to generate at most (default: ${generating.maxNewTokens})`, {
    path: "maxNewTokens",
  }),
  temperature: number(
    "--temperature <x>",
    `logits are divided by it; 0 takes the likeliest token (default: ${generating.temperature})`,
    { path: "temperature" },
  ),
  topK: number("--top-k <n>", "draw among the n likeliest tokens (default: all)", { path: "topK" }),
  topP: number("--top-p <x>", "draw among the likeliest tokens that make up this share (default: all)", {
    path: "topP",
  }),
  stop: texts("--stop <text...>", "texts that end what is generated, left out of it", { path: "stop" }),
  ignoreEos: toggle("--ignore-eos", "go on past the model's end tokens", { path: "ignoreEos" }),
  cache: choice(
    "--cache <where>",
    ["auto", "device", "host"],
    `%: where keys and values rest (default: ${generating.cache})`,
    { path: "cache" },
  ),

  evalData: text("--eval-data <file>", "held-out lines or rows, evaluated before, during and after", {
    path: "evaluation.data",
  }),
  evalEvery: number("--eval-every <n>", "steps between evaluations (default: only at the end)", {
    path: "evaluation.every",
  }),
  keepBest: toggle("--no-keep-best", "save the last weights, not those of the best evaluation", {
    path: "evaluation.keepBest",
  }),
  metrics: text("--metrics <file>", "write every step as JSON Lines"),
  saveDtype: choice(
    "--save-dtype <dtype>",
    ["fp32", "fp16", "bf16", "wire"],
    "%: dtype of the saved weights (default: wire)",
  ),

  run: {
    flags: "--run <dir>",
    help: "folder that keeps the run, to be resumed and replayed (default: <out>.run)",
    schema: z.union([z.string(), z.literal(false)]),
    path: "run",
    negation: ["--no-run", "keep nothing of the run: what is not saved is lost when the process ends"],
  },
  resume: text("--resume <dir>", "go on with the run that this folder keeps, with its flags"),
  format: choice("--format <name>", ["csv", "jsonl"], "%: of what is exported (default: csv)"),
  durability: choice(
    "--durability <when>",
    ["second", "step", "never"],
    `%: when the run is on the disk itself (default: ${training.durability})`,
    { path: "durability" },
  ),

  saveEvery: number("--save-every <n>", "steps between snapshots, kept in the run's folder (default: none)", {
    path: "snapshots.every",
  }),
  keep: number("--keep <n>", "snapshots to keep, the newest (default: 2)", { path: "snapshots.keep" }),
  onDivergence: text(
    "--on-divergence <action>",
    "stop, skip, rollback:N, ignore: what becomes of a step that went wrong (default: stop)",
    { path: "onDivergence" },
  ),

  sweep: {
    flags: "--sweep <option=values...>",
    help: "values to try of options: learningRate=1e-7,1e-6 seed=1,2; every combination is a trial",
    schema: z.union([z.array(z.string()), z.record(z.string(), z.unknown())]),
  },
  dryRun: toggle("--dry-run", "list the trials, and train none"),

  force: toggle("--force", "build even where nothing has changed"),

  config: text("--config <file>", "JSON or YAML with these flags in camelCase; flags go over it"),
  json: toggle("--json", "close with one line of JSON on standard output"),
  debug: toggle("--debug", "print the stack of an error"),
  quiet: toggle("--quiet", "print results and errors only"),
} satisfies Record<string, Flag<z.ZodType>>;

export type FlagName = keyof typeof FLAGS;
/** Flags as a command gets them: from the command line over the config file; no defaults. */
export type Flags = { readonly [K in FlagName]?: z.output<(typeof FLAGS)[K]["schema"]> };

/** The flags that say which model, where it computes and how its weights travel. */
export const MODEL_FLAGS = [
  "model",
  "revision",
  "ignoreConfigFields",
  "device",
  "dtype",
  "tf32",
  "threads",
  "offload",
  "wire",
  "deviceMemory",
  "hostMemory",
  "diskPath",
  "diskMemory",
  "unitBytes",
  "slots",
  "prepareAhead",
  "activations",
  "overlap",
  "lora",
  "loraAlpha",
  "loraTarget",
  "prefix",
  "adapter",
] as const satisfies readonly FlagName[];
/** The flags that say how lines become sequences and scores. */
export const TEXT_FLAGS = [
  "maxLength",
  "truncation",
  "prompt",
  "choices",
  "completion",
  "labelField",
  "labelMap",
  "reduction",
  "checkData",
  "skipBadLines",
] as const satisfies readonly FlagName[];
/** The flags that say which task, and what of its data. */
export const TASK_FLAGS = [
  "task",
  "taskData",
  "taskTrain",
  "taskDev",
  "taskTest",
  "taskSeed",
  "faithful",
] as const satisfies readonly FlagName[];
/** The flags that every command has. */
export const COMMON_FLAGS = ["json", "debug", "quiet"] as const satisfies readonly FlagName[];

/**
 * The flag for commander. Defaults stay with the schemas. `help`: what it means for one command, where that differs.
 */
export function commanderOption(name: FlagName, help?: string): Option {
  const flag: Flag<z.ZodType> = FLAGS[name];
  const option = new Option(flag.flags, help ?? flag.help);
  if (flag.parse !== undefined) option.argParser(flag.parse);
  return option;
}

/** The flag that says false, where one takes a value besides. */
export function negationOf(name: FlagName): Option | undefined {
  const { negation }: Flag<z.ZodType> = FLAGS[name];
  return negation === undefined ? undefined : new Option(...negation);
}

/** What a config file may hold for a command with these flags. */
export function flagsSchema(names: readonly FlagName[]): z.ZodType {
  return z.strictObject(Object.fromEntries(names.map((name) => [name, FLAGS[name].schema.optional()])));
}

/** Where flags come from, in front of what is wrong with them; an error is shown without it. */
export const COMMAND_LINE = "flags";

/** An error of the library, or of the command line, in the words of the flags. */
export function inWordsOfFlags(error: unknown): unknown {
  if (!isZo2Error(error)) return error;
  const message = inFlags(error.message).replace(new RegExp(`^${COMMAND_LINE}: `), "");
  return message === error.message ? error : new Zo2Error(error.code, message, { cause: error });
}

/** The long flag as one types it: `--learning-rate`. */
export function longFlag(name: FlagName): string {
  return FLAGS[name].flags.split(" ")[0] ?? "";
}

/**
 * `message` with the names of options, the library's or a config file's, turned into the flags that set them: an
 * `option "path"`, several `options "path", "path" and "path"`, and a setting `option "path" = "value"`.
 */
export function inFlags(message: string): string {
  return message.replace(
    /options? ("[\w.[\]]+"(?:(?:, | and | or )"[\w.[\]]+")*)(?: = "(\w+)")?/g,
    (whole, names, value) => {
      const flags = String(names).replace(/"([^"]+)"/g, (quoted, path: string) => flagOf(path) ?? quoted);
      return flags.includes('"') ? whole : value === undefined ? flags : `${flags} ${value}`;
    },
  );
}

function flagOf(path: string): string | undefined {
  // What a step is said to be like goes to the model as well.
  const bare = path.replace(/\[\d+\]$/, "").replace(/^workload\./, "");
  const found = (Object.keys(FLAGS) as FlagName[]).find(
    (name) => name === bare || (FLAGS[name] as Flag<z.ZodType>).path === bare,
  );
  return found === undefined ? undefined : longFlag(found);
}

function parseNumber(given: string): number {
  const value = given.trim() === "" ? NaN : Number(given);
  if (!Number.isFinite(value)) throw new InvalidArgumentError("It must be a finite number.");
  return value;
}

function parseSeed(given: string): number | bigint {
  if (!/^\s*[-+]?\d+\s*$/.test(given)) throw new InvalidArgumentError("It must be a whole number.");
  const value = BigInt(given.trim().replace(/^\+/, ""));
  if (!seedSchema.safeParse(value).success) throw new InvalidArgumentError("It must be from -2^63 to 2^64 - 1.");
  return value;
}

function parseByteSize(given: string): string {
  if (parseBytes(given) === undefined) throw new InvalidArgumentError(`It must be ${BYTE_SIZE_FORMS}.`);
  return given;
}
