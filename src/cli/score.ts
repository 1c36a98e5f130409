import { readJsonLines, type JsonLine } from "../data/index.js";
import { Zo2Error } from "../errors.js";
import type { ScoreInput } from "../train/score.js";
import { buildModelOptions, requireFlags } from "./build.js";
import type { CommandSpec } from "./command.js";
import { writeLine } from "./context.js";
import { modelLine } from "./describe-model.js";
import { EXIT } from "./exit.js";
import { MODEL_FLAGS } from "./flags.js";

export const scoreCommand: CommandSpec = {
  name: "score",
  summary: "log-probability of every token, line for line",
  details: 'Needs --model. Reads {"text"} or {"ids"} lines and writes {"ids", "logprobs", "sum"} lines in the same order; the first token has no log-probability (null).',
  flags: [...MODEL_FLAGS, "input", "batchSize", "config", "debug", "quiet"],
  examples: ["zo2 score --model tuned --input texts.jsonl > scores.jsonl", `echo '{"text": "It was great."}' | zo2 score --model tuned --quiet`],
  async run(given, context, output) {
    const flags = requireFlags(given, ["model"]);
    const modelOptions = buildModelOptions(flags);
    const model = await (await context.loadApi()).loadModel(flags.model, modelOptions, { signal: context.signal });
    try {
      output.say(modelLine(model));
      const lines = flags.input === undefined ? readJsonLines(context.stdin, { name: "stdin" }) : readJsonLines(flags.input);
      const options = { signal: context.signal, ...(flags.batchSize === undefined ? {} : { batchSize: flags.batchSize }) };
      for await (const score of model.score(inputsOf(untilAborted(lines, context.signal)), options)) {
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

/**
 * `lines` until `signal`, even while the next one is awaited: standard input may never bring it.
 * @throws Zo2Error `ZO2_ERR_ABORTED`
 */
async function* untilAborted<T>(lines: AsyncGenerator<T, void, undefined>, signal: AbortSignal): AsyncGenerator<T, void, undefined> {
  let stop: () => void = () => undefined;
  const aborted = new Promise<"aborted">((resolve) => {
    stop = () => resolve("aborted");
  });
  signal.addEventListener("abort", stop, { once: true });
  try {
    for (let count = 0; ; count++) {
      const next = signal.aborted ? "aborted" : await Promise.race([lines.next(), aborted]);
      if (next === "aborted") throw new Zo2Error("ZO2_ERR_ABORTED", `scoring was stopped after reading ${count} lines`, { cause: signal.reason });
      if (next.done === true) return;
      yield next.value;
    }
  } finally {
    signal.removeEventListener("abort", stop);
    // Not awaited: a read that waits for standard input would hold it.
    void lines.return();
  }
}
