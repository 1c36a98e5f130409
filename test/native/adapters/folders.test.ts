/**
 * Models loaded with an adapter that PEFT has made: they compute what PEFT does, save what they were loaded with, and
 * take turns with others.
 */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import type { ModelOptions } from "../../../src/config/model.js";
import { loadedOf } from "../../../src/loaded.js";
import type { Model } from "../../../src/model.js";
import { Trainer } from "../../../src/train/trainer.js";
import { readTensorFiles, safetensorsBytes } from "../../support/tensor-files.js";
import { sameBits, sessionOf, weightBits, withModel } from "../model/helpers.js";
import { errorOf } from "../support.js";
import { adapterFolder, baseFolder, expectedOf, LORAS, PREFIXES, rowsOf, worst } from "./helpers.js";

let work: string;
beforeEach(() => {
  work = fs.mkdtempSync(path.join(os.tmpdir(), "zo2-peft-"));
});
afterEach(() => fs.rmSync(work, { recursive: true, force: true }));

const withAdapter = <T>(name: string, body: (model: Model) => Promise<T>, more: ModelOptions = {}) =>
  withModel(baseFolder(name), { adapter: adapterFolder(name), ...more }, body);

/** A folder with other values in the shape of an adapter's. */
function otherValues(name: string, dir: string, factor: number): string {
  fs.cpSync(adapterFolder(name), dir, { recursive: true });
  const file = path.join(dir, "adapter_model.safetensors");
  const hidden = path.join(dir, "model.safetensors");
  fs.renameSync(file, hidden);
  const tensors = readTensorFiles(dir);
  fs.rmSync(hidden);
  for (const { bytes } of tensors.values())
    for (let i = 0; i < bytes.length; i += 4) bytes.writeFloatLE(factor * bytes.readFloatLE(i), i);
  fs.writeFileSync(file, safetensorsBytes(tensors));
  return dir;
}

const examples = [3, 4, 5, 6].map((seed) => ({ ids: Array.from({ length: 9 }, (_, t) => (7 + 31 * t * seed) % 200) }));
const TRAINING = {
  method: { name: "mezo-sgd", learningRate: 1e-3, eps: 1e-2 },
  ...{ steps: 3, batchSize: 2, seed: 5 },
} as const;

async function train(model: Model): Promise<void> {
  for await (const _ of new Trainer(model, TRAINING).fit(examples));
}

describe.each([...LORAS, ...PREFIXES])("%s", (name) => {
  it("has PEFT's logits, from a base in fp32 and in slots", async () => {
    const { ids, rows } = await expectedOf(name, "logits");
    const own = await withAdapter(name, (model) => rowsOf(model, ids), { offload: { wire: "fp32" } });
    expect(worst(own, rows)).toBeLessThan(1e-4);
    const base = await withModel(baseFolder(name), {}, (model) => rowsOf(model, ids));
    expect(worst(base, rows)).toBeGreaterThan(1e-3);
  });

  it("is saved as it was loaded, and has the same logits to the bit when it is loaded again", async () => {
    const { ids } = await expectedOf(name, "logits");
    const dir = path.join(work, "saved");
    const before = await withAdapter(name, async (model) => {
      await model.save(dir);
      return rowsOf(model, ids);
    });
    const read = (folder: string, file: string) => fs.readFileSync(path.join(folder, file));
    expect(fs.readdirSync(dir).sort()).toEqual(["adapter_config.json", "adapter_model.safetensors"]);
    const weights = "adapter_model.safetensors";
    expect(read(dir, weights).equals(read(adapterFolder(name), weights))).toBe(true);
    const config = JSON.parse(read(dir, "adapter_config.json").toString());
    const given = JSON.parse(read(adapterFolder(name), "adapter_config.json").toString());
    expect(config).toEqual({ ...given, base_model_name_or_path: baseFolder(name) });
    const after = await withModel(baseFolder(name), { adapter: { name: "peft", folder: dir } }, (m) => rowsOf(m, ids));
    expect(after).toEqual(before);
  });
});

it.each(PREFIXES)("%s: greedy tokens are those of PEFT, which has no cache", async (name) => {
  const { ids, rows } = await expectedOf(name, "greedy");
  const texts = await withAdapter(name, async (model) => {
    const generated: number[][] = [];
    for (const prompt of ids) {
      const { ids: more } = await model.generate({ ids: prompt }, { maxNewTokens: 8, ignoreEos: true }).result();
      generated.push([...prompt, ...more]);
    }
    return generated;
  });
  expect(texts).toEqual(rows);
});

describe.each(LORAS)("%s", (name) => {
  it("becomes a whole model of the same logits, which is not trained any more", async () => {
    const { ids, rows } = await expectedOf(name, "merged_logits");
    const out = path.join(work, "merged");
    await withAdapter(
      name,
      async (model) => {
        await model.merge();
        expect(worst(await rowsOf(model, ids), rows)).toBeLessThan(1e-4);
        await model.save(out);
        expect(await errorOf(train(model))).toMatchObject({
          code: "ZO2_ERR_INVALID_ARGUMENT",
          message: expect.stringContaining("merged into the base"),
        });
        expect(await errorOf(model.merge())).toMatchObject({ code: "ZO2_ERR_INVALID_ARGUMENT" });
      },
      { offload: { wire: "fp32" } },
    );
    expect(fs.readdirSync(out)).toEqual(expect.arrayContaining(["config.json", "model.safetensors"]));
    expect([...readTensorFiles(out).keys()].filter((key) => key.includes("lora"))).toEqual([]);
    const merged = await withModel(out, {}, (model) => rowsOf(model, ids));
    expect(worst(merged, rows)).toBeLessThan(1e-4);
    // To the bit what `merge` of the folder gives.
    const direct = await withModel(baseFolder(name), { offload: { wire: "fp32" } }, async (model) => {
      await model.merge(adapterFolder(name));
      return weightBits(model);
    });
    expect(sameBits(await withModel(out, {}, weightBits), direct)).toBe(true);
  });
});

it("a new adapter is saved with a config that PEFT reads as the same, and goes on from there", async () => {
  const dir = path.join(work, "mine");
  const lora = { name: "lora", rank: 3, alpha: 5, targets: ["*.0.fc1", "q_proj"] } as const;
  const ids = examples[0].ids;
  const before = await withModel(baseFolder("lora-opt"), { adapter: lora }, async (model) => {
    await train(model);
    await model.save(dir);
    return [await weightBits(model), await model.logits(ids)] as const;
  });
  const config = JSON.parse(fs.readFileSync(path.join(dir, "adapter_config.json"), "utf8"));
  const given = JSON.parse(fs.readFileSync(path.join(adapterFolder("lora-opt"), "adapter_config.json"), "utf8"));
  const layer = (i: number, end: string) => `model.decoder.layers.${i}.${end}`;
  const targets = [layer(0, "self_attn.q_proj"), layer(0, "fc1"), layer(1, "self_attn.q_proj")];
  const own = { r: 3, lora_alpha: 5, target_modules: targets, base_model_name_or_path: baseFolder("lora-opt") };
  expect(config).toEqual({ ...given, ...own });
  await withModel(baseFolder("lora-opt"), { adapter: dir }, async (model) => {
    expect(sameBits(await weightBits(model), before[0])).toBe(true);
    expect(await model.logits(ids)).toEqual(before[1]);
  });
});

it("training an adapter of a folder changes it and nothing of the base, and resumes from its snapshots", async () => {
  const name = "lora-classify";
  const labelled = examples.map(({ ids }, i) => ({ ids, label: i % 3 }));
  const run = path.join(work, "run");
  const options = { ...TRAINING, run, snapshots: { every: 2 } };
  const fit = async (model: Model, trainer: Trainer) => {
    for await (const _ of trainer.fit(labelled));
    return weightBits(model);
  };
  const whole = await withAdapter(name, (model) => fit(model, new Trainer(model, { ...TRAINING, steps: 6 })));
  const half = await withAdapter(name, async (model) => {
    const base = (await weightBits(model)).filter((_, i) => model.parameters[i].adapter !== true);
    const after = await fit(model, new Trainer(model, { ...options, steps: 4 }));
    expect(
      sameBits(
        after.filter((_, i) => model.parameters[i].adapter !== true),
        base,
      ),
    ).toBe(true);
    return after;
  });
  const snapshot = path.join(run, "snapshots", "step-4");
  expect(fs.readdirSync(snapshot).sort()).toEqual([
    "adapter_config.json",
    "adapter_model.safetensors",
    "snapshot.json",
  ]);
  await withModel(baseFolder(name), { adapter: snapshot }, async (model) =>
    expect(sameBits(await weightBits(model), half)).toBe(true),
  );
  const resume = (said: string[]) =>
    withAdapter(name, async (model) => {
      const onWarning = ({ code }: { code: string }) => void said.push(code);
      return fit(model, await Trainer.resume(model, run, { ...options, steps: 6 }, { onWarning }));
    });
  // A second copy of the run, whose snapshot has one value that nobody wrote.
  fs.cpSync(run, path.join(work, "copy"), { recursive: true });
  const said: string[] = [];
  expect([sameBits(await resume(said), whole), said]).toEqual([true, []]);
  expect(sameBits(whole, half)).toBe(false);
  fs.rmSync(run, { recursive: true });
  fs.renameSync(path.join(work, "copy"), run);
  const file = fs.openSync(path.join(snapshot, "adapter_model.safetensors"), "r+");
  fs.writeSync(file, Buffer.from([0x3f]), 0, 1, fs.fstatSync(file).size - 1);
  fs.closeSync(file);
  expect([sameBits(await resume(said), whole), said]).toEqual([true, ["ZO2_WARN_SNAPSHOT"]]);
});

it("a generation takes the likeliest token of those logits", async () => {
  const { ids } = await expectedOf("lora-llama-all", "logits");
  await withAdapter("lora-llama-all", async (model) => {
    const tokens = [...ids[0]];
    for (let i = 0; i < 8; i++) {
      const logits = await model.logits(tokens);
      const last = [...logits.subarray(logits.length - model.vocabSize)];
      tokens.push(last.indexOf(Math.max(...last)));
    }
    const generated = await model.generate({ ids: ids[0] }, { maxNewTokens: 8, ignoreEos: true }).result();
    expect([...ids[0], ...generated.ids]).toEqual(tokens);
  });
});

describe("adapters that take turns", () => {
  const name = "lora-classify";

  it("each call has the one that it asked for, null the base, and the base is not touched", async () => {
    const other = otherValues(name, path.join(work, "other"), -1.5);
    const { ids } = await expectedOf(name, "logits");
    const own = await withAdapter(name, (model) => rowsOf(model, ids));
    const theirs = await withModel(baseFolder(name), { adapter: other }, (model) => rowsOf(model, ids));
    const none = await withModel(baseFolder(name), {}, (model) => rowsOf(model, ids));
    await withAdapter(name, async (model) => {
      const ask = (folder: string | null) => model.withAdapter(folder, () => rowsOf(model, ids));
      // All at once: each waits for those before.
      const answers = await Promise.all([other, adapterFolder(name), null, other, other].map(ask));
      expect(answers).toEqual([theirs, own, none, theirs, theirs]);
      // They stay.
      expect(await rowsOf(model, ids)).toEqual(theirs);
      // The values that it was loaded with, and those of files that have changed meanwhile.
      expect(await model.withRuns([], () => rowsOf(model, ids))).toEqual(own);
      fs.rmSync(other, { recursive: true });
      otherValues(name, other, 0.25);
      expect(await ask(other)).not.toEqual(theirs);
    });
  });

  it("nothing is put to the device where it stands already, also after a use that failed", async () => {
    await withAdapter(name, async (model) => {
      const { revision } = sessionOf(model);
      const use = () => model.withAdapter(adapterFolder(name), () => sessionOf(model).revision);
      const first = await use();
      expect(first).toBeGreaterThan(revision);
      const failed = model.withAdapter(adapterFolder(name), () => Promise.reject(new Error("mine")));
      expect(await errorOf(failed)).toMatchObject({ message: "mine" });
      expect(await use()).toBe(first);
    });
  });

  it("a prefix takes turns with others, and cannot be left out", async () => {
    const prefix = "prefix-opt";
    const other = otherValues(prefix, path.join(work, "other"), 0.5);
    const { ids } = await expectedOf(prefix, "logits");
    const theirs = await withModel(baseFolder(prefix), { adapter: other }, (model) => rowsOf(model, ids));
    await withAdapter(prefix, async (model) => {
      const own = await rowsOf(model, ids);
      expect(own).not.toEqual(theirs);
      expect(await model.withAdapter(other, () => rowsOf(model, ids))).toEqual(theirs);
      expect(await model.withAdapter(adapterFolder(prefix), () => rowsOf(model, ids))).toEqual(own);
      expect(await errorOf(model.withAdapter(null, () => 1))).toMatchObject({ code: "ZO2_ERR_INVALID_ARGUMENT" });
      expect(await errorOf(model.merge())).toMatchObject({ code: "ZO2_ERR_MODEL_UNSUPPORTED" });
    });
  });

  it.each<[string, string, string | null, ModelOptions["adapter"], string]>([
    ["a model without one", "lora-opt", adapterFolder("lora-opt"), undefined, "was loaded without an adapter"],
    [
      "another rank",
      "lora-opt",
      adapterFolder("lora-opt"),
      { name: "lora", rank: 4 },
      "ranks 8, scales 2, and not a LoRA on 4 layers, ranks 4",
    ],
    ["a prefix", "lora-opt", adapterFolder("prefix-opt"), { name: "lora" }, "a prefix of 5 tokens, and not a LoRA"],
  ])("%s is refused, and what stands there stays", async (_, base, folder, adapter, message) => {
    await withModel(baseFolder(base), adapter === undefined ? {} : { adapter }, async (model) => {
      const before = await weightBits(model);
      expect(await errorOf(model.withAdapter(folder, () => 1))).toMatchObject({
        code: "ZO2_ERR_INVALID_ARGUMENT",
        message: expect.stringContaining(message),
      });
      expect(sameBits(await weightBits(model), before)).toBe(true);
      expect(loadedOf(model).session.waits).toBe(0);
    });
  });
});

it("one that cannot be read is refused before anything is allocated", async () => {
  const load = (adapter: string) => withModel(baseFolder("lora-opt"), { adapter }, () => Promise.resolve());
  expect(await errorOf(load(work))).toMatchObject({ code: "ZO2_ERR_CHECKPOINT" });
  expect(await errorOf(load(adapterFolder("lora-llama-all")))).toMatchObject({ code: "ZO2_ERR_CHECKPOINT" });
});
