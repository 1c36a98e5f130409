import { decode, type DecodeSettings, type Token } from "../../../src/infer/generate/index.js";
import { choose, unitAt } from "../../../src/infer/generate/sampling.js";
import { tokenSession } from "./support.js";

const VOCABULARY = 50;
const sumOf = (tokens: readonly number[]) => tokens.reduce((sum, t, i) => sum + t * (i + 1), 0) % VOCABULARY;
const settings: DecodeSettings = {
  sampling: { temperature: 0, seed: 0n },
  maxNewTokens: 6,
  maxPositions: 32,
  maxTokens: 8,
};
const prompts = [[3, 9, 4], [7], [1, 2, 3, 4, 5, 6], [8, 8]];

function plain(prompt: readonly number[], count: number): number[] {
  const ids = [...prompt];
  for (let i = 0; i < count; i++) ids.push(sumOf(ids));
  return ids.slice(prompt.length);
}

async function run(o: Partial<DecodeSettings> = {}, given: readonly number[][] = prompts) {
  const { session, passes, caches } = tokenSession(VOCABULARY, sumOf);
  const tokens: Token[][] = given.map(() => []);
  for await (const pass of decode(
    session,
    given.map((ids) => Int32Array.from(ids)),
    { ...settings, ...o },
  ))
    for (const token of pass) tokens[token.sequence].push(token);
  return {
    ids: tokens.map((own) => own.map(({ id }) => id)),
    ends: tokens.map((own) => own.at(-1)?.end),
    passes,
    caches,
  };
}

it("every token is computed from all those before it and no others, read from where they were put", async () => {
  const { ids, ends } = await run();
  expect(ids).toEqual(prompts.map((prompt) => plain(prompt, 6)));
  expect(ends).toEqual(prompts.map(() => "length"));
});

it("prompts go in one pass of micro-batches within maxTokens, in order; one that is longer goes alone", async () => {
  const { passes } = await run({ maxTokens: 4 });
  expect(passes[0].batch.map(({ tokens }) => tokens.length)).toEqual([4, 6, 2]);
  expect(passes[1].batch.map(({ tokens }) => tokens.length)).toEqual([4]);
});

it("a later pass has no larger micro-batch than the plan of the prompts has room for", async () => {
  const many = Array.from({ length: 100 }, (_, i) => [i % 40, i % 7, 1]);
  const { passes, ids } = await run({ maxTokens: 3, maxNewTokens: 2 }, many);
  expect(passes[0].batch).toHaveLength(100);
  expect(passes[1].batch.map(({ tokens }) => tokens.length)).toEqual([32, 32, 32, 4]);
  expect(ids).toEqual(many.map((prompt) => plain(prompt, 2)));
});

it("the cache has a row for every token that is fed, and passes name the rows they read and fill", async () => {
  const { caches, passes } = await run({ maxNewTokens: 3 });
  expect(caches).toEqual([{ rows: 3 + 1 + 6 + 2 + 4 * 2, tier: undefined, disposed: true }]);
  expect(passes[0].used).toEqual([]);
  expect(passes[0].added).toEqual([
    { start: 0, count: 3 },
    { start: 5, count: 1 },
    { start: 8, count: 6 },
    { start: 16, count: 2 },
  ]);
  expect(passes[2].used).toEqual([
    { start: 0, count: 4 },
    { start: 5, count: 2 },
    { start: 8, count: 7 },
    { start: 16, count: 3 },
  ]);
  expect(passes[2].added).toEqual([
    { start: 4, count: 1 },
    { start: 7, count: 1 },
    { start: 15, count: 1 },
    { start: 19, count: 1 },
  ]);
  expect(passes).toHaveLength(3);
});

it("a sequence that has ended leaves the batch, and the last one ends the generation", async () => {
  const firsts = prompts.map((prompt) => plain(prompt, 1)[0]);
  const { ends, passes, ids } = await run({
    endIds: new Set([firsts[1]]),
    stops: (sequence, id) => sequence === 2 && id === plain(prompts[2], 2)[1],
  });
  expect(ends).toEqual(["length", "eos", "stop", "length"]);
  expect(ids.map((own) => own.length)).toEqual([6, 1, 2, 6]);
  expect(passes.map(({ batch }) => batch.reduce((sum, b) => sum + b.headRows.length, 0))).toEqual([4, 3, 2, 2, 2, 2]);
});

it("an end token is not asked about, and ends a sequence even where it is the last one anyway", async () => {
  const asked: number[] = [];
  const [first] = plain([7], 1);
  const { ends } = await run({ endIds: new Set([first]), maxNewTokens: 1, stops: (_, id) => (asked.push(id), true) }, [
    [7],
  ]);
  expect(ends).toEqual(["eos"]);
  expect(asked).toEqual([]);
});

it("continuations end with the positions", async () => {
  const { ids, ends } = await run({ maxPositions: 8 });
  expect(ids.map((own) => own.length)).toEqual([5, 6, 2, 6]);
  expect(ends).toEqual(["length", "length", "length", "length"]);
});

it("what stands in front of sequences has rows in front of theirs, filled by the prompts' pass alone", async () => {
  const { session, passes, caches } = tokenSession(VOCABULARY, (tokens) => sumOf(tokens.map((t) => t + 7)), 2);
  const given = prompts.map((ids) => Int32Array.from(ids));
  const ids: number[][] = prompts.map(() => []);
  for await (const pass of decode(session, given, { ...settings, maxNewTokens: 3 }))
    for (const { sequence, id } of pass) ids[sequence].push(id);
  const alone = (prompt: readonly number[]) => {
    const all = [-1, -2, ...prompt];
    for (let i = 0; i < 3; i++) all.push(sumOf(all.map((t) => t + 7)));
    return all.slice(2 + prompt.length);
  };
  expect(ids).toEqual(prompts.map(alone));
  expect(caches[0].rows).toBe(3 + 1 + 6 + 2 + 4 * (2 + 2));
  const fronts = passes.map(({ batch }) => batch.reduce((sum, { prefix }) => sum + (prefix?.ids.length ?? 0), 0));
  expect(fronts).toEqual([8, 0, 0]);
  const counts = (which: "used" | "added", pass: number) => passes[pass][which].map(({ count }) => count);
  expect([counts("used", 0), counts("added", 0)]).toEqual([[], [5, 3, 8, 4]]);
  expect([counts("used", 2), counts("added", 2)]).toEqual([
    [6, 4, 9, 5],
    [1, 1, 1, 1],
  ]);
});

it("the cache goes where it is told to", async () => {
  expect((await run({ cache: "host" })).caches[0].tier).toBe("host");
});

it("what is stopped says after how many tokens, and why; it takes no cache before, and leaves none", async () => {
  const { session, caches } = tokenSession(VOCABULARY, sumOf);
  const abort = new AbortController();
  const reason = new Error("enough");
  const tokens = async () => {
    let count = 0;
    for await (const _ of decode(session, [Int32Array.of(7)], { ...settings, signal: abort.signal }))
      if (++count === 2) abort.abort(reason);
  };
  await expect(tokens()).rejects.toMatchObject({
    ...{ code: "ZO2_ERR_ABORTED", message: "the generation was stopped after 2 tokens", cause: reason },
  });
  expect(caches.map(({ disposed }) => disposed)).toEqual([true]);
  await expect(tokens()).rejects.toMatchObject({ message: "the generation was stopped after 0 tokens", cause: reason });
  expect(caches).toHaveLength(1);
});

it("no prompts give nothing, and take no cache", async () => {
  expect(await run({}, [])).toMatchObject({ ids: [], caches: [], passes: [] });
});

it("a draw depends on the index that the caller counts from", async () => {
  const random = { sampling: { temperature: 5, seed: 9n } };
  const { ids } = await run(random);
  const { ids: tail } = await run({ ...random, firstSequence: 2 }, prompts.slice(2));
  expect(tail).toEqual(ids.slice(2));
  expect((await run(random, prompts.slice(2))).ids).not.toEqual(tail);
});

it("a draw is that of its sequence and its position, and differs from one position to the next", async () => {
  const sampling = { temperature: 1e6, seed: 21n };
  const drawn = (sequence: number, tokens: readonly number[]) => {
    const logits = new Float32Array(VOCABULARY);
    logits[sumOf(tokens)] = 1;
    return choose(logits, sampling, () => unitAt(sampling.seed, sequence, tokens.length), "");
  };
  const { ids } = await run({ sampling, firstSequence: 5 });
  const want = prompts.map((prompt, s) => {
    const all = [...prompt];
    for (let i = 0; i < 6; i++) all.push(drawn(5 + s, all));
    return all.slice(prompt.length);
  });
  expect(ids).toEqual(want);
  // All tokens are nearly as likely as each other: one number for all positions would give one token six times.
  for (const own of ids) expect(new Set(own).size).toBeGreaterThan(3);
});
