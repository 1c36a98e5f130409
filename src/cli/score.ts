import { untilAborted } from "../base/until-aborted.js";
import { readJsonLines, type JsonLine } from "../data/index.js";
import type { ScoreInput } from "../infer/score.js";
import { buildModelOptions, requireFlags } from "./build.js";
import type { CommandSpec } from "./command.js";
import { EXIT } from "./exit.js";
import { MODEL_FLAGS } from "./flags.js";
import { openModel } from "./load.js";
import { writeLine } from "./streams.js";

export const scoreCommand: CommandSpec = {
  name: "score",
  summary: "log-probability of every token, line for line",
  details:
    'Needs --model. Reads {"text"} or {"ids"} lines and writes {"ids", "logprobs", "sum"} lines in the same ' +
    "order; the first token has no log-probability (null).",
  flags: [...MODEL_FLAGS, "input", "batchSize", "config", "debug", "quiet"],
  examples: [
    "zo2 score --model tuned --input texts.jsonl > scores.jsonl",
    `echo '{"text": "It was great."}' | zo2 score --model tuned --quiet`,
  ],
  async run(given, context, output) {
    const flags = requireFlags(given, ["model"]);
    const modelOptions = buildModelOptions(flags);
    const purpose = { training: false };
    const model = await openModel(await context.loadApi(), flags.model, modelOptions, purpose, context, output);
    try {
      const lines =
        flags.input === undefined ? readJsonLines(context.stdin, { name: "stdin" }) : readJsonLines(flags.input);
      const options = {
        signal: context.signal,
        ...(flags.batchSize === undefined ? {} : { batchSize: flags.batchSize }),
      };
      for await (const score of model.score(inputsOf(untilAborted(lines, context.signal, "scoring")), options)) {
        await writeLine(context.stdout, JSON.stringify(score));
      }
      return EXIT.ok;
    } finally {
      await model.dispose();
    }
  },
};

/** Lines as inputs of `model.score`, which checks their shape and reports a bad one by its place. */
async function* inputsOf(lines: AsyncIterable<JsonLine>): AsyncGenerator<ScoreInput, void, undefined> {
  for await (const { record, place } of lines) yield Object.assign({}, record as ScoreInput, { place });
}
