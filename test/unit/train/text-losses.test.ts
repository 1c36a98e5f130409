/** What an objective over generated text hears: one draw for each prompt, whatever the groups, alike at both probes. */
import { generateOptionsSchema, type GenerateOptions } from "../../../src/config/generate.js";
import { parseOptions } from "../../../src/config/parse.js";
import type { StepRequest } from "../../../src/device/requests.js";
import type { Loaded } from "../../../src/loaded.js";
import type { Objective } from "../../../src/train/prompts.js";
import { generateAt } from "../../../src/train/text-losses.js";
import type { Tokenizer } from "../../../src/tokenizer/index.js";
import { spellingTokenizer } from "../data/support.js";
import { tokenSession } from "../generate/support.js";

const VOCABULARY = 50;
const prompts = [[3, 9, 4], [7], [1, 2, 3, 4, 5], [8, 8], [7]].map((ids, i) => ({
  ids: Int32Array.from(ids),
  record: { line: i },
}));

async function generated(
  options: GenerateOptions,
  o: { step?: number; sign?: 1 | -1; tokens?: number; items?: number; tokenizer?: Tokenizer } = {},
) {
  const { step = 0, sign = 1, tokens = 64, items = 16, tokenizer = null } = o;
  const { session, passes, caches } = tokenSession(VOCABULARY, (seen) => seen.reduce((a, b) => a + b, 0) % VOCABULARY);
  const asked: unknown[] = [];
  const noting = {
    ...session,
    forward: (batch: never, o: { probe?: unknown }) => {
      asked.push(o.probe);
      return session.forward(batch, o as never);
    },
  };
  const definition = { head: { kind: "causal" }, vocabSize: VOCABULARY, maxPositions: 64 };
  const loaded = { ...{ session: noting, tokenizer, dir: "/none", config: {}, definition, options: {} } };
  const generate = parseOptions(
    generateOptionsSchema,
    { maxNewTokens: 8, ignoreEos: true, ...options },
    "generation options",
  );
  const request = { step, seed: 4n, eps: 0.5, noise: "gaussian" } as unknown as StepRequest;
  const { outputs, tokens: count } = await generateAt(
    { direction: 0, sign },
    loaded as unknown as Loaded,
    { from: "text", generate, loss: () => 0 } as unknown as Extract<Objective, { from: "text" }>,
    prompts,
    { maxLength: 32, limits: { items, tokens } },
    request,
  );
  const groups = caches.length;
  return { outputs, count, groups, passes, asked, request, ids: outputs.map((o) => o.generated) };
}

const drawing = { temperature: 1e6, seed: 12n };

it.each([
  [{ batchSize: 16 }, 1],
  [{ batchSize: 5 }, 1],
  [{ batchSize: 2 }, 3],
  [{ batchSize: 1 }, 5],
])("prompts get the same draws with %j, in %d groups", async (options, groups) => {
  const whole = await generated(drawing);
  const cut = await generated({ ...drawing, ...options });
  expect(cut.groups).toBe(groups);
  expect(cut.ids).toEqual(whole.ids);
  expect(cut.outputs.map(({ ids, record }) => [ids, record])).toEqual(prompts.map((p) => [[...p.ids], p.record]));
  expect(cut.count).toBe(12 + 5 * 8);
  // One prompt twice has two draws.
  expect(whole.ids[1]).not.toEqual(whole.ids[4]);
});

it("groups are as small as the tokens of a micro-batch ask, and not as those of a step", async () => {
  const { groups, ids } = await generated({ ...drawing, batchSize: 4 }, { tokens: 6, items: 1 });
  expect(groups).toBe(3);
  expect(ids).toEqual((await generated(drawing)).ids);
});

it("the text is what the tokenizer says of what was written, and empty without one", async () => {
  const decode = (ids: ArrayLike<number>) => `<${ids.length}>`;
  const tokenizer = { ...spellingTokenizer(), vocabSize: VOCABULARY, decode };
  const { outputs } = await generated({ ...drawing, maxNewTokens: 2 }, { tokenizer });
  expect(outputs.map(({ text }) => text)).toEqual(prompts.map(() => "<2>"));
  const silent = await generated({ ...drawing, maxNewTokens: 2 });
  expect(silent.outputs.map(({ text }) => text)).toEqual(prompts.map(() => ""));
  expect(silent.ids).toEqual(outputs.map((o) => o.generated));
});

it("both probes of a step draw alike, another step or seed does not", async () => {
  const { ids, asked, request } = await generated(drawing);
  expect(asked).toHaveLength(8);
  for (const probe of asked) expect(probe).toEqual({ of: request, at: { direction: 0, sign: 1 } });
  const minus = await generated(drawing, { sign: -1 });
  expect(minus.ids).toEqual(ids);
  for (const probe of minus.asked) expect(probe).toEqual({ of: request, at: { direction: 0, sign: -1 } });
  expect((await generated(drawing, { step: 1 })).ids).not.toEqual(ids);
  expect((await generated({ ...drawing, seed: 13n })).ids).not.toEqual(ids);
});
