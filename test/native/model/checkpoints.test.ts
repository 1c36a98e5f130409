import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import type { ModelOptions } from "../../../src/config/model.js";
import { loadModel } from "../../../src/load.js";
import type { Model } from "../../../src/model.js";
import {
  asBf16,
  bf16AsFp32,
  fp16AsFp32,
  readConfig,
  readTensorFiles,
  type StoredTensor,
  type Tensors,
  writeModelFolder,
  writeShardedFolder,
} from "../../support/tensor-files.js";
import { DEVICE } from "../device.js";
import { fixtures, sameBits, takeSteps, weightBits, withModel } from "./helpers.js";
import { packBatch } from "../../../src/data/index.js";

const fixture = (name: string) => path.join(fixtures, "models", name);
const IDS = [1, 5, 9, 33, 7];

let work: string;
beforeEach(() => {
  work = fs.mkdtempSync(path.join(os.tmpdir(), "zo2-checkpoints-"));
});
afterEach(() => fs.rmSync(work, { recursive: true, force: true }));

interface Loaded {
  readonly warnings: readonly string[];
  readonly logprobs: readonly (number | null)[];
  readonly names: readonly string[];
  readonly unused: readonly string[];
}

/** What a folder computes, and what was said about it. */
async function load(dir: string, options: ModelOptions = {}): Promise<Loaded> {
  const heard: string[] = [];
  const model = await loadModel(
    dir,
    { device: DEVICE, threads: 2, ...options },
    { onWarning: ({ code, message }) => heard.push(`${code}: ${message}`) },
  );
  try {
    expect(model.warnings.map(({ code, message }) => `${code}: ${message}`)).toEqual(heard);
    const logprobs: (number | null)[] = [];
    for await (const score of model.score([{ ids: IDS }])) logprobs.push(...score.logprobs);
    return { warnings: heard, logprobs, names: model.parameters.map((p) => p.name), unused: model.unusedTensors };
  } finally {
    await model.dispose();
  }
}

/** The same numbers with the exponent of each one lower, as far as it is not zero. */
function halved({ dtype, shape, bytes }: StoredTensor): StoredTensor {
  const out = Buffer.from(bytes);
  if (dtype === "F32") for (let i = 0; i < out.length; i += 4) out.writeFloatLE(bytes.readFloatLE(i) / 2, i);
  else
    for (let i = 0; i < out.length; i += 2) {
      const x = bytes.readUInt16LE(i);
      if ((x & 0x7f80) > 0x80) out.writeUInt16LE(x - 0x80, i);
    }
  return { dtype, shape, bytes: out };
}

const EMBEDDING: Readonly<Record<string, string>> = {
  opt: "model.decoder.embed_tokens.weight",
  gpt2: "wte.weight",
  llama: "model.embed_tokens.weight",
  "mistral-window": "model.embed_tokens.weight",
  "qwen2-bf16": "model.embed_tokens.weight",
  "qwen3-bf16": "model.embed_tokens.weight",
};

describe("a head beside an embedding that config.json ties it to", () => {
  const embeddingOf = (name: string, tensors: Tensors) => {
    const embedding = tensors.get(EMBEDDING[name] ?? "");
    if (embedding === undefined) throw new Error(`${name} has no embedding of that name`);
    return embedding;
  };
  /** A fixture whose config ties, with a head: the fixture's own, or half of the embedding. */
  const make = (name: string, head?: StoredTensor, change: object = {}) => {
    const tensors = readTensorFiles(fixture(name));
    const own = head ?? tensors.get("lm_head.weight") ?? halved(embeddingOf(name, tensors));
    tensors.delete("lm_head.weight");
    tensors.set("lm_head.weight", own);
    const config = { ...readConfig(fixture(name)), tie_word_embeddings: true, ...change };
    return writeModelFolder(path.join(work, name), config, tensors);
  };

  it("has the log-probabilities that transformers computes with both", async () => {
    const { logprobs, warnings } = await load(make("qwen2-bf16"));
    // As transformers 5.18 computes them for ids 1 5 9 33 7.
    const expected = [null, -6.16398, -8.70777, -6.19622, -8.11095];
    expect(logprobs.map((l) => (l === null ? l : Number(l.toFixed(5))))).toEqual(expected);
    expect(warnings).toEqual([
      expect.stringMatching(
        /^ZO2_WARN_UNTIED_HEAD: .*ties "lm_head.weight" to "model.embed_tokens.weight".* both are kept/,
      ),
    ]);
  });

  it.each(Object.keys(EMBEDDING))("of %s is kept: as if config.json said that they are apart", async (name) => {
    const dir = make(name);
    const tied = await load(dir);
    expect(tied.warnings).toEqual([expect.stringContaining("ZO2_WARN_UNTIED_HEAD")]);
    expect(tied.names.at(-1)).toBe("lm_head.weight");
    expect(tied.unused).toEqual([]);
    fs.writeFileSync(path.join(dir, "config.json"), JSON.stringify({ ...readConfig(dir), tie_word_embeddings: false }));
    const apart = await load(dir);
    expect(apart).toEqual({ ...tied, warnings: [] });
  });

  it.each(["llama", "mistral-window"])(
    "of %s is the fixture's own, and computes what the fixture does",
    async (name) => {
      expect((await load(make(name))).logprobs).toEqual((await load(fixture(name))).logprobs);
    },
  );

  it.each(["opt", "gpt2"])("of %s is kept where config.json ties by its family's default", async (name) => {
    const dir = make(name, undefined, { tie_word_embeddings: undefined });
    expect((await load(dir)).warnings).toEqual([expect.stringContaining("ZO2_WARN_UNTIED_HEAD")]);
    const ignoring = await load(dir, { ignoreConfigFields: ["tie_word_embeddings"] });
    expect(ignoring.names.at(-1)).toBe("lm_head.weight");
  });

  it("is kept under the names that checkpoints have for it, and in shards", async () => {
    const plain = await load(make("qwen2-bf16"));
    const tensors = readTensorFiles(path.join(work, "qwen2-bf16"));
    const config = readConfig(path.join(work, "qwen2-bf16"));
    const sharded = await load(writeShardedFolder(path.join(work, "sharded"), config, tensors));
    expect(sharded.logprobs).toEqual(plain.logprobs);
    const renamed = new Map([...tensors].map(([name, t]) => [name === "lm_head.weight" ? `model.${name}` : name, t]));
    const other = await load(writeModelFolder(path.join(work, "renamed"), config, renamed));
    expect(other.logprobs).toEqual(plain.logprobs);
    expect(other.unused).toEqual([]);
  });

  it("differs by as little as the last bit of the last number", async () => {
    const embedding = embeddingOf("qwen2-bf16", readTensorFiles(fixture("qwen2-bf16")));
    const bytes = Buffer.from(embedding.bytes);
    bytes[bytes.length - 2]! ^= 1;
    const { warnings, names } = await load(make("qwen2-bf16", { ...embedding, bytes }));
    expect([warnings.length, names.at(-1)]).toEqual([1, "lm_head.weight"]);
  });

  it.each(["opt", "gpt2", "qwen2-bf16", "qwen3-bf16"])(
    "of %s with the embedding's bytes is the embedding: one parameter, no warning, nothing unused",
    async (name) => {
      const plain = readTensorFiles(fixture(name));
      plain.delete("lm_head.weight");
      const config = { ...readConfig(fixture(name)), tie_word_embeddings: true };
      const without = await load(writeModelFolder(path.join(work, "without"), config, plain));
      const twice = await load(make(name, embeddingOf(name, plain)));
      expect(twice).toEqual({ ...without, warnings: [] });
      expect(twice.names).not.toContain("lm_head.weight");
    },
  );

  it("of another shape is refused by its name", async () => {
    const { shape, bytes, dtype } = embeddingOf("qwen2-bf16", readTensorFiles(fixture("qwen2-bf16")));
    const [rows = 0, columns = 0] = shape;
    const longer = { dtype, shape: [rows + 1, columns], bytes: Buffer.concat([bytes, bytes.subarray(0, 2 * columns)]) };
    await expect(load(make("qwen2-bf16", longer))).rejects.toThrow(
      expect.objectContaining({ code: "ZO2_ERR_CHECKPOINT", message: expect.stringContaining('"lm_head.weight"') }),
    );
  });

  it("of another dtype is kept in it", async () => {
    const embedding = embeddingOf("qwen2-bf16", readTensorFiles(fixture("qwen2-bf16")));
    const wide = bf16AsFp32(halved(embedding));
    const { logprobs, warnings } = await load(make("qwen2-bf16", wide));
    expect(logprobs).toEqual((await load(make("qwen2-bf16", halved(embedding)))).logprobs);
    expect(warnings.map((w) => w.split(":")[0]).sort()).toEqual(["ZO2_WARN_MIXED_DTYPES", "ZO2_WARN_UNTIED_HEAD"]);
  });

  it("is trained apart, saved with its embedding, and loaded again without a word", async () => {
    const dir = make("qwen2-bf16");
    const saved = path.join(work, "saved");
    const untouched = path.join(work, "untouched");
    const options = { offload: { wire: "fp32" as const } };
    const [before, after] = await withModel(dir, options, async (model) => {
      expect(model.config["tie_word_embeddings"]).toBe(false);
      await model.save(untouched, { dtype: "bf16" });
      const bits = await weightBits(model);
      const ids = Int32Array.from(IDS);
      await takeSteps(model, [packBatch([{ kind: "tokens", ids, labels: ids }])], () => ({
        ...{ seed: 3n, eps: 1e-3, learningRate: 1e-2, weightDecay: 0, noise: "gaussian" as const },
      }));
      await model.save(saved);
      return [bits, await weightBits(model)];
    });
    before.forEach((bits, i) => expect(sameBits([bits], [after[i]!])).toBe(false));
    expect(readConfig(saved)["tie_word_embeddings"]).toBe(false);
    await withModel(saved, options, async (model) => {
      expect(model.warnings).toEqual([]);
      expect(sameBits(await weightBits(model), after)).toBe(true);
    });
    const [given, written] = [readTensorFiles(dir), readTensorFiles(untouched)];
    for (const name of ["lm_head.weight", "model.embed_tokens.weight"])
      expect(written.get(name)?.bytes.equals(given.get(name)?.bytes ?? Buffer.alloc(0))).toBe(true);
    expect((await load(untouched)).logprobs).toEqual((await load(dir)).logprobs);
  });

  it("is listed as unused beside another head, where nothing computes with it", async () => {
    const tensors = readTensorFiles(fixture("llama-classify"));
    tensors.set("lm_head.weight", halved(tensors.get("model.embed_tokens.weight")!));
    const config = { ...readConfig(fixture("llama-classify")), tie_word_embeddings: true };
    const dir = writeModelFolder(path.join(work, "classify"), config, tensors);
    await withModel(dir, {}, async (model) => {
      expect([model.warnings, model.unusedTensors]).toEqual([[], ["lm_head.weight"]]);
    });
  });
});

it("a tensor that is there twice, with other values under another name, is listed as unused", async () => {
  const tensors = readTensorFiles(fixture("llama"));
  const norm = tensors.get("model.norm.weight")!;
  tensors.set("norm.weight", { ...norm, bytes: Buffer.alloc(norm.bytes.length) });
  tensors.set("transformer.norm.weight", norm);
  const { unused, logprobs } = await load(
    writeModelFolder(path.join(work, "twice"), readConfig(fixture("llama")), tensors),
  );
  expect(unused).toEqual(["norm.weight"]);
  expect(logprobs).toEqual((await load(fixture("llama"))).logprobs);
});

describe("an index and shards that do not agree", () => {
  const config = readConfig(fixture("llama"));
  const tensors = readTensorFiles(fixture("llama"));
  const sharded = (change: (map: Record<string, string>) => void, all = tensors) =>
    writeShardedFolder(path.join(work, "sharded"), config, all, change);
  const [FIRST, SECOND] = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"] as const;

  it.each<[string, (map: Record<string, string>) => void, RegExp[]]>([
    ["agree, in fact,", () => undefined, []],
    [
      "a file that is missing for what nothing needs",
      (map) => Object.assign(map, { "vision.weight": "model-00003-of-00003.safetensors" }),
      [/1 of its tensors are not there, and nothing needs them: "vision.weight" .*model-00003.* is missing/],
    ],
    [
      "several such files",
      (map) => Object.assign(map, Object.fromEntries([..."abcdefgh"].map((n) => [`extra.${n}`, `x-${n}.safetensors`]))),
      [/8 of its tensors .*"extra.a", "extra.b", "extra.c", "extra.d" and 4 more/],
    ],
    [
      "a tensor that its shard lacks, which nothing needs",
      (map) => Object.assign(map, { "model.layers.0.self_attn.rotary_emb.inv_freq": FIRST }),
      [/"model.layers.0.self_attn.rotary_emb.inv_freq" is not in model-00001/],
    ],
    [
      "a needed tensor that the index omits",
      (map) => Reflect.deleteProperty(map, "model.norm.weight"),
      [/1 tensors that it does not name, taken all the same: "model.norm.weight"/],
    ],
    ["the head that the index omits", (map) => Reflect.deleteProperty(map, "lm_head.weight"), [/"lm_head.weight"/]],
    [
      "all of one layer that the index omits",
      (map) =>
        Object.keys(map)
          .filter((n) => n.includes("layers.1."))
          .forEach((n) => Reflect.deleteProperty(map, n)),
      [/shards have 9 tensors .* and 5 more/],
    ],
    [
      "a tensor that stands in the other shard than the index says",
      (map) => {
        map["model.norm.weight"] = map["model.norm.weight"] === FIRST ? SECOND : FIRST;
      },
      [/"model.norm.weight"/],
    ],
    [
      "an index that names one tensor of each shard",
      (map) => {
        const kept = [FIRST, SECOND].map((file) => Object.entries(map).find(([, f]) => f === file)![0]);
        Object.keys(map).forEach((n) => kept.includes(n) || Reflect.deleteProperty(map, n));
      },
      [/tensors that it does not name/],
    ],
    [
      "both at once",
      (map) => {
        Reflect.deleteProperty(map, "model.norm.weight");
        map["old.weight"] = "gone.safetensors";
      },
      [/"old.weight"/, /"model.norm.weight"/],
    ],
  ])("%s: the model is the same, and what is odd is said", async (_, change, warnings) => {
    const found = await load(sharded(change));
    expect(found.warnings).toEqual(warnings.map((pattern) => expect.stringMatching(pattern)));
    for (const warning of found.warnings) expect(warning).toMatch(/^ZO2_WARN_INDEX: .*model.safetensors.index.json: /);
    expect(found.logprobs).toEqual((await load(fixture("llama"))).logprobs);
    expect(found.unused).toEqual([]);
  });

  it("have what the index omits and nothing needs among the unused tensors", async () => {
    const more = new Map([...tensors, ["extra.weight", { dtype: "F32", shape: [1], bytes: Buffer.alloc(4) }]]);
    const found = await load(sharded((map) => Reflect.deleteProperty(map, "extra.weight"), more));
    expect(found.unused).toEqual(["extra.weight"]);
  });

  it.each<[string, (map: Record<string, string>) => void, RegExp]>([
    [
      "in a file that is missing",
      (map) => Object.assign(map, { "lm_head.weight": "gone.safetensors" }),
      /"lm_head.weight" should be in gone.safetensors, which is missing; download it/,
    ],
    [
      "in a shard that lacks it",
      (map) => Object.assign(map, { "lm_head.weight": FIRST }),
      /"lm_head.weight" is not in model-00001-of-00002.safetensors, where the index says it is/,
    ],
  ])("that lack a needed tensor, %s, are refused with its place", async (_, change, message) => {
    const all = new Map([...tensors].filter(([name]) => name !== "lm_head.weight"));
    const work = sharded((map) => change(map), all);
    await expect(load(work)).rejects.toThrow(
      expect.objectContaining({ code: "ZO2_ERR_CHECKPOINT", message: expect.stringMatching(message) }),
    );
  });

  it("are as good as pickled shards that agree: .bin files take the same way", async () => {
    const dir = path.join(work, "bin");
    fs.cpSync(fixture("opt-bin-sharded-bf16"), dir, { recursive: true });
    const file = path.join(dir, "pytorch_model.bin.index.json");
    const index = JSON.parse(fs.readFileSync(file, "utf8")) as { weight_map: Record<string, string> };
    const omitted = Object.keys(index.weight_map).find((name) => name.endsWith("layers.0.fc1.weight"))!;
    Reflect.deleteProperty(index.weight_map, omitted);
    index.weight_map["old.weight"] = "gone.bin";
    fs.writeFileSync(file, JSON.stringify(index));
    const found = await load(dir);
    expect(found.warnings).toEqual([expect.stringContaining('"old.weight"'), expect.stringContaining(omitted)]);
    expect(found.logprobs).toEqual((await load(fixture("opt-bin-sharded-bf16"))).logprobs);
  });
});

describe("matrices of several dtypes in one checkpoint", () => {
  const bits = (model: Model) => weightBits(model);
  /** The fixture with its matrices as `narrow` has them, but those that match, which get low bits of their own. */
  function mixed(name: string, kept: RegExp, narrow: (t: StoredTensor) => StoredTensor = (t) => t): string {
    const tensors = new Map(
      [...readTensorFiles(fixture(name))].map(([key, stored]) => {
        const widen = { F16: fp16AsFp32, BF16: bf16AsFp32 }[stored.dtype];
        if (!kept.test(key)) return [key, stored.dtype === "F32" ? narrow(stored) : stored] as const;
        const wide = widen === undefined ? stored : widen(stored);
        const bytes = Buffer.from(wide.bytes);
        for (let i = 0; i < bytes.length; i += 4) if ((bytes[i + 3]! & 0x7f) > 0) bytes[i]! |= 1 + (i % 255);
        return [key, { ...wide, bytes }] as const;
      }),
    );
    return writeModelFolder(path.join(work, "mixed"), readConfig(fixture(name)), tensors);
  }

  /** A fixture, which of its matrices are fp32, and the dtype of the others. */
  const CASES: [string, RegExp, string, ((t: StoredTensor) => StoredTensor)?][] = [
    ["opt-sharded-fp16", /layers\.1\.fc1\.weight$/, "fp16"],
    ["opt-sharded-fp16", /embed_tokens\.weight$/, "fp16"],
    ["opt-sharded-fp16", /embed_positions\.weight$/, "fp16"],
    ["opt-sharded-fp16", /layers\.0\.self_attn\..*\.weight$/, "fp16"],
    ["qwen2-bf16", /embed_tokens\.weight$/, "bf16"],
    ["qwen2-bf16", /layers\.0\.mlp\.down_proj\.weight$/, "bf16"],
    ["qwen3-bf16", /layers\.1\.self_attn\.o_proj\.weight$/, "bf16"],
    ["llama3-scaled-bf16", /layers\.0\.mlp\.up_proj\.weight$/, "bf16"],
    ["llama3-scaled-bf16", /embed_tokens\.weight$/, "bf16"],
    ["llama", /lm_head\.weight$/, "bf16", asBf16],
    ["gpt2", /wte\.weight$/, "bf16", asBf16],
    ["gpt2", /h\.1\.attn\.c_attn\.weight$/, "bf16", asBf16],
  ];

  it.each(CASES)(
    "of %s, %s in fp32: each rests as it is stored, and a warning says which",
    async (...[name, kept, most, narrow]) => {
      const dir = mixed(name, kept, narrow);
      const given = readTensorFiles(dir);
      const wide = [...given].filter(([key]) => kept.test(key)).map(([key]) => key);
      const { logprobs, warnings } = await load(dir);
      expect(warnings).toEqual([
        expect.stringMatching(
          new RegExp(`^ZO2_WARN_MIXED_DTYPES: .*stored as ${most}, and ${wide.length} as fp32: .*${wide[0]}`),
        ),
      ]);
      const widened = await load(dir, { offload: { wire: "fp32" } });
      expect([widened.logprobs, widened.warnings]).toEqual([logprobs, []]);
      const saved = path.join(work, "saved");
      await withModel(dir, {}, (model) => model.save(saved));
      const written = readTensorFiles(saved);
      for (const [key, { dtype, shape, bytes }] of written) {
        if (shape.length < 2) continue;
        const own = given.get(key) ?? given.get(key.replace("transformer.", ""));
        expect([key, dtype, bytes.equals(own!.bytes)]).toEqual([key, own!.dtype, true]);
      }
      const again = await load(saved);
      expect(again.logprobs).toEqual(logprobs);
    },
  );

  it.each(CASES)(
    "of %s, %s in fp32: streamed in small units equals resident, bit for bit, trained",
    async (...[name, kept, , narrow]) => {
      const dir = mixed(name, kept, narrow);
      const ids = Int32Array.from([...IDS, 60, 61, 62, 5, 1]);
      const run = (offload: NonNullable<ModelOptions["offload"]>) =>
        withModel(dir, { offload, rounding: "stochastic" }, async (model) => {
          const batch = packBatch([{ kind: "tokens", ids, labels: ids }]);
          const results = await takeSteps(model, [batch, batch, batch], () => ({
            ...{ seed: 5n, eps: 1e-3, learningRate: 1e-2, weightDecay: 0.1, noise: "gaussian" as const },
          }));
          return { results, weights: await bits(model) };
        });
      const streamed = await run({ unitBytes: 20_000, slots: 2 });
      const resident = await run({ to: "device", unitBytes: 20_000 });
      expect(resident.results).toEqual(streamed.results);
      expect(sameBits(resident.weights, streamed.weights)).toBe(true);
      const start = await withModel(dir, {}, bits);
      streamed.weights.forEach((w, i) => expect(sameBits([w], [start[i]!])).toBe(false));
    },
  );

  it("of one dtype are no reason for a warning, whatever the norms and biases are stored in", async () => {
    for (const name of ["opt-sharded-fp16", "llama", "qwen2-bf16"]) {
      const tensors = new Map(
        [...readTensorFiles(fixture(name))].map(([key, t]) => {
          const widen = { F16: fp16AsFp32, BF16: bf16AsFp32 }[t.dtype];
          return [key, t.shape.length > 1 || widen === undefined ? t : widen(t)];
        }),
      );
      const dir = writeModelFolder(path.join(work, name), readConfig(fixture(name)), tensors);
      expect((await load(dir)).warnings).toEqual([]);
    }
  });
});

it("a warning that nobody listens to is the process's", async () => {
  const emit = jest.spyOn(process, "emitWarning").mockImplementation(() => undefined);
  try {
    const tensors = readTensorFiles(fixture("llama"));
    const dir = writeShardedFolder(path.join(work, "quiet"), readConfig(fixture("llama")), tensors, (map) =>
      Object.assign(map, { old: "gone.safetensors" }),
    );
    await withModel(dir, {}, async (model) => expect(model.warnings).toHaveLength(1));
    expect(emit.mock.calls).toEqual([
      [expect.stringContaining("gone.safetensors"), { type: "Zo2Warning", code: "ZO2_WARN_INDEX" }],
    ]);
  } finally {
    emit.mockRestore();
  }
});
