import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { openCheckpoint } from "../../../src/checkpoint/index.js";
import type { ModelOptions } from "../../../src/config/model.js";
import type { Model } from "../../../src/model.js";
import { fixtures, packed, readJson, sameBits, takeSteps, weightBits, withModel } from "./helpers.js";

const MODELS = fs.readdirSync(path.join(fixtures, "models")).sort();
const folder = (name: string) => path.join(fixtures, "models", name);
const WIDTH = { F32: 4, F16: 2, BF16: 2 } as const;
type Dtype = keyof typeof WIDTH;

let work: string;
beforeEach(() => {
  work = fs.mkdtempSync(path.join(os.tmpdir(), "zo2-save-"));
});
afterEach(() => fs.rmSync(work, { recursive: true, force: true }));

interface HeaderEntry {
  readonly dtype: Dtype;
  readonly shape: number[];
  readonly data_offsets: [number, number];
}
interface Stored {
  readonly dtype: Dtype;
  readonly shape: number[];
  readonly bytes: Buffer;
}

/** A safetensors file as the format's page describes it, read without the code under test. */
function readSafetensors(file: string): { readonly metadata: unknown; readonly tensors: Map<string, Stored> } {
  const content = fs.readFileSync(file);
  const length = Number(content.readBigUInt64LE(0));
  const { __metadata__: metadata, ...entries } = JSON.parse(content.subarray(8, 8 + length).toString("utf8"));
  const data = content.subarray(8 + length);
  const tensors = new Map<string, Stored>();
  let end = 0;
  for (const [name, { dtype, shape, data_offsets: offsets }] of Object.entries<HeaderEntry>(entries)) {
    expect(offsets).toEqual([end, end + shape.reduce((a, b) => a * b, 1) * WIDTH[dtype]]);
    end = offsets[1];
    tensors.set(name, { dtype, shape, bytes: data.subarray(...offsets) });
  }
  expect([(8 + length) % 8, end]).toEqual([0, data.length]);
  return { metadata, tensors };
}

/** Values of a stored tensor, exactly: every fp16 and bf16 number is one of fp32. */
function widen({ dtype, bytes }: Stored): Float32Array {
  const half = (h: number) => {
    const exponent = (h >> 10) & 31;
    const magnitude = exponent === 0 ? (h & 1023) * 2 ** -24 : (1 + (h & 1023) / 1024) * 2 ** (exponent - 15);
    return h >> 15 ? -magnitude : magnitude;
  };
  return Float32Array.from({ length: bytes.length / WIDTH[dtype] }, (_, i) => {
    if (dtype === "F32") return bytes.readFloatLE(4 * i);
    const word = bytes.readUInt16LE(2 * i);
    return dtype === "F16" ? half(word) : new Float32Array(Uint32Array.of(word << 16).buffer)[0];
  });
}

/** The tensors of a fixture by their names in `named_parameters()`; masks left out. */
async function sourceTensors(name: string): Promise<Map<string, Stored>> {
  const canonical = (stored: string) => {
    if (name === "gpt2") return `transformer.${stored}`;
    return name.startsWith("opt") && stored.startsWith("decoder.") ? `model.${stored}` : stored;
  };
  const checkpoint = await openCheckpoint(folder(name));
  const tensors = new Map<string, Stored>();
  for (const entry of checkpoint.tensors.values()) {
    if (/\.attn\.bias$/.test(entry.name)) continue;
    const bytes = Buffer.alloc(entry.bytes);
    await checkpoint.read(entry, 0, bytes);
    tensors.set(canonical(entry.name), { dtype: entry.dtype as Dtype, shape: [...entry.shape], bytes });
  }
  await checkpoint.close();
  return tensors;
}

const logitsOf = (model: Model) => model.logits([5, 17, 3, 99, 42, 7, 150, 8]);

/** Logits of every head: through the engine, as a classifier and a span head have no `model.logits`. */
async function answers(model: Model): Promise<Float32Array> {
  if (model.head.kind === "causal") return logitsOf(model);
  const predictions: number[] = [];
  for await (const p of model.predict([{ ids: [5, 17, 3, 99] }, { ids: [42, 7] }])) {
    predictions.push(...(p.kind === "labels" ? p.logits : [p.start, p.end, p.score]));
  }
  return Float32Array.from(predictions);
}

describe.each(MODELS)("%s, saved and loaded again,", (name) => {
  it("is one model.safetensors and a config.json; every tensor has its name, its shape and its bits", async () => {
    const out = path.join(work, "out");
    await withModel(folder(name), {}, (model) => model.save(out));
    expect(fs.readdirSync(out).sort()).toEqual(["config.json", "model.safetensors"]);
    const { metadata, tensors } = readSafetensors(path.join(out, "model.safetensors"));
    expect(metadata).toEqual({ format: "pt" });
    const source = await sourceTensors(name);
    const config = JSON.parse(fs.readFileSync(path.join(folder(name), "config.json"), "utf8"));
    // Some files of tied models store the head again; what is saved has it once.
    if (config.tie_word_embeddings) source.delete("lm_head.weight");
    expect([...tensors.keys()].sort()).toEqual([...source.keys()].sort());
    for (const [key, was] of source) {
      const is = tensors.get(key)!;
      expect([key, is.shape]).toEqual([key, was.shape]);
      // Biases and gains are fp32 on the wire, which holds what the file had.
      expect([key, is.dtype]).toEqual([key, was.shape.length === 1 ? "F32" : was.dtype]);
      expect(Buffer.from(widen(is).buffer).equals(Buffer.from(widen(was).buffer))).toBe(true);
      if (was.shape.length === 2) expect(is.bytes.equals(was.bytes)).toBe(true);
    }
    const written = JSON.parse(fs.readFileSync(path.join(out, "config.json"), "utf8"));
    expect(written).toEqual(config);
    expect(written.architectures).toHaveLength(1);
    expect(written.dtype ?? written.torch_dtype).toBe(readJson("models", name, "expected.json").stored_dtype);
  });

  it("has the same parameters, the same logits and nothing unused, whole or in shards", async () => {
    const [whole, sharded] = [path.join(work, "whole"), path.join(work, "sharded")];
    const limit = 60_000;
    const first = await withModel(folder(name), {}, async (model) => {
      await model.save(whole);
      await model.save(sharded, { maxShardBytes: limit });
      return {
        weights: await weightBits(model),
        answers: await answers(model),
        names: model.parameters.map((p) => p.name),
      };
    });
    for (const dir of [whole, sharded]) {
      await withModel(dir, {}, async (model) => {
        expect(model.parameters.map((p) => p.name)).toEqual(first.names);
        expect(model.unusedTensors).toEqual([]);
        expect(sameBits(await weightBits(model), first.weights)).toBe(true);
        expect(await answers(model)).toEqual(first.answers);
      });
    }
    expect(first.answers.every(Number.isFinite)).toBe(true);

    const files = fs
      .readdirSync(sharded)
      .filter((file) => file.endsWith(".safetensors"))
      .sort();
    const count = String(files.length).padStart(5, "0");
    expect(files.length).toBeGreaterThan(2);
    expect(files).toEqual(files.map((_, i) => `model-${String(i + 1).padStart(5, "0")}-of-${count}.safetensors`));
    expect(fs.readdirSync(sharded).sort()).toEqual(["config.json", ...files, "model.safetensors.index.json"]);
    const index = JSON.parse(fs.readFileSync(path.join(sharded, "model.safetensors.index.json"), "utf8"));
    let total = 0;
    const map: Record<string, string> = {};
    for (const file of files) {
      const { metadata, tensors } = readSafetensors(path.join(sharded, file));
      expect(metadata).toEqual({ format: "pt" });
      const bytes = [...tensors.values()].reduce((sum, t) => sum + t.bytes.length, 0);
      expect(tensors.size === 1 || bytes <= limit).toBe(true);
      total += bytes;
      for (const key of tensors.keys()) map[key] = file;
    }
    expect(index.weight_map).toEqual(map);
    expect(Object.keys(map).sort()).toEqual([...first.names].sort());
    expect(index.metadata.total_size).toBe(total);
    expect(total).toBe(
      [...readSafetensors(path.join(whole, "model.safetensors")).tensors.values()].reduce(
        (sum, t) => sum + t.bytes.length,
        0,
      ),
    );
  });
});

it("a tied model saves its embedding once, an untied one its head too, GPT-2 its matrices as they were", async () => {
  const saved = async (name: string) => {
    await withModel(folder(name), {}, (model) => model.save(path.join(work, name)));
    return readSafetensors(path.join(work, name, "model.safetensors")).tensors;
  };
  for (const name of ["opt", "gpt2", "llama3-scaled-bf16", "qwen2-bf16", "qwen3-bf16"])
    expect((await saved(name)).has("lm_head.weight")).toBe(false);
  for (const name of ["llama", "mistral-window"]) expect((await saved(name)).has("lm_head.weight")).toBe(true);
  const gpt2 = await saved("gpt2");
  expect(gpt2.get("transformer.h.1.attn.c_attn.weight")?.shape).toEqual([128, 384]);
  expect(gpt2.get("transformer.h.1.mlp.c_proj.weight")?.shape).toEqual([256, 128]);
});

const rows: { input_ids: number[][]; attention_mask: number[][]; labels: number[][] }[] = readJson(
  "trajectories",
  "inputs-A.json",
).train.slice(0, 3);
const batches = () =>
  rows.map((b) =>
    packed({
      attention_mask: b.attention_mask,
      // The small models have 208 tokens, and as few as 64 positions.
      input_ids: b.input_ids.map((row) => row.map((id) => id % 208)),
      labels: b.labels.map((row) => row.map((id) => (id < 0 ? id : id % 208))),
    }),
  );

const TRAINED = ["gpt2", "llama3-scaled-bf16", "opt-350m-style-bin"];
it.each(TRAINED)(
  "the update that is still pending is in what %s saves, and saving does not disturb the run",
  async (name) => {
    const options: ModelOptions = { offload: { wire: "fp32", unitBytes: 40_000, slots: 2 } };
    const request = () => ({ seed: 3n, eps: 1e-3, learningRate: 1e-3, weightDecay: 0.1, noise: "gaussian" as const });
    const out = path.join(work, "out");
    const trained = await withModel(folder(name), options, async (model) => {
      await takeSteps(model, batches(), request);
      await model.save(out);
      const weights = await weightBits(model);
      await takeSteps(model, batches(), request);
      return { weights, after: await weightBits(model) };
    });
    expect(readSafetensors(path.join(out, "model.safetensors")).tensors.get("lm_head.weight")).toBeUndefined();
    expect(JSON.parse(fs.readFileSync(path.join(out, "config.json"), "utf8")).torch_dtype).toBe("float32");
    await withModel(out, options, async (model) => {
      expect(sameBits(await weightBits(model), trained.weights)).toBe(true);
      await takeSteps(model, batches(), request);
      expect(sameBits(await weightBits(model), trained.after)).toBe(true);
    });
    expect(sameBits(await withModel(folder(name), options, weightBits), trained.weights)).toBe(false);
  },
);

it.each([
  [
    "bf16",
    "BF16",
    "bfloat16",
    (v: number) => {
      const bits = new Uint32Array(Float32Array.of(v).buffer)[0];
      return new Float32Array(Uint32Array.of((bits + 0x7fff + ((bits >>> 16) & 1)) & 0xffff0000).buffer)[0];
    },
  ],
  // Scaled so that the last bit of fp16 has the weight 1, for magnitudes from 2^-14 on; steps of 2^-24 below.
  [
    "fp16",
    "F16",
    "float16",
    (v: number) => {
      const step = 2 ** (Math.max(-14, Math.floor(Math.log2(Math.abs(v)))) - 10);
      const [low, rest] = [Math.floor(v / step), v / step - Math.floor(v / step)];
      return (rest > 0.5 || (rest === 0.5 && low % 2 !== 0) ? low + 1 : low) * step;
    },
  ],
  ["fp32", "F32", "float32", (v: number) => v],
] as const)(
  "saving in %s rounds every tensor to it, to nearest even, and config.json says so",
  async (dtype, stored, torch, round) => {
    const out = path.join(work, "out");
    await withModel(folder("llama"), {}, (model) => model.save(out, { dtype }));
    const source = await sourceTensors("llama");
    for (const [name, tensor] of readSafetensors(path.join(out, "model.safetensors")).tensors) {
      expect([name, tensor.dtype]).toEqual([name, stored]);
      const want = widen(source.get(name)!).map((v) => (v === 0 ? 0 : round(v)));
      expect(Buffer.compare(Buffer.from(widen(tensor).buffer), Buffer.from(want.buffer))).toBe(0);
    }
    expect(JSON.parse(fs.readFileSync(path.join(out, "config.json"), "utf8"))).toMatchObject({
      dtype: torch,
      architectures: ["LlamaForCausalLM"],
    });
  },
);

it("tokenizer, generation and licence files go along byte for byte; other files do not", async () => {
  const source = path.join(work, "source");
  fs.cpSync(folder("opt-bin-sharded-bf16"), source, { recursive: true });
  const companions: Record<string, string> = {
    "generation_config.json": '{"eos_token_id": 2}\n',
    "chat_template.jinja": "{{ messages[0].content }}",
    LICENSE: "to all\n",
  };
  const others = { "notes.txt": "mine", "optimizer.pt": "x" };
  for (const [file, text] of Object.entries({ ...companions, ...others }))
    fs.writeFileSync(path.join(source, file), text);
  for (const file of ["vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json"]) {
    fs.copyFileSync(path.join(fixtures, "../../docs/demo/tiny-opt", file), path.join(source, file));
    companions[file] = fs.readFileSync(path.join(source, file), "utf8");
  }
  const out = path.join(work, "out");
  const ids = await withModel(source, {}, async (model) => {
    await model.save(out);
    return model.tokenizer!.encode("The last update lands.");
  });
  expect(fs.readdirSync(out).sort()).toEqual([...Object.keys(companions), "config.json", "model.safetensors"].sort());
  for (const [file, text] of Object.entries(companions))
    expect(fs.readFileSync(path.join(out, file), "utf8")).toBe(text);
  await withModel(out, {}, async (model) => expect(model.tokenizer!.encode("The last update lands.")).toEqual(ids));
});

it("a model may be saved over the folder it came from, and nothing of the old form is left", async () => {
  const source = path.join(work, "source");
  fs.cpSync(folder("opt-sharded-fp16"), source, { recursive: true });
  fs.rmSync(path.join(source, "expected.safetensors"));
  const weights = await withModel(source, {}, async (model) => {
    await model.save(source);
    return weightBits(model);
  });
  expect(fs.readdirSync(source).sort()).toEqual(["config.json", "expected.json", "model.safetensors"]);
  expect(fs.readdirSync(work)).toEqual(["source"]);
  expect(sameBits(await withModel(source, {}, weightBits), weights)).toBe(true);
});
