/** Adapters that PEFT has written are read and written again to the same bytes, and say the same. */
import fs from "node:fs";
import path from "node:path";
import { readAdapter } from "../../../../src/adapters/peft/read.js";
import { peftConfig } from "../../../../src/adapters/peft/describe.js";
import { sourcesOf, writeAdapter } from "../../../../src/adapters/peft/write.js";
import { cleanUp, failure, temporaryFolder } from "../../checkpoint/support.js";
import { ADAPTERS, adapterFolder, baseOf, changed, configOf, tensorsOf } from "./support.js";

afterAll(cleanUp);

describe.each(ADAPTERS)("%s", (name) => {
  it("is written to the bytes that it was read from, with the same config", async () => {
    const base = baseOf(name);
    const contents = await readAdapter(adapterFolder(name), base);
    const dir = path.join(await temporaryFolder(), "out");
    await writeAdapter(dir, contents, sourcesOf(contents.values), base);
    expect(fs.readdirSync(dir).sort()).toEqual(["adapter_config.json", "adapter_model.safetensors"]);
    const file = (folder: string) => fs.readFileSync(path.join(folder, "adapter_model.safetensors"));
    expect(file(dir).equals(file(adapterFolder(name)))).toBe(true);
    expect(configOf(dir)).toEqual(configOf(adapterFolder(name)));
    // PEFT sorts the fields.
    expect(Object.keys(configOf(dir))).toEqual(Object.keys(configOf(adapterFolder(name))));
    // Over one that is there.
    await writeAdapter(dir, contents, sourcesOf(contents.values), { ...base, name: "another" });
    expect(configOf(dir)["base_model_name_or_path"]).toBe("another");
  });

  it("has the same fields, and the same shape when it is read again, where its config is made anew", async () => {
    const base = baseOf(name);
    const contents = await readAdapter(adapterFolder(name), base);
    const dir = path.join(await temporaryFolder(), "out");
    await writeAdapter(dir, { ...contents, config: {} }, sourcesOf(contents.values), base);
    const [made, given] = [configOf(dir), configOf(adapterFolder(name))];
    expect(Object.keys(made)).toEqual(Object.keys(given));
    const { config: _, ...again } = await readAdapter(dir, base);
    const { config: __, ...before } = contents;
    expect(again).toEqual(before);
    // Which layers are meant, and with which rank and scale, can be said in several ways.
    const said = ["target_modules", "modules_to_save", "layers_to_transform", "rank_pattern", "alpha_pattern"];
    const ways = [...said, "r", "lora_alpha", "use_rslora"];
    for (const field of Object.keys(given))
      if (!ways.includes(field)) expect([field, made[field]]).toEqual([field, given[field]]);
  });
});

it("has ranks and scales by pattern, and whatever belongs to a layer under its own name", async () => {
  const contents = await readAdapter(adapterFolder("lora-qwen3-pattern"), baseOf("lora-qwen3-pattern"));
  expect(contents).toMatchObject({
    kind: "lora",
    modules: [
      { module: "model.layers.0.self_attn.q_proj", rank: 2, scale: 4 / Math.sqrt(2) },
      { module: "model.layers.0.mlp.down_proj", rank: 6, scale: 4 / Math.sqrt(6) },
    ],
    alsoTrained: [],
  });
  const classify = await readAdapter(adapterFolder("lora-classify"), baseOf("lora-classify"));
  expect(classify.alsoTrained).toEqual(["score.weight"]);
  const [[, score]] = [...classify.values].slice(-1);
  const stored = tensorsOf(adapterFolder("lora-classify")).get("base_model.model.score.weight");
  expect(Buffer.from(score.bytes).equals(stored?.bytes ?? Buffer.of())).toBe(true);
});

it("the columns of a prefix are a layer's keys, its values, and those of the next", async () => {
  const { values } = await readAdapter(adapterFolder("prefix-llama"), baseOf("prefix-llama"));
  const whole = tensorsOf(adapterFolder("prefix-llama")).get("prompt_embeddings");
  expect([...values.keys()]).toEqual(["prefix.0.key", "prefix.0.value", "prefix.1.key", "prefix.1.value"]);
  const value = values.get("prefix.1.value");
  const last = new DataView(value?.bytes.buffer as ArrayBuffer).getFloat32(4 * (2 * 64 + 5), true);
  expect(last).toBe(whole?.bytes.readFloatLE(4 * (2 * 256 + 3 * 64 + 5)));
});

it.each<[string, (config: Record<string, unknown>) => void]>([
  ["a pattern for whole names", (c) => Object.assign(c, { target_modules: ".*\\.(q|v)_proj" })],
  [
    "all linear layers but some",
    (c) => Object.assign(c, { target_modules: "all-linear", exclude_modules: ["k_proj", "out_proj", "fc1", "fc2"] }),
  ],
  ["layers by number", (c) => Object.assign(c, { layers_to_transform: [0, 1], layers_pattern: "layers" })],
  ["nothing", (c) => Object.assign(c, { target_modules: null })],
])("target_modules may be %s", async (_, change) => {
  const base = baseOf("lora-opt");
  const expected = await readAdapter(adapterFolder("lora-opt"), base);
  const dir = changed(path.join(await temporaryFolder(), "a"), "lora-opt", change);
  const { modules } = (await readAdapter(dir, base)) as typeof expected & { modules: unknown };
  expect(modules).toEqual((expected as { modules: unknown } & typeof expected).modules);
});

it("keys of a pattern are regular expressions, and the first that fits counts", async () => {
  const dir = changed(path.join(await temporaryFolder(), "a"), "lora-opt", (config) => {
    config["alpha_pattern"] = {
      "^model\\.decoder\\.layers\\.0\\..*q_proj": 8,
      "layers.[01].self_attn.q_proj": 4,
      proj: 1,
    };
  });
  const contents = await readAdapter(dir, baseOf("lora-opt"));
  expect(contents.kind === "lora" ? contents.modules.map(({ scale }) => scale) : []).toEqual([2, 1, 2, 0.5]);
});

it("a base without the outer name has its adapters' tensors without it", async () => {
  const dir = changed(path.join(await temporaryFolder(), "a"), "lora-opt", (_, tensors) => {
    for (const [name, tensor] of [...tensors]) {
      tensors.delete(name);
      tensors.set(name.replace("model.model.decoder.", "model.decoder."), tensor);
    }
  });
  const base = baseOf("lora-opt");
  expect((await readAdapter(dir, base)).values).toEqual((await readAdapter(adapterFolder("lora-opt"), base)).values);
});

it("the folder of a model is not replaced by an adapter, nor one of an adapter by a model's weights", async () => {
  const base = baseOf("lora-opt");
  const contents = await readAdapter(adapterFolder("lora-opt"), base);
  const dir = path.join(await temporaryFolder(), "out");
  fs.mkdirSync(dir);
  fs.writeFileSync(path.join(dir, "config.json"), '{"model_type": "opt"}');
  fs.writeFileSync(path.join(dir, "model.safetensors"), "");
  const save = () => writeAdapter(dir, contents, sourcesOf(contents.values), base);
  await expect(save()).rejects.toEqual(failure("ZO2_ERR_IO", dir, "is not the folder of an adapter"));
  // What lies beside an adapter stays.
  for (const name of ["config.json", "model.safetensors"]) fs.rmSync(path.join(dir, name));
  for (const [name, text] of Object.entries({
    "adapter_config.json": "{}",
    "adapter_model.bin": "",
    "README.md": "mine",
  }))
    fs.writeFileSync(path.join(dir, name), text);
  await save();
  expect(fs.readdirSync(dir).sort()).toEqual(["README.md", "adapter_config.json", "adapter_model.safetensors"]);
});

it("fields of a new adapter are those that PEFT asks for of a span head", () => {
  const base = { ...baseOf("lora-opt"), head: { kind: "spans" } as const };
  const modules = [{ module: "model.decoder.layers.0.fc1", rank: 3, scale: 5 / 3 }];
  const config = peftConfig(
    { kind: "lora", modules, alsoTrained: ["qa_outputs.weight", "qa_outputs.bias"], config: {} },
    base,
  );
  expect(config).toMatchObject({
    ...{ r: 3, lora_alpha: 5, target_modules: ["model.decoder.layers.0.fc1"], task_type: "QUESTION_ANS" },
    ...{ modules_to_save: ["qa_outputs"], fan_in_fan_out: false },
  });
});
