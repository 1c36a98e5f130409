/** A LoRA that becomes a part of the weights: the model then computes what PEFT's merged one does. */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import type { ModelOptions } from "../../../src/config/model.js";
import { readAdapter } from "../../../src/adapters/peft/read.js";
import { baseOf } from "../../../src/adapters/request.js";
import { loadedOf } from "../../../src/loaded.js";
import { loadModel } from "../../../src/load.js";
import { readTensorFiles, safetensorsBytes } from "../../support/tensor-files.js";
import { DEVICE } from "../device.js";
import { sameBits, weightBits, withModel } from "../model/helpers.js";
import { errorOf } from "../support.js";
import { adapterFolder, baseFolder, expectedOf, LORAS, rowsOf, worst, zo2 } from "./helpers.js";

let work: string;
beforeEach(() => {
  work = fs.mkdtempSync(path.join(os.tmpdir(), "zo2-merge-"));
});
afterEach(() => fs.rmSync(work, { recursive: true, force: true }));

it("finds the adapters", () => expect(LORAS).toHaveLength(5));

it.each(LORAS)("%s: `zo2 merge` writes a model with the logits that PEFT's merged one has", async (name) => {
  const out = path.join(work, "merged");
  // PEFT has merged in fp32, whatever the base is stored as.
  const flags = ["--adapter", adapterFolder(name), "--out", out, "--save-dtype", "fp32", "--quiet", "--json"];
  const ended = await zo2("merge", "--model", baseFolder(name), ...flags);
  expect(ended).toEqual({ code: 0, out: `${JSON.stringify({ out })}\n`, err: "" });
  const { ids, rows } = await expectedOf(name, "merged_logits");
  const merged = await withModel(out, {}, (model) => rowsOf(model, ids));
  expect(worst(merged, rows)).toBeLessThan(1e-4);
  const base = await withModel(baseFolder(name), {}, (model) => rowsOf(model, ids));
  expect(worst(base, rows)).toBeGreaterThan(1e-3);
});

/** Base and change of every changed weight, summed element by element in fp64. @param base its values, as fp32. */
async function sumsOf(name: string, base: ReadonlyMap<string, Float32Array>): Promise<Map<string, Float64Array>> {
  return withModel(baseFolder(name), {}, async (model) => {
    const contents = await readAdapter(adapterFolder(name), baseOf(loadedOf(model).definition));
    if (contents.kind !== "lora") throw new Error(`${name} is a ${contents.kind}`);
    const floats = (key: string) => {
      const { bytes } = contents.values.get(key)!;
      return new Float32Array(bytes.slice().buffer);
    };
    const sums = contents.modules.map(({ module, rank, scale }): [string, Float64Array] => {
      const [a, b, w] = [
        floats(`${module}.lora_A.weight`),
        floats(`${module}.lora_B.weight`),
        base.get(`${module}.weight`)!,
      ];
      const [inputs, outputs] = [a.length / rank, b.length / rank];
      const sum = Float64Array.from(w);
      for (let o = 0; o < outputs; o++)
        for (let i = 0; i < inputs; i++) {
          let product = 0;
          for (let k = 0; k < rank; k++) product += b[o * rank + k] * a[k * inputs + i];
          sum[name === "lora-gpt2" ? i * outputs + o : o * inputs + i] += scale * product;
        }
      return [`${module}.weight`, sum];
    });
    return new Map(sums);
  });
}

async function valuesOf(dir: string, options: ModelOptions, adapter?: string): Promise<Map<string, Float32Array>> {
  return withModel(dir, options, async (model) => {
    if (adapter !== undefined) await model.merge(adapterFolder(adapter));
    const values = new Map<string, Float32Array>();
    for (const { name } of model.parameters) values.set(name, await model.parameterValues(name));
    return values;
  });
}

/** The neighbours of a bf16 number, away from 0 and towards it. */
function neighbours(value: number): number[] {
  const bits = new Uint32Array(Float32Array.of(value).buffer)[0];
  return [1, -1].map((step) => new Float32Array(Uint32Array.of(bits + step * 2 ** 16).buffer)[0]);
}

it.each(["lora-gpt2", "lora-llama-all", "lora-opt"])(
  "%s: each sum is rounded once to fp32; others stay",
  async (name) => {
    const base = await valuesOf(baseFolder(name), { offload: { wire: "fp32" } });
    const sums = await sumsOf(name, base);
    const merged = await valuesOf(baseFolder(name), { offload: { wire: "fp32" } }, name);
    for (const [key, values] of merged) {
      const wanted = Float32Array.from(sums.get(key) ?? base.get(key)!);
      expect(Buffer.from(values.buffer).equals(Buffer.from(wanted.buffer))).toBe(true);
    }
    expect(sums.size).toBeGreaterThan(0);
  },
);

it("a sum in bf16 is the nearest that there is", async () => {
  const name = "lora-qwen3-pattern";
  const base = await valuesOf(baseFolder(name), {});
  const sums = await sumsOf(name, base);
  const merged = await valuesOf(baseFolder(name), {}, name);
  let changed = 0;
  for (const [key, sum] of sums) {
    const values = merged.get(key)!;
    for (const [i, value] of values.entries()) {
      const off = Math.abs(value - sum[i]);
      if (neighbours(value).some((other) => Math.abs(other - sum[i]) < off)) throw new Error(`${key}[${i}] = ${value}`);
      if (value !== base.get(key)![i]) changed++;
    }
  }
  expect(changed).toBeGreaterThan(1000);
});

it("weights have the same bits wherever they rest, and however they are cut", async () => {
  const dir = baseFolder("lora-llama-all");
  const bits = (offload: NonNullable<ModelOptions["offload"]>) =>
    withModel(dir, { offload }, async (model) => {
      await model.merge(adapterFolder("lora-llama-all"));
      return weightBits(model);
    });
  for (const wire of ["fp32", "bf16", "int8"] as const) {
    const expected = await bits({ wire });
    const others = [{ to: "device" }, { to: "disk", diskPath: work }, { unitBytes: 4096 }] as const;
    for (const other of others)
      expect([other, sameBits(await bits({ wire, ...other }), expected)]).toEqual([other, true]);
  }
});

it("a base in blocks of 8 bits has the sums as near as its blocks allow", async () => {
  const name = "lora-opt";
  const base = await valuesOf(baseFolder(name), { offload: { wire: "int8" } });
  const sums = await sumsOf(name, base);
  const merged = await valuesOf(baseFolder(name), { offload: { wire: "int8" } }, name);
  for (const [key, sum] of sums) {
    const width = 128;
    merged.get(key)!.forEach((value, i) => {
      const start = i - (i % width) + 64 * Math.floor((i % width) / 64);
      const largest = Math.max(...sum.subarray(start, start + 64).map(Math.abs));
      // A step is a power of two, at most twice the largest / 127; nearest is half a step off.
      expect(Math.abs(value - sum[i])).toBeLessThanOrEqual(largest / 127 + 1e-12);
    });
  }
});

it("the base comes back with `withRuns`, and steps go on from the merged weights", async () => {
  const name = "lora-opt";
  await withModel(baseFolder(name), { offload: { wire: "fp32" } }, async (model) => {
    const before = await weightBits(model);
    await model.merge(adapterFolder(name));
    const merged = await weightBits(model);
    expect(sameBits(before, merged)).toBe(false);
    await model.withRuns([], async () => expect(sameBits(await weightBits(model), before)).toBe(true));
    // A second time it is what it was.
    await model.merge(adapterFolder(name));
    expect(sameBits(await weightBits(model), merged)).toBe(true);
  });
});

describe("what cannot be merged", () => {
  it("a prefix is no change of weights", async () => {
    await withModel(baseFolder("prefix-opt"), {}, async (model) => {
      const before = await weightBits(model);
      expect(await errorOf(model.merge(adapterFolder("prefix-opt")))).toMatchObject({
        code: "ZO2_ERR_MODEL_UNSUPPORTED",
        message: expect.stringContaining("a prefix is rows of keys and values"),
      });
      expect(sameBits(await weightBits(model), before)).toBe(true);
    });
    const flags = ["--adapter", adapterFolder("prefix-opt"), "--out", path.join(work, "out"), "--quiet"];
    const { code, err } = await zo2("merge", "--model", baseFolder("prefix-opt"), ...flags);
    expect([code, err.split(":")[0]]).toEqual([1, "ZO2_ERR_MODEL_UNSUPPORTED"]);
    expect(fs.existsSync(path.join(work, "out"))).toBe(false);
  });

  it("an adapter of another base changes nothing", async () => {
    await withModel(baseFolder("lora-opt"), {}, async (model) => {
      const before = await weightBits(model);
      expect(await errorOf(model.merge(adapterFolder("lora-gpt2")))).toMatchObject({ code: "ZO2_ERR_CHECKPOINT" });
      expect(sameBits(await weightBits(model), before)).toBe(true);
    });
  });

  it("a sum that does not fit ends with the tensor's name, and the model is gone", async () => {
    const dir = path.join(work, "huge");
    fs.cpSync(adapterFolder("lora-opt"), dir, { recursive: true });
    const file = path.join(dir, "adapter_model.safetensors");
    fs.renameSync(file, path.join(dir, "model.safetensors"));
    const tensors = readTensorFiles(dir);
    for (const { bytes } of tensors.values()) bytes.writeFloatLE(3e4, 0);
    fs.writeFileSync(file, safetensorsBytes(tensors));
    const offload = { to: "host", wire: "fp16" } as const;
    const model = await loadModel(baseFolder("lora-opt"), { device: DEVICE, threads: 2, offload });
    expect(await errorOf(model.merge(dir))).toMatchObject({
      code: "ZO2_ERR_NOT_FINITE",
      message: expect.stringMatching(/^model\.decoder\.layers\.0\.self_attn\.[qv]_proj\.weight: element 0 .* fp16$/),
    });
    expect(await errorOf(model.logits([1, 2]))).toMatchObject({ code: "ZO2_ERR_DISPOSED" });
    await model.dispose();
  });

  it("one that is stopped is gone, and a model that is being trained stays", async () => {
    const offload = { to: "host" } as const;
    const model = await loadModel(baseFolder("lora-opt"), { device: DEVICE, threads: 2, offload });
    const release = loadedOf(model).session.reserve("a test");
    expect(await errorOf(model.merge(adapterFolder("lora-opt")))).toMatchObject({ code: "ZO2_ERR_BUSY" });
    release();
    const signal = AbortSignal.abort(new Error("enough"));
    expect(await errorOf(model.merge(adapterFolder("lora-opt"), { signal }))).toMatchObject({
      code: "ZO2_ERR_ABORTED",
    });
    expect(await errorOf(model.logits([1, 2]))).toMatchObject({ code: "ZO2_ERR_DISPOSED" });
  });

  it("`zo2 merge` says what is wrong with the adapter before it reads the model", async () => {
    const out = path.join(work, "out");
    const { code, err } = await zo2("merge", "--model", path.join(work, "none"), "--adapter", work, "--out", out);
    expect([code, err]).toEqual([1, expect.stringMatching(/^ZO2_ERR_CHECKPOINT: .*has no adapter_config\.json/)]);
    const lacking = await zo2("merge", "--model", baseFolder("lora-opt"), "--out", out);
    expect([lacking.code, lacking.err]).toEqual([2, expect.stringMatching(/^ZO2_ERR_CONFIG: --adapter is missing/)]);
  });
});
