import { at } from "../../base/at.js";
import { Zo2Error } from "../../base/errors.js";
import type { ForwardOptions } from "../../device/requests.js";
import type { Session } from "../../device/session.js";
import type { CacheTier } from "../../memory/plan.js";
import { layOut, nextPass, promptPass, type CachedPass, type Running, type Sequence } from "./batches.js";
import { choose, logProbability, unitAt, type Sampling } from "./sampling.js";

/** Why a sequence ended: an end token, a stop that the caller asked for, or as many tokens as it may have. */
export type FinishReason = "eos" | "stop" | "length";

/** One token more of one sequence. */
export interface Token {
  /** Index of its prompt. */
  readonly sequence: number;
  readonly id: number;
  /** Natural log-probability under the model's distribution, whatever the sampling; null where it was not asked for. */
  readonly logprob: number | null;
  /** Why this is the sequence's last token; null when it goes on. */
  readonly end: FinishReason | null;
}

export interface DecodeSettings {
  readonly sampling: Sampling;
  /** Of each sequence at most; fewer where the positions end before. */
  readonly maxNewTokens: number;
  /** Tokens of prompt and continuation together at most. */
  readonly maxPositions: number;
  /** Tokens of one micro-batch of prompts at most. */
  readonly maxTokens: number;
  /** Tokens that end a sequence. */
  readonly endIds?: ReadonlySet<number> | undefined;
  /** Sees every token but end tokens; true makes it the last of its sequence. */
  readonly stops?: (sequence: number, id: number) => boolean;
  /** Whether to work out log-probabilities, for which the whole vocabulary is summed up. @default false */
  readonly logprobs?: boolean;
  /** Index of the first prompt, for the draws: a sequence gets the same ones in whatever batch it is. @default 0 */
  readonly firstSequence?: number;
  /** Where keys and values rest. @default on the device where the plan has room for them, else in host memory */
  readonly cache?: CacheTier | undefined;
  /** Where the weights stand in every pass. @default in their place */
  readonly probe?: ForwardOptions["probe"];
  /** Checked before every pass. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Continues all prompts at once, a pass over the model for every token: yields what each pass gives, one token of every
 * sequence that has not ended. Its cache is freed at the end, however that comes.
 *
 * @param prompts token ids; each has at least one, and fewer than `maxPositions`.
 * @throws Zo2Error ZO2_ERR_NOT_FINITE, ZO2_ERR_ABORTED, ZO2_ERR_MEMORY_BUDGET, ZO2_ERR_OUT_OF_MEMORY, ZO2_ERR_DISPOSED
 */
export async function* decode(
  session: Pick<Session, "createCache" | "forward" | "prefixRows">,
  prompts: readonly Int32Array[],
  settings: DecodeSettings,
): AsyncGenerator<readonly Token[], void, undefined> {
  const { cache: tier, probe, signal } = settings;
  if (prompts.length === 0) return;
  const sequences = layOut(
    prompts,
    prompts.map(({ length }) => Math.min(settings.maxNewTokens, settings.maxPositions - length)),
    session.prefixRows,
  );
  const rows = sequences.reduce((sum, { capacity }) => sum + capacity, 0);
  const first = promptPass(sequences, settings.maxTokens);
  checkGoing(signal, 0);
  const cache = await session.createCache(rows, first.batch, tier);
  try {
    let pass = first;
    let running: readonly Running[] = [];
    for (let count = 0; ; count++) {
      checkGoing(signal, count);
      const { batch, used, added } = pass;
      const logits = await session.forward(batch, { output: "logits", cache: { cache, used, added }, probe });
      const tokens = readTokens(pass, logits, count, settings);
      running = tokens.flatMap(({ sequence, token }) =>
        token.end === null ? [{ sequence, fed: sequence.prompt.length + count, next: token.id }] : [],
      );
      yield tokens.map(({ token }) => token);
      if (running.length === 0) return;
      pass = nextPass(running, first);
    }
  } finally {
    cache.dispose();
  }
}

/** The tokens that a pass gives, each its sequence's number `count`, from 0. */
function readTokens(
  pass: CachedPass,
  logits: readonly Float32Array[],
  count: number,
  settings: DecodeSettings,
): { sequence: Sequence; token: Token }[] {
  return pass.sequences.flatMap((sequences, m) => {
    const all = at(logits, m);
    const columns = all.length / sequences.length;
    return sequences.map((sequence, row) => ({
      sequence,
      token: readToken(sequence, all.subarray(row * columns, (row + 1) * columns), count, settings),
    }));
  });
}

function readToken(sequence: Sequence, logits: Float32Array, count: number, settings: DecodeSettings): Token {
  const { sampling, endIds, stops, logprobs = false, firstSequence = 0 } = settings;
  const { index } = sequence;
  const number = firstSequence + index;
  const position = sequence.prompt.length + count;
  const id = choose(
    logits,
    sampling,
    () => unitAt(sampling.seed, number, position),
    `sequence ${number}, position ${position}`,
  );
  const isEnd = endIds?.has(id) ?? false;
  const end = isEnd ? "eos" : stops?.(index, id) === true ? "stop" : count + 1 >= sequence.limit ? "length" : null;
  return { sequence: index, id, logprob: logprobs ? logProbability(logits, id) : null, end };
}

function checkGoing(signal: AbortSignal | undefined, count: number): void {
  if (signal?.aborted === true)
    throw new Zo2Error("ZO2_ERR_ABORTED", `the generation was stopped after ${count} tokens`, { cause: signal.reason });
}
