import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { generateOptionsSchema, type GenerateOptions } from "../../../src/config/generate.js";
import { parseOptions } from "../../../src/config/parse.js";
import { encodePrompt, generateMany, generateOne, type GenerateInput } from "../../../src/infer/generate/index.js";
import { readEndIds } from "../../../src/infer/generate/end-ids.js";
import { Zo2Error } from "../../../src/base/errors.js";
import { renderChat } from "../../../src/tokenizer/index.js";
import { spellingTokenizer } from "../data/support.js";
import { fixtureTokenizer, type Name } from "../tokenizer/support.js";
import { tokenSession, tokenModel } from "./support.js";

const resolve = (o: GenerateOptions = {}) =>
  parseOptions(generateOptionsSchema, { ignoreEos: true, ...o }, "generation options");

/** A model that goes on behind any prompt with `script`, and then with its last token. */
async function scripted(
  name: Name,
  script: readonly number[],
  prompt: string | GenerateInput,
  options: GenerateOptions = {},
) {
  const tokenizer = await fixtureTokenizer(name);
  let first: number | undefined;
  const { session, passes } = tokenSession(tokenizer.vocabSize + 3, (tokens) => {
    first ??= tokens.length;
    return script[Math.min(tokens.length - first, script.length - 1)];
  });
  const generation = generateOne(
    tokenModel(session, { tokenizer, vocabSize: tokenizer.vocabSize + 3, maxPositions: 4096 }),
    prompt,
    resolve({ maxNewTokens: script.length, ...options }),
  );
  const pieces: string[] = [];
  for await (const piece of generation) pieces.push(piece);
  return { pieces, result: await generation.result(), fed: Array.from(passes[0].batch[0].tokens), tokenizer };
}

describe.each(["gpt2", "llama2", "smollm2", "tiny-opt"] as const)("%s", (name) => {
  it.each(["Hello", "The end.\n", "naïve café", "日本 🙂"])(
    "what follows %j is what the whole text has behind it, in whole characters",
    async (prompt) => {
      const tokenizer = await fixtureTokenizer(name);
      for (const text of [" world, it is", "\n\nnew line", " größer 🙂🙂 ok", "…"]) {
        const script = tokenizer.encode(text, { addSpecialTokens: false });
        const { pieces, result, fed } = await scripted(name, script, prompt);
        const whole = (ids: readonly number[]) => tokenizer.decode(ids, { skipSpecialTokens: true });
        expect(fed).toEqual(tokenizer.encode(prompt));
        expect(whole(fed) + result.text).toBe(whole([...fed, ...script]));
        expect(pieces.join("")).toBe(result.text);
        expect(result).toMatchObject({ ids: script, reason: "length" });
        for (const piece of pieces) expect(piece).not.toMatch(/^$|\ufffd/);
      }
    },
  );
});

it("a first word keeps the blank that decoding it alone would take away", async () => {
  const tokenizer = await fixtureTokenizer("llama2");
  const script = tokenizer.encode("world", { addSpecialTokens: false });
  expect(tokenizer.decode(script)).toBe("world");
  expect((await scripted("llama2", script, "Hello")).result.text).toBe(" world");
});

it("ids beyond the tokenizer's give no text, and special tokens none either", async () => {
  const { vocabSize, eosId = 0 } = await fixtureTokenizer("tiny-opt");
  const { result } = await scripted("tiny-opt", [vocabSize + 1, eosId, vocabSize + 2], "a");
  expect(result).toEqual({ ids: [vocabSize + 1, eosId, vocabSize + 2], text: "", reason: "length" });
});

it("a chat is the template's words up to the assistant's turn, without further special tokens", async () => {
  const messages = [
    { role: "system", content: "Be brief." },
    { role: "user", content: "Hi!" },
  ];
  const { fed, tokenizer } = await scripted("llama3", [5], { messages });
  expect(fed).toEqual(
    tokenizer.encode(renderChat(tokenizer, messages, { addGenerationPrompt: true }), { addSpecialTokens: false }),
  );
  expect(fed.filter((id) => id === tokenizer.bosId)).toHaveLength(1);
});

it("a chat whose template writes the start token has it once, also where the tokenizer adds one to every text", () => {
  const tokenizer = {
    ...spellingTokenizer(),
    chatTemplate: "{{ bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}",
    specialTokens: { bos_token: "\u0002" },
  };
  const limits = { vocabSize: 2000, maxPositions: 64 };
  const messages = [{ role: "user", content: "hi" }];
  expect([...encodePrompt(tokenizer, { messages }, "p", limits)]).toEqual([2, 104, 105]);
  // A text has no template, and gets its special token; ids are what they are.
  expect([...encodePrompt(tokenizer, { text: "hi" }, "p", limits)]).toEqual([2, 104, 105]);
  expect([...encodePrompt(tokenizer, { ids: [104] }, "p", limits)]).toEqual([104]);
});

describe("stop texts", () => {
  const text = " one two three four five";
  it.each([
    [" three", " one two"],
    [" thr", " one two"],
    ["ree f", " one two th"],
    ["five", " one two three four "],
  ])("%j: the text ends before it", async (stop, expected) => {
    const tokenizer = await fixtureTokenizer("gpt2");
    const { result, pieces } = await scripted("gpt2", tokenizer.encode(text), "zero", {
      stop: ["absent", stop],
      maxNewTokens: 50,
    });
    expect(result).toMatchObject({ text: expected, reason: "stop" });
    expect(pieces.join("")).toBe(expected);
    expect(result.ids.length).toBeLessThanOrEqual(5);
  });

  it("the beginning of one that never comes is given out in the end", async () => {
    const tokenizer = await fixtureTokenizer("gpt2");
    const { result, pieces } = await scripted("gpt2", tokenizer.encode(text), "zero", { stop: ["five six"] });
    expect(result).toMatchObject({ text, reason: "length" });
    expect(pieces.join("")).toBe(text);
  });

  it("the prompt's own end is no part of one", async () => {
    const { result } = await scripted("gpt2", (await fixtureTokenizer("gpt2")).encode(" b c"), "a", { stop: ["a b"] });
    expect(result).toMatchObject({ text: " b c", reason: "length" });
  });
});

describe("batches", () => {
  const inputs = [{ ids: [1, 2] }, { ids: [3] }, { ids: [4, 4, 4] }, { ids: [5] }, { ids: [6] }];
  const run = async (
    options: GenerateOptions,
    given: AsyncIterable<GenerateInput> | Iterable<GenerateInput> = inputs,
    signal?: AbortSignal,
  ) => {
    const { session, caches } = tokenSession(100, (tokens) => (tokens[0] * 7 + tokens.length) % 100);
    const all: number[][] = [];
    for await (const { ids } of generateMany(
      tokenModel(session, { tokenizer: null }),
      given,
      resolve({ maxNewTokens: 4, ...options }),
      signal,
    ))
      all.push(ids);
    return { all, caches };
  };

  it("come in order, batchSize at a time, alike for every batchSize", async () => {
    const { all, caches } = await run({ batchSize: 2, temperature: 3 });
    expect(caches).toHaveLength(3);
    for (const batchSize of [1, 3, 16]) expect((await run({ batchSize, temperature: 3 })).all).toEqual(all);
    expect(all).toHaveLength(5);
  });

  it("an input that cannot be used is named by its own place, else by its number", async () => {
    const refused = (input: unknown, message: string) =>
      expect(run({}, [inputs[0], input as GenerateInput])).rejects.toMatchObject({ code: "ZO2_ERR_DATA", message });
    const ids = '"ids" is not a list of integers';
    await refused({ ids: "3", place: "in.jsonl:9" }, `in.jsonl:9: ${ids}`);
    await refused({ ids: "3", place: 9 }, `inputs[1]: ${ids}`);
    await refused({ ids: "3" }, `inputs[1]: ${ids}`);
    for (const none of [null, undefined])
      await refused(none, 'inputs[1]: not an object; one of {"text"}, {"ids"} and {"messages"} is needed');
  });

  it.each([
    [{}, undefined],
    [{ cache: "auto" }, undefined],
    [{ cache: "device" }, "device"],
    [{ cache: "host" }, "host"],
  ] as const)("with %j have their cache where that says; undefined is for the plan to decide: %s", async (o, tier) => {
    expect((await run(o)).caches.map((cache) => cache.tier)).toEqual([tier]);
  });

  it("an abort ends them before the next pass", async () => {
    const abort = new AbortController();
    const reason = new Error("enough");
    async function* aborting() {
      yield inputs[0];
      abort.abort(reason);
      yield inputs[1];
    }
    await expect(run({}, aborting(), abort.signal)).rejects.toMatchObject({
      ...{ code: "ZO2_ERR_ABORTED", message: "the generation was stopped after 1 inputs", cause: reason },
    });
  });
});

describe("end tokens", () => {
  let dir: string;
  beforeEach(async () => (dir = await mkdtemp(join(tmpdir(), "zo2-ends-"))));
  afterEach(() => rm(dir, { recursive: true, force: true }));
  const generation = (value: unknown) => writeFile(join(dir, "generation_config.json"), JSON.stringify(value));

  it("are generation_config.json's, else config.json's, else the tokenizer's", async () => {
    const tokenizer = await fixtureTokenizer("tiny-opt");
    expect(await readEndIds(dir, {}, null)).toEqual(new Set());
    expect(await readEndIds(dir, {}, tokenizer)).toEqual(new Set([tokenizer.eosId]));
    expect(await readEndIds(dir, { eos_token_id: 5 }, tokenizer)).toEqual(new Set([5]));
    await generation({ eos_token_id: null, temperature: 0.6 });
    expect(await readEndIds(dir, { eos_token_id: [5, 6] }, tokenizer)).toEqual(new Set([5, 6]));
    await generation({ eos_token_id: [7, 8] });
    expect(await readEndIds(dir, { eos_token_id: 5 }, tokenizer)).toEqual(new Set([7, 8]));
  });

  it.each([[{ eos_token_id: "2" }], [{ eos_token_id: [1, 2.5] }], [{ eos_token_id: {} }], [[1]], ["{"]])(
    "%j is refused by its file",
    async (value) => {
      await generation(value);
      await expect(readEndIds(dir, {}, null)).rejects.toMatchObject({
        code: "ZO2_ERR_CHECKPOINT",
        message: expect.stringContaining("generation_config.json"),
      });
    },
  );
});

it("an end token of the config ends a continuation, and is not of its ids, unless it is to be ignored", async () => {
  const { session } = tokenSession(100, (tokens) => (tokens.at(-1) ?? 0) + 1);
  const model = tokenModel(session, { tokenizer: null, config: { eos_token_id: 8 } });
  const run = (ignoreEos: boolean) =>
    generateOne(model, { ids: [5] }, resolve({ ignoreEos, maxNewTokens: 4 })).result();
  expect(await run(false)).toMatchObject({ ids: [6, 7], reason: "eos" });
  expect(await run(true)).toMatchObject({ ids: [6, 7, 8, 9], reason: "length" });
});

it("what a tokenizer refuses is said with its place, what it did not mean to throw is left as it is", () => {
  const limits = { vocabSize: 100, maxPositions: 8 };
  const throwing = (error: Error) => ({
    ...spellingTokenizer(),
    encode: () => {
      throw error;
    },
  });
  const refused = new Zo2Error("ZO2_ERR_TOKENIZER", "no token for it");
  expect(() => encodePrompt(throwing(refused), { text: "a" }, "in.jsonl:4", limits)).toThrow(
    expect.objectContaining({ code: "ZO2_ERR_TOKENIZER", message: "in.jsonl:4: no token for it", cause: refused }),
  );
  const bug = new TypeError("x is undefined");
  expect(() => encodePrompt(throwing(bug), { text: "a" }, "in.jsonl:4", limits)).toThrow(bug);
});

describe("prompts that are refused", () => {
  const limits = { vocabSize: 100, maxPositions: 8 };
  it.each<[unknown, string, RegExp]>([
    [{ messages: [] }, "ZO2_ERR_DATA", /"messages" is empty/],
    [{ messages: "hi" }, "ZO2_ERR_DATA", /not a list/],
    [{ messages: [{ role: "user" }] }, "ZO2_ERR_DATA", /messages\[0\]: "content" is not a text/],
    [{ text: 3 }, "ZO2_ERR_DATA", /"text" is not a text/],
    [{ ids: "3" }, "ZO2_ERR_DATA", /"ids" is not a list/],
    [{ ids: [1.5] }, "ZO2_ERR_DATA", /ids\[0\] is 1.5/],
    [{ ids: Array(8).fill(1) }, "ZO2_ERR_LENGTH", /8 tokens, and the model has 8 positions; shorten it to 7 at most$/],
    [{ ids: [] }, "ZO2_ERR_DATA", /the prompt has 0 tokens/],
    [{ text: "a", ids: [1] }, "ZO2_ERR_DATA", /has both "text" and "ids"; one of/],
    [{ messages: [], ids: [1] }, "ZO2_ERR_DATA", /has both "ids" and "messages"; one of/],
    [{ text: null, ids: [1] }, "ZO2_ERR_DATA", /has both "text" and "ids"/],
    [{ place: "x" }, "ZO2_ERR_DATA", /has no field; one of/],
    [{ prompt: "a", place: "x" }, "ZO2_ERR_DATA", /has "prompt"; one of/],
    [{ text: "a" }, "ZO2_ERR_TOKENIZER", /no tokenizer/],
    ["a", "ZO2_ERR_DATA", /not an object/],
  ])("%j", (input, code, message) => {
    expect(() => encodePrompt(null, input, "in.jsonl:4", limits)).toThrow(
      expect.objectContaining({
        code,
        message: expect.stringMatching(new RegExp(`^in\\.jsonl:4: .*${message.source}`)),
      }),
    );
  });
});

describe("options that are refused", () => {
  it.each<[object, RegExp]>([
    [{ topK: 5 }, /option "topK" is 5; has no effect at temperature 0/],
    [{ topP: 0.9, temperature: 0 }, /option "topP" is 0.9; has no effect/],
    [{ topP: 0, temperature: 1 }, /"topP" is 0; must be more than 0/],
    [{ topP: 1.5, temperature: 1 }, /"topP"/],
    [{ temperature: -1 }, /"temperature" is -1/],
    [{ temperature: Number.NaN }, /"temperature"/],
    [{ maxNewTokens: 0 }, /"maxNewTokens" is 0; must be at least 1/],
    [{ stop: [""] }, /option "stop\[0\]" holds 0 characters; must hold at least 1$/],
    [{ topk: 5 }, /topK/],
    [{ cache: "disk" }, /"cache"/],
  ])("%j", (options, message) => {
    expect(() => parseOptions(generateOptionsSchema, options, "generation options")).toThrow(
      expect.objectContaining({ code: "ZO2_ERR_CONFIG", message: expect.stringMatching(message) }),
    );
  });
});
