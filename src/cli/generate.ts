import { readJsonLines, type JsonLine } from "../data/index.js";
import { Zo2Error } from "../base/errors.js";
import { untilAborted } from "../base/until-aborted.js";
import type { GenerateInput } from "../infer/generate/index.js";
import type { ModelView } from "./api.js";
import { buildGenerateOptions, buildModelOptions, requireFlags } from "./build.js";
import type { CommandSpec } from "./command.js";
import type { Context } from "./context.js";
import { EXIT } from "./exit.js";
import { COMMON_FLAGS, longFlag, MODEL_FLAGS, type Flags } from "./flags.js";
import { openModel } from "./load.js";
import type { Output } from "./output.js";
import { writeLine, writeText } from "./streams.js";

type Options = NonNullable<Parameters<ModelView["generate"]>[1]>;

export const generateCommand: CommandSpec = {
  name: "generate",
  summary: "continue a prompt, or every line of a file",
  details:
    "Needs --model. With --prompt or --chat the text is printed as it comes; with --jsonl (or --input) " +
    '{"text"}, {"ids"} or {"messages"} lines are read and {"ids", "text", "reason"} lines written in the same order. ' +
    "Greedy without --temperature; of the model's generation_config.json only the end tokens are used.",
  flags: [
    ...MODEL_FLAGS,
    "prompt",
    "chat",
    "system",
    "jsonl",
    "input",
    "maxNewTokens",
    "temperature",
    "topK",
    "topP",
    "seed",
    "stop",
    "ignoreEos",
    "batchSize",
    "cache",
    "config",
    ...COMMON_FLAGS,
  ],
  help: {
    prompt: "the text to continue",
    input: "JSON Lines to continue (default with --jsonl: standard input)",
    batchSize: "lines in one batch (default: 16)",
    json: "with --prompt or --chat: one line of JSON instead of text",
  },
  examples: [
    'zo2 generate --model tuned --prompt "Once upon a time" --max-new-tokens 50',
    'zo2 generate --model tuned --chat "Name three rivers." --temperature 0.7 --top-p 0.9',
    "zo2 generate --model tuned --jsonl --input prompts.jsonl > texts.jsonl",
  ],
  async run(given, context, output) {
    const flags = requireFlags(given, ["model"]);
    const modelOptions = buildModelOptions(flags);
    const options = { ...buildGenerateOptions(flags), signal: context.signal };
    const prompt = promptOf(flags);
    const purpose = { training: false };
    const model = await openModel(await context.loadApi(), flags.model, modelOptions, purpose, context, output);
    try {
      if (prompt === null) await answerLines(model, flags, options, context);
      else await answer(model, prompt, flags, options, context, output);
      return EXIT.ok;
    } finally {
      await model.dispose();
    }
  },
};

/** The prompt that the flags give, or null where there are lines to read. */
function promptOf(flags: Flags): GenerateInput | null {
  const { prompt, chat, system } = flags;
  const [first, second] = (["input", "jsonl", "prompt", "chat"] as const).filter(
    (name) => flags[name] !== undefined && !(name === "jsonl" && flags.input !== undefined),
  );
  if (first !== undefined && second !== undefined) {
    throw new Zo2Error(
      "ZO2_ERR_CONFIG",
      `${longFlag(first)} and ${longFlag(second)} are both given; give one of the two`,
    );
  }
  if (system !== undefined && chat === undefined) {
    throw new Zo2Error(
      "ZO2_ERR_CONFIG",
      `${longFlag("system")} is given without ${longFlag("chat")} TEXT, before which it is said`,
    );
  }
  if (prompt !== undefined) return { text: prompt, place: longFlag("prompt") };
  if (chat === undefined && flags.input === undefined && flags.jsonl !== true) {
    throw new Zo2Error(
      "ZO2_ERR_CONFIG",
      `there is nothing to continue; give ${longFlag("prompt")} TEXT, ${longFlag("chat")} TEXT, or ` +
        `${longFlag("jsonl")} for lines on standard input`,
    );
  }
  if (chat === undefined) return null;
  const said = system === undefined ? [] : [{ role: "system", content: system }];
  return { messages: [...said, { role: "user", content: chat }], place: longFlag("chat") };
}

async function answer(
  model: ModelView,
  prompt: GenerateInput,
  flags: Flags,
  options: Options,
  context: Context,
  output: Output,
): Promise<void> {
  const generation = model.generate(prompt, options);
  if (flags.json === true) {
    const { ids, text, reason } = await generation.result();
    return output.result([text ?? ""], { ids, text, reason });
  }
  let printed = false;
  try {
    for await (const piece of generation) {
      await writeText(context.stdout, piece);
      printed = true;
    }
  } finally {
    // What comes next, an error or a prompt of the shell, begins on a line of its own.
    // An error of this write would hide the one before it, and follows from it.
    if (printed) await writeText(context.stdout, "\n").catch(() => undefined);
  }
}

async function answerLines(model: ModelView, flags: Flags, options: Options, context: Context): Promise<void> {
  const lines =
    flags.input === undefined ? readJsonLines(context.stdin, { name: "stdin" }) : readJsonLines(flags.input);
  for await (const { ids, text, reason } of model.generateAll(
    inputsOf(untilAborted(lines, context.signal, "the generation")),
    options,
  )) {
    await writeLine(context.stdout, JSON.stringify({ ids, text, reason }));
  }
}

/** Lines as inputs of `model.generateAll`, which checks their shape and reports a bad one by its place. */
async function* inputsOf(lines: AsyncIterable<JsonLine>): AsyncGenerator<GenerateInput, void, undefined> {
  for await (const { record, place } of lines) yield Object.assign({}, record as GenerateInput, { place });
}
