/** Folders that are damaged, hostile, or of adapters that cannot be computed: the error names what is wrong. */
import fs from "node:fs";
import path from "node:path";
import type { ErrorCode } from "../../../../src/base/errors.js";
import { readAdapter } from "../../../../src/adapters/peft/read.js";
import type { Tensors } from "../../../support/tensor-files.js";
import { cleanUp, failure, temporaryFolder } from "../../checkpoint/support.js";
import { adapterFolder, baseOf, changed, configOf } from "./support.js";

afterAll(cleanUp);

const OPT = "base_model.model.model.decoder.layers.0.self_attn.q_proj";
type Change = (config: Record<string, unknown>, tensors: Tensors) => void;

async function refused(adapter: string, change: Change): Promise<unknown> {
  const dir = changed(path.join(await temporaryFolder(), "a"), adapter, change);
  return readAdapter(dir, baseOf(adapter));
}

const fields =
  (values: object): Change =>
  (config) =>
    void Object.assign(config, values);
const fp32 = (value: number) => Buffer.from(Float32Array.of(value).buffer);

const UNSUPPORTED = "ZO2_ERR_MODEL_UNSUPPORTED";
const CHECKPOINT = "ZO2_ERR_CHECKPOINT";

it.each<[string, ErrorCode, string[], Change]>([
  ["another kind", UNSUPPORTED, ['peft_type = "IA3"', "LORA"], fields({ peft_type: "IA3" })],
  ["no kind", UNSUPPORTED, ["peft_type = (missing)"], (config) => delete config["peft_type"]],
  ["DoRA", UNSUPPORTED, ["use_dora = true"], fields({ use_dora: true })],
  ["trained biases", UNSUPPORTED, ['bias = "all"'], fields({ bias: "all" })],
  ["biases of its own", UNSUPPORTED, ["lora_bias = true"], fields({ lora_bias: true })],
  ["layers used twice", UNSUPPORTED, ["layer_replication = [[0,2]]"], fields({ layer_replication: [[0, 2]] })],
  ["another base", UNSUPPORTED, ['init_lora_weights = "pissa"'], fields({ init_lora_weights: "pissa" })],
  ["single tokens", UNSUPPORTED, ["trainable_token_indices = [1]"], fields({ trainable_token_indices: [1] })],
  ["single parameters", UNSUPPORTED, ["target_parameters"], fields({ target_parameters: ["gate_up_proj"] })],
  ["what nobody knows", UNSUPPORTED, ["use_xlora = true"], fields({ use_xlora: true })],
  [
    "two of them",
    UNSUPPORTED,
    ["use_dora = true, use_qalora = true are"],
    fields({ use_dora: true, use_qalora: true }),
  ],
  ["a rank that is none", CHECKPOINT, ["r = 0"], fields({ r: 0 })],
  ["a huge rank", CHECKPOINT, ["r = 1000000000000"], fields({ r: 1e12 })],
  ["a rank in a pattern that is none", CHECKPOINT, ["rank_pattern.q_proj"], fields({ rank_pattern: { q_proj: "8" } })],
  ["a text for alpha", CHECKPOINT, ['lora_alpha = "16"'], fields({ lora_alpha: "16" })],
  [
    "another rank",
    CHECKPOINT,
    ["layers.0.self_attn.v_proj.lora_A.weight", "[8, 128]", "r = 4", "[4, 128]"],
    fields({ r: 4 }),
  ],
  ["a pattern that is none", CHECKPOINT, ['target_modules = "(q_proj"'], fields({ target_modules: "(q_proj" })],
  [
    "a pattern that never ends",
    CHECKPOINT,
    ["cannot be used as a pattern"],
    fields({ target_modules: "(.*.*)*\\d(\\w*\\w*)*x" }),
  ],
  [
    "a layer without tensors",
    CHECKPOINT,
    ["layers.0.self_attn.k_proj.lora_A.weight", "missing"],
    fields({ target_modules: ["q_proj", "v_proj", "k_proj"] }),
  ],
  [
    "tensors without a layer",
    CHECKPOINT,
    ["layers.0.self_attn.v_proj", "do not name"],
    fields({ target_modules: ["q_proj"] }),
  ],
  ["layers left out", CHECKPOINT, ["layers.1.self_attn", "do not name"], fields({ layers_to_transform: 0 })],
])("the config has %s", async (_, code, parts, change) => {
  expect(
    await refused("lora-opt", change).then(
      () => null,
      (e) => e,
    ),
  ).toEqual(failure(code, ...parts));
});

it.each<[string, ErrorCode, string[], Change]>([
  ["no B", CHECKPOINT, ["q_proj.lora_B.weight", "is missing"], (_, t) => t.delete(`${OPT}.lora_B.weight`)],
  ["no A", CHECKPOINT, ["q_proj.lora_A.weight", "is missing"], (_, t) => t.delete(`${OPT}.lora_A.weight`)],
  ["nothing", CHECKPOINT, ["no lora_A and lora_B"], (_, t) => t.clear()],
  [
    "a layer that the base lacks",
    CHECKPOINT,
    ["layers.7.self_attn.q_proj", "for nothing of the base"],
    (_, t) =>
      t.set(`${OPT.replace("0", "7")}.lora_A.weight`, { dtype: "F32", shape: [8, 128], bytes: Buffer.alloc(4096) }),
  ],
  [
    "an embedding",
    CHECKPOINT,
    ["lora_embedding_A", "for nothing of the base"],
    (_, t) =>
      t.set("base_model.model.model.decoder.embed_tokens.lora_embedding_A", {
        dtype: "F32",
        shape: [1],
        bytes: fp32(0),
      }),
  ],
  [
    "a head that nobody names",
    CHECKPOINT,
    ["lm_head.weight", "modules_to_save"],
    (_, t) => t.set("base_model.model.lm_head.weight", { dtype: "F32", shape: [1], bytes: fp32(0) }),
  ],
  [
    "a tensor twice",
    CHECKPOINT,
    ["are for the same tensor"],
    (_, t) =>
      t.set(OPT.replace("model.model.decoder", "model.decoder").concat(".lora_A.weight"), {
        dtype: "F32",
        shape: [1],
        bytes: fp32(0),
      }),
  ],
  [
    "another shape",
    CHECKPOINT,
    ["q_proj.lora_B.weight", "[8, 128]", "[128, 8]"],
    (_, t) => t.set(`${OPT}.lora_B.weight`, { dtype: "F32", shape: [8, 128], bytes: Buffer.alloc(4096) }),
  ],
  [
    "whole numbers",
    CHECKPOINT,
    ["stored as I32", "F32"],
    (_, t) => t.set(`${OPT}.lora_B.weight`, { dtype: "I32", shape: [128, 8], bytes: Buffer.alloc(4096) }),
  ],
  [
    "no number",
    CHECKPOINT,
    ["element 3 that is not a finite number"],
    (_, t) => t.get(`${OPT}.lora_B.weight`)?.bytes.writeFloatLE(Number.NaN, 12),
  ],
])("the file has %s", async (_, code, parts, change) => {
  expect(
    await refused("lora-opt", change).then(
      () => null,
      (e) => e,
    ),
  ).toEqual(failure(code, ...parts));
});

it.each<[string, string, ErrorCode, string[], Change]>([
  [
    "a head that is missing",
    "lora-classify",
    CHECKPOINT,
    ["score.weight", "modules_to_save"],
    (_, t) => t.delete("base_model.model.score.weight"),
  ],
  [
    "a head of more labels",
    "lora-classify",
    CHECKPOINT,
    ["[4, 128]", "the base asks for [3, 128]"],
    (_, t) => t.set("base_model.model.score.weight", { dtype: "F32", shape: [4, 128], bytes: Buffer.alloc(2048) }),
  ],
  ["a network before it", "prefix-opt", UNSUPPORTED, ["prefix_projection = true"], fields({ prefix_projection: true })],
  [
    "other layers",
    "prefix-opt",
    CHECKPOINT,
    ["num_layers = 3", "2 layers with keys of 128 columns"],
    fields({ num_layers: 3 }),
  ],
  [
    "more tokens",
    "prefix-opt",
    CHECKPOINT,
    ["prompt_embeddings", "[5, 512]", "[6, 512]"],
    fields({ num_virtual_tokens: 6 }),
  ],
  [
    "no number",
    "prefix-opt",
    CHECKPOINT,
    ["element 0"],
    (_, t) => t.get("prompt_embeddings")?.bytes.writeFloatLE(Infinity, 0),
  ],
  [
    "other tensors",
    "prefix-opt",
    CHECKPOINT,
    ['"more"'],
    (_, t) => t.set("more", { dtype: "F32", shape: [1], bytes: fp32(1) }),
  ],
  ["no tensor", "prefix-opt", CHECKPOINT, ["prompt_embeddings", "missing"], (_, t) => t.clear()],
])("%s (%s)", async (_, adapter, code, parts, change) => {
  expect(
    await refused(adapter, change).then(
      () => null,
      (e) => e,
    ),
  ).toEqual(failure(code, ...parts));
});

it("an adapter of another base does not fit", async () => {
  const error = await readAdapter(adapterFolder("lora-llama-all"), baseOf("lora-opt")).then(
    () => null,
    (e) => e,
  );
  expect(error).toEqual(failure(CHECKPOINT, "is for nothing of the base", "model.decoder.layers.0"));
});

it("folders without one of the files say which", async () => {
  const dir = await temporaryFolder();
  const read = () =>
    readAdapter(dir, baseOf("lora-opt")).then(
      () => null,
      (e) => e,
    );
  expect(await read()).toEqual(failure(CHECKPOINT, dir, "has no adapter_config.json"));
  fs.writeFileSync(path.join(dir, "adapter_config.json"), "[]");
  expect(await read()).toEqual(failure(CHECKPOINT, "not a JSON object"));
  fs.writeFileSync(path.join(dir, "adapter_config.json"), JSON.stringify(configOf(adapterFolder("lora-opt"))));
  expect(await read()).toEqual(failure(CHECKPOINT, dir, "has no adapter_model.safetensors"));
  fs.writeFileSync(path.join(dir, "adapter_model.safetensors"), "short");
  expect(await read()).toEqual(failure(CHECKPOINT, "too short for a safetensors file"));
});
