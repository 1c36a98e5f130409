/**
 * Generation against the field's own implementation, against itself without a cache, and in every place that weights,
 * keys and values may rest.
 */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import type { ModelOptions } from "../../../src/config/model.js";
import { decode, type DecodeSettings } from "../../../src/infer/generate/index.js";
import type { Model } from "../../../src/model.js";
import { loadModel } from "../../../src/load.js";
import { Trainer } from "../../../src/train/trainer.js";
import { DEVICE } from "../device.js";
import { continuationsOf, folder, greedyOf, NEW_TOKENS } from "./greedy.js";
import type { Pass } from "../../../src/schedule/facts.js";
import { cacheTier, sameBits, sessionOf, weightBits, withModel } from "./helpers.js";

const tiny = path.join(__dirname, "../../../docs/demo/tiny-opt");

/** What the whole model, run anew for every token, goes on with. */
async function recomputed(model: Model, prompt: readonly number[], count: number): Promise<number[]> {
  const ids = [...prompt];
  for (let i = 0; i < count; i++) {
    const logits = await model.logits(ids);
    const last = logits.subarray(logits.length - model.vocabSize);
    ids.push(last.indexOf(Math.max(...last)));
  }
  return ids.slice(prompt.length);
}

describe("in little device memory", () => {
  // More layers than a cache in host memory has slots.
  const small = { unitBytes: 2_200_000, slots: 1 };
  const run = async (options: ModelOptions, cache: "auto" | "host") => {
    const tiers = new Set<string | undefined>();
    return withModel(
      tiny,
      { ...options, test: { onPass: (pass) => void tiers.add(cacheTier(pass)) } },
      async (model) => {
        const { ids } = await model.generate("the film is", { maxNewTokens: 200, ignoreEos: true, cache }).result();
        return { ids, peak: model.deviceInfo().deviceBytesPeak, tiers: [...tiers] };
      },
    );
  };

  it("the keys and values go to the host where the budget ends, and to the device where there is none", async () => {
    const onHost = await run({ offload: small }, "host");
    const limited = await run({ offload: { ...small, deviceMemory: onHost.peak } }, "auto");
    const free = await run({ offload: small }, "auto");
    expect([onHost.tiers, limited.tiers, free.tiers]).toEqual([["host"], ["host"], ["device"]]);
    expect(limited.peak).toBeLessThanOrEqual(onHost.peak);
    expect(limited.ids).toEqual(onHost.ids);
    expect(free.ids).toEqual(onHost.ids);
  });

  it("a second generation keeps its keys and values in host memory when the first one's fill the device", async () => {
    const onHost = await run({ offload: small }, "host");
    const free = await run({ offload: small }, "auto");
    const layers = JSON.parse(fs.readFileSync(path.join(tiny, "config.json"), "utf8")).num_hidden_layers;
    // A cache in host memory has pieces of three layers on the device, one on the device those of all.
    const piece = (free.peak - onHost.peak) / (layers - 3);
    const tiers: (string | undefined)[] = [];
    const test = { onPass: (pass: Pass) => void tiers.push(cacheTier(pass)) };
    await withModel(
      tiny,
      { offload: { ...small, deviceMemory: onHost.peak + layers * piece }, test },
      async (model) => {
        const generate = () => model.generate("the film is", { maxNewTokens: 200, ignoreEos: true });
        const first = generate();
        await first.next();
        expect((await generate().result()).ids).toEqual(free.ids);
        expect((await first.result()).ids).toEqual(free.ids);
      },
    );
    expect([tiers[0], new Set(tiers)]).toEqual(["device", new Set(["device", "host"])]);
  });

  it("a budget below what the prompt needs is refused with its size", async () => {
    // What two tokens need, and less.
    await withModel(tiny, { offload: { ...small, deviceMemory: "6.3MiB" } }, async (model) => {
      const long = "the film is ".repeat(30);
      await expect(model.generate(long).result()).rejects.toMatchObject({ code: "ZO2_ERR_MEMORY_BUDGET" });
    });
    await expect(
      withModel(tiny, { offload: { ...small, deviceMemory: "1MiB" } }, async () => undefined),
    ).rejects.toMatchObject({ code: "ZO2_ERR_MEMORY_BUDGET", message: expect.stringContaining("1 MiB is allowed") });
  });
});

it.each(["opt", "llama", "mistral-window"])(
  "%s: the cache changes nothing: the whole model run for every token goes on alike",
  async (name) => {
    const {
      prompts: [prompt],
    } = await greedyOf(name);
    await withModel(folder(name), {}, async (model) => {
      const own = prompt.slice(0, 5);
      expect(await continuationsOf(model, [own], { maxNewTokens: 16 })).toEqual([await recomputed(model, own, 16)]);
    });
  },
);

it.each(["device", "host"] as const)("the plan knows keys and values in %s memory to the byte", async (cache) => {
  await withModel(tiny, { offload: { to: "host" } }, async (model) => {
    const generation = model.generate("the film is", { maxNewTokens: 20, ignoreEos: true, cache });
    await generation.next();
    const { deviceBytes, hostBytes } = model.deviceInfo();
    const plan = model.plan();
    expect([deviceBytes, hostBytes]).toEqual([plan.deviceBytes, plan.hostBytes]);
    await generation.result();
  });
});

it("fp16 and bf16 activations are cached in their own dtype", async () => {
  const { prompts } = await greedyOf("opt");
  for (const dtype of ["fp16", "bf16"] as const) {
    await withModel(folder("opt"), { dtype }, async (model) => {
      const [device] = await continuationsOf(model, prompts.slice(0, 1), { cache: "device" });
      expect((await continuationsOf(model, prompts.slice(0, 1), { cache: "host" }))[0]).toEqual(device);
      expect(device).toHaveLength(NEW_TOKENS);
    });
  }
});

it("more sequences than a plan is rounded up to are continued alike", async () => {
  const { prompts, continuations } = await greedyOf("opt");
  const many = Array.from({ length: 70 }, (_, i) => i % prompts.length);
  await withModel(folder("opt"), { maxTokens: 16 }, async (model) => {
    expect(
      await continuationsOf(
        model,
        many.map((i) => prompts[i]),
        { batchSize: 70 },
      ),
    ).toEqual(many.map((i) => continuations[i]));
  });
});

describe("sampling", () => {
  const options = { temperature: 1.5, seed: 11n, maxNewTokens: 12 };

  it("gives a sequence the same tokens in a batch of one, two or all", async () => {
    const { prompts } = await greedyOf("opt");
    await withModel(folder("opt"), {}, async (model) => {
      const all = await continuationsOf(model, prompts, options);
      expect(await continuationsOf(model, prompts, { ...options, batchSize: 2 })).toEqual(all);
      expect(await continuationsOf(model, prompts, { ...options, batchSize: 1 })).toEqual(all);
      expect(await continuationsOf(model, prompts, { ...options, seed: 12n })).not.toEqual(all);
      expect(await continuationsOf(model, prompts, { ...options, topK: 1 })).toEqual(
        await continuationsOf(model, prompts, { maxNewTokens: 12 }),
      );
    });
  });

  it("gives two sequences with one prompt draws of their own", async () => {
    const {
      prompts: [prompt],
    } = await greedyOf("opt");
    await withModel(folder("opt"), {}, async (model) => {
      const [a, b] = await continuationsOf(model, [prompt, prompt], options);
      expect(a).not.toEqual(b);
    });
  });
});

describe("decode", () => {
  const settings: DecodeSettings = {
    sampling: { temperature: 0, seed: 0n },
    maxNewTokens: 6,
    maxPositions: 96,
    maxTokens: 64,
    logprobs: true,
  };

  it("gives the log-probabilities that scoring the continuation gives", async () => {
    const {
      prompts: [prompt],
    } = await greedyOf("opt");
    await withModel(folder("opt"), {}, async (model) => {
      const tokens: { id: number; logprob: number | null }[] = [];
      for await (const [token] of decode(sessionOf(model), [Int32Array.from(prompt)], settings)) tokens.push(token);
      for await (const { logprobs } of model.score([{ ids: [...prompt, ...tokens.map(({ id }) => id)] }])) {
        for (const [i, { logprob }] of tokens.entries())
          expect(logprob).toBeCloseTo(logprobs[prompt.length + i] ?? Number.NaN, 3);
      }
    });
  });

  it("moves with the weights where a probe says so, and they are in their place afterwards", async () => {
    const {
      prompts: [prompt],
    } = await greedyOf("opt");
    await withModel(folder("opt"), {}, async (model) => {
      const before = await weightBits(model);
      const of = { seed: 3n, step: 0, eps: 1e-2, noise: "gaussian" } as const;
      const run = async (sign?: 1 | -1) => {
        const logprobs: (number | null)[] = [];
        for await (const [{ logprob }] of decode(sessionOf(model), [Int32Array.from(prompt)], {
          ...settings,
          ...(sign === undefined ? {} : { probe: { of, at: { direction: 0, sign } } }),
        }))
          logprobs.push(logprob);
        return logprobs;
      };
      const [plain, plus, minus] = [await run(), await run(1), await run(-1)];
      expect(plus[0]).not.toBe(plain[0]);
      expect(minus[0]).not.toBe(plus[0]);
      expect(await run(1)).toEqual(plus);
      expect(await run()).toEqual(plain);
      expect(sameBits(before, await weightBits(model))).toBe(true);
    });
  });
});

it("leaving early, aborting and an error free the cache", async () => {
  const {
    prompts: [ids],
  } = await greedyOf("opt");
  await withModel(folder("opt"), { offload: { to: "device" } }, async (model) => {
    const settings: DecodeSettings = {
      sampling: { temperature: 0, seed: 0n },
      maxNewTokens: 40,
      maxPositions: 96,
      maxTokens: 64,
      cache: "device",
    };
    const prompt = [Int32Array.from(ids)];
    /**
     * Device memory when `done` holds of it: the last commands of a pass, which nobody waits for, may still hold the
     * cache.
     */
    const settled = async (done: (bytes: number) => boolean) => {
      for (let i = 0; i < 1000 && !done(model.deviceInfo().deviceBytes); i++)
        await new Promise((resolve) => setTimeout(resolve, 5));
      return model.deviceInfo().deviceBytes;
    };
    let during = 0;
    for await (const _ of decode(sessionOf(model), prompt, settings)) during = model.deviceInfo().deviceBytes;
    const free = await settled((bytes) => bytes < during);
    expect(free).toBeLessThan(during);
    for await (const _ of decode(sessionOf(model), prompt, settings)) {
      expect(model.deviceInfo().deviceBytes).toBe(during);
      break;
    }
    expect(await settled((bytes) => bytes === free)).toBe(free);
    const abort = new AbortController();
    const aborted = (async () => {
      for await (const _ of decode(sessionOf(model), prompt, { ...settings, signal: abort.signal })) abort.abort();
    })();
    await expect(aborted).rejects.toMatchObject({
      code: "ZO2_ERR_ABORTED",
      message: "the generation was stopped after 1 tokens",
    });
    expect(await settled((bytes) => bytes === free)).toBe(free);
    const failing = (async () => {
      for await (const _ of decode(sessionOf(model), prompt, {
        ...settings,
        stops: () => {
          throw new Error("mine");
        },
      }));
    })();
    await expect(failing).rejects.toThrow("mine");
    expect(await settled((bytes) => bytes === free)).toBe(free);
  });
});

it("a model that is disposed in the middle ends the generation with ZO2_ERR_DISPOSED", async () => {
  const {
    prompts: [ids],
  } = await greedyOf("opt");
  const model = await loadModel(folder("opt"), { device: DEVICE, threads: 2 });
  try {
    const passes = decode(sessionOf(model), [Int32Array.from(ids)], {
      sampling: { temperature: 0, seed: 0n },
      maxNewTokens: 40,
      maxPositions: 96,
      maxTokens: 64,
    });
    await passes.next();
    const disposed = model.dispose();
    await expect(passes.next()).rejects.toMatchObject({ code: "ZO2_ERR_DISPOSED" });
    await disposed;
  } finally {
    await model.dispose();
  }
});

it("generation between training steps leaves every weight as it would be, bit for bit", async () => {
  const { prompts } = await greedyOf("llama");
  const examples = prompts.map((ids) => ({ ids: [...ids, ...ids] }));
  const train = (generate: boolean) =>
    withModel(folder("llama"), {}, async (model) => {
      const seen: number[][] = [];
      const options = {
        method: { name: "mezo-sgd" as const, learningRate: 1e-3, eps: 1e-3 },
        steps: 5,
        batchSize: 2,
        seed: 4,
      };
      for await (const _ of new Trainer(model, options).fit(examples))
        if (generate) seen.push(...(await continuationsOf(model, prompts.slice(0, 1), { maxNewTokens: 8 })));
      return { weights: await weightBits(model), seen };
    });
  const [plain, generating] = [await train(false), await train(true)];
  expect(sameBits(plain.weights, generating.weights)).toBe(true);
  expect(generating.seen).toHaveLength(5);
});

describe("text", () => {
  it("comes in pieces that are, joined, what the ids stand for behind the prompt", async () => {
    await withModel(tiny, {}, async (model) => {
      const generation = model.generate("a fine film , and", { maxNewTokens: 20, ignoreEos: true });
      const pieces: string[] = [];
      for await (const piece of generation) pieces.push(piece);
      const { ids, text, reason } = await generation.result();
      const prompt = model.tokenizer?.encode("a fine film , and") ?? [];
      const whole = (all: number[]) => model.tokenizer?.decode(all, { skipSpecialTokens: true }) ?? "";
      expect(pieces.length).toBeGreaterThan(1);
      expect(pieces).not.toContain("");
      expect(pieces.join("")).toBe(text);
      expect(whole(prompt) + text).toBe(whole([...prompt, ...ids]));
      expect({ reason, count: ids.length }).toEqual({ reason: "length", count: 20 });
      expect(await model.generate({ ids: prompt }, { maxNewTokens: 20, ignoreEos: true }).result()).toEqual({
        ids,
        text,
        reason,
      });
    });
  });

  it("ends before a stop text, however it lies in tokens", async () => {
    await withModel(tiny, {}, async (model) => {
      const options = { maxNewTokens: 30, ignoreEos: true };
      const { text } = await model.generate("the film is", options).result();
      const stop = (text ?? "").slice(7, 11);
      expect(stop).toHaveLength(4);
      const stopped = await model.generate("the film is", { ...options, stop: ["never there", stop] }).result();
      expect(stopped).toMatchObject({ text: text?.slice(0, text.indexOf(stop)), reason: "stop" });
      expect(stopped.ids.length).toBeLessThan(30);
    });
  });

  it("ends at an end token of config.json, which is not in the ids, and goes on past it when told so", async () => {
    const options = { maxNewTokens: 8, ignoreEos: true };
    const { ids } = await withModel(tiny, {}, (model) => model.generate("the film is", options).result());
    const end = ids[3];
    const dir = fs.mkdtempSync(path.join(fs.realpathSync(os.tmpdir()), "zo2-"));
    try {
      for (const name of fs.readdirSync(tiny)) fs.symlinkSync(path.join(tiny, name), path.join(dir, name));
      fs.rmSync(path.join(dir, "generation_config.json"), { force: true });
      fs.writeFileSync(path.join(dir, "generation_config.json"), JSON.stringify({ eos_token_id: [-1, end] }));
      await withModel(dir, {}, async (model) => {
        const ended = await model.generate("the film is", { maxNewTokens: 8 }).result();
        expect(ended).toMatchObject({ ids: ids.slice(0, ids.indexOf(end)), reason: "eos" });
        expect((await model.generate("the film is", options).result()).ids).toEqual(ids);
      });
    } finally {
      fs.rmSync(dir, { recursive: true });
    }
  });

  it("a generation that was left has no result, and one that failed fails again", async () => {
    await withModel(tiny, {}, async (model) => {
      const left = model.generate("the film is", { ignoreEos: true });
      for await (const _ of left) break;
      await expect(left.result()).rejects.toMatchObject({ code: "ZO2_ERR_ABORTED" });
      const failed = model.generate({ ids: [] });
      for (let i = 0; i < 2; i++) await expect(failed.result()).rejects.toMatchObject({ code: "ZO2_ERR_DATA" });
    });
  });
});

describe("refusals", () => {
  const cases: [string, unknown, string, RegExp][] = [
    [
      "ids outside the vocabulary",
      { ids: [5, 208] },
      "ZO2_ERR_DATA",
      /^the prompt: ids\[1\] is 208; token ids are integers from 0 to 207/,
    ],
    ["an empty prompt", { ids: [] }, "ZO2_ERR_DATA", /^the prompt: the prompt has 0 tokens/],
    ["text without a tokenizer", "hello", "ZO2_ERR_TOKENIZER", /no tokenizer/],
    [
      "messages without a tokenizer",
      { messages: [{ role: "user", content: "hi" }] },
      "ZO2_ERR_TOKENIZER",
      /no tokenizer/,
    ],
    [
      "a prompt of all positions",
      { ids: Array(96).fill(7) },
      "ZO2_ERR_LENGTH",
      /has 96 tokens, and the model has 96 positions; shorten it to 95/,
    ],
    ["no prompt", {}, "ZO2_ERR_DATA", /has no field/],
    ["two prompts", { ids: [3], text: "b" }, "ZO2_ERR_DATA", /has both "text" and "ids"/],
    ["nothing at all", null, "ZO2_ERR_DATA", /not an object/],
  ];
  it.each(cases)("%s", async (_, prompt, code, message) => {
    await withModel(folder("opt"), {}, async (model) => {
      await expect(model.generate(prompt as string).result()).rejects.toMatchObject({
        code,
        message: expect.stringMatching(message),
      });
    });
  });

  it("one position that is left gives one token", async () => {
    await withModel(folder("opt"), {}, async (model) => {
      expect(await model.generate({ ids: Array(95).fill(7) }, { ignoreEos: true }).result()).toMatchObject({
        ids: [expect.any(Number)],
        text: null,
        reason: "length",
      });
    });
  });

  it("messages without a chat template, stop texts without a tokenizer, heads for other things", async () => {
    await withModel(tiny, {}, async (model) => {
      await expect(model.generate({ messages: [{ role: "user", content: "hi" }] }).result()).rejects.toMatchObject({
        code: "ZO2_ERR_TOKENIZER",
        message: expect.stringMatching(/chat template/),
      });
    });
    await withModel(folder("opt"), {}, async (model) => {
      await expect(model.generate({ ids: [5] }, { stop: ["x"] }).result()).rejects.toMatchObject({
        code: "ZO2_ERR_TOKENIZER",
      });
      expect(() => model.generate({ ids: [5] }, { topP: 0.5 })).toThrow(/topP.*temperature/);
    });
    await withModel(folder("opt-classify"), {}, async (model) => {
      expect(() => model.generate({ ids: [5] })).toThrow(
        expect.objectContaining({ code: "ZO2_ERR_MODEL_UNSUPPORTED" }),
      );
    });
  });

  it("what came before a bad input is continued first", async () => {
    await withModel(folder("opt"), {}, async (model) => {
      const seen: unknown[] = [];
      const run = async () => {
        for await (const generated of model.generateAll(
          [{ ids: [4, 5] }, { ids: [6] }, { ids: [999], place: "prompts.jsonl:3" }],
          { maxNewTokens: 2, ignoreEos: true },
        ))
          seen.push(generated.ids.length);
      };
      await expect(run()).rejects.toMatchObject({
        code: "ZO2_ERR_DATA",
        message: expect.stringMatching(/^prompts\.jsonl:3: ids\[0\] is 999/),
      });
      expect(seen).toEqual([2, 2]);
    });
  });
});
