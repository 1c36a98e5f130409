import { adaptModel } from "../../../src/adapters/adapted.js";
import { linearLayers } from "../../../src/adapters/lora.js";
import { matchLayers } from "../../../src/adapters/targets.js";
import { defineModel } from "../../../src/models/index.js";
import { optConfig } from "../planner/support.js";

const opt = defineModel(optConfig({ layers: 2, hidden: 64, vocab: 100 }));
const gpt2 = defineModel({ model_type: "gpt2", vocab_size: 100, n_embd: 64, n_layer: 2, n_head: 2 });

const layersOf = (definition: typeof opt) => linearLayers(adaptModel(definition, undefined).recording);
const modules = (definition: typeof opt, targets?: readonly string[]) =>
  matchLayers(layersOf(definition), targets).map(({ module }) => module);

test("a target is the end of a name at a dot, or a pattern", () => {
  const layer = (i: number) => `model.decoder.layers.${i}`;
  const projections = (name: string) => [0, 1].map((i) => `${layer(i)}.${name}`);
  expect(modules(opt, ["fc1"])).toEqual(projections("fc1"));
  expect(modules(opt, ["layers.1.fc1"])).toEqual([`${layer(1)}.fc1`]);
  expect(modules(opt, [`${layer(0)}.self_attn.q_proj`])).toEqual([`${layer(0)}.self_attn.q_proj`]);
  expect(modules(opt, ["*.1.self_attn.*"])).toEqual(
    ["k_proj", "v_proj", "q_proj", "out_proj"].map((name) => `${layer(1)}.self_attn.${name}`),
  );
  // "proj" is no part of a name.
  for (const none of ["proj", "c1", "lm_head", "embed_tokens"])
    expect(() => modules(opt, ["q_proj", none])).toThrow(`"${none}" matches no linear layer but the head`);
});

test("the usual targets, and all but the head", () => {
  expect(modules(opt)).toHaveLength(4);
  expect(modules(gpt2)).toEqual(["transformer.h.0.attn.c_attn", "transformer.h.1.attn.c_attn"]);
  expect(modules(opt, ["all-linear"])).toHaveLength(2 * 6);
  expect(modules(gpt2, ["all-linear"])).toHaveLength(2 * 4);
});

test("weights that are stored as [inputs, outputs] are told apart", () => {
  const sizes = { inputs: 64, outputs: 192, transposed: true };
  expect(layersOf(gpt2)[0]).toMatchObject({ module: "transformer.h.0.attn.c_attn", ...sizes });
  expect(layersOf(opt).some(({ transposed }) => transposed)).toBe(false);
});

test("parameters of an adapter stand behind those of its base, of which no index moves", () => {
  const { parameters } = adaptModel(opt, undefined);
  const adapted = adaptModel(opt, { name: "lora", rank: 2, alpha: 16, seed: 0 });
  expect(adapted.parameters.slice(0, parameters.length)).toEqual(parameters);
  const own = adapted.parameters.slice(parameters.length);
  expect(own).toHaveLength(8);
  expect(own.slice(0, 2)).toMatchObject([
    { name: "model.decoder.layers.0.self_attn.v_proj.lora_A.weight", shape: [2, 64], adapter: true },
    { name: "model.decoder.layers.0.self_attn.v_proj.lora_B.weight", shape: [64, 2], adapter: true },
  ]);
});
