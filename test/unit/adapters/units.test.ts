import { adaptModel } from "../../../src/adapters/adapted.js";
import { linearLayers } from "../../../src/adapters/lora.js";
import { storageTypes } from "../../../src/memory/storage.js";
import { cutUnits, isAdapterUnit } from "../../../src/memory/units.js";
import { defineModel } from "../../../src/models/index.js";
import { isOfAdapter } from "../../../src/ops/parameter.js";
import { parametersOf, valuesOf } from "../../../src/ops/record.js";
import type { Op } from "../../../src/ops/row.js";
import type { Value } from "../../../src/ops/value.js";
import { optConfig } from "../planner/support.js";

const LAYERS = 3;
const definition = defineModel(optConfig({ layers: LAYERS, hidden: 64, vocab: 100 }));
const llama = defineModel({
  ...{ model_type: "llama", vocab_size: 100, hidden_size: 64, intermediate_size: 128, num_hidden_layers: LAYERS },
  ...{ num_attention_heads: 2, max_position_embeddings: 64, tie_word_embeddings: false },
});
const lora = (targets?: string[]) => ({ name: "lora", rank: 4, alpha: 16, seed: 0, targets }) as const;

/** Ops by the parameters and the kinds of values that they use, which an order does not change. */
const signature = (op: Op) => [op.name, ...parametersOf(op).map(({ name }) => name)].join(" ");

describe.each([
  ["opt", definition],
  ["llama", llama],
] as const)("under a LoRA, %s", (_, model) => {
  it("is what it was, each op behind those that make what it uses", () => {
    const base = adaptModel(model, undefined).recording;
    const { recording } = adaptModel(model, lora(["all-linear"]));
    const ops = recording.blocks.flatMap((block) => block.ops);
    const own = ops.filter((op) => parametersOf(op).some(isOfAdapter));
    // Two products more for each that was there.
    expect(own).toHaveLength(2 * linearLayers(base).length);
    const others = ops.filter((op) => !own.includes(op)).map(signature);
    expect([...others].sort()).toEqual(base.blocks.flatMap((block) => block.ops.map(signature)).sort());
    const made = new Set<Value>();
    for (const op of ops) {
      const [outs, ins] = [valuesOf(op, "logprobs", "out"), valuesOf(op, "logprobs", "in")];
      for (const value of ins) if (value.kind === "activation") expect(made).toContain(value);
      for (const value of outs) made.add(value);
    }
  });

  it.each([1, 8_000, 40_000, 10 ** 9])("is cut between base and adapter in units of up to %d bytes", (unitBytes) => {
    const { recording } = adaptModel(model, lora());
    const options = { wire: "int8", compute: "bf16", unitBytes } as const;
    const units = cutUnits(recording, options);
    for (const unit of units) expect(new Set(unit.tensors.map((t) => isOfAdapter(t.parameter))).size).toBeLessThan(2);
    const own = units.filter(isAdapterUnit);
    // Queries and values of a layer go together.
    expect(own.map(({ tensors }) => tensors.length)).toEqual(Array.from({ length: LAYERS }, () => 4));
    for (const { tensors, wireBytes } of own) {
      expect(tensors.map(({ wire, scratch }) => `${wire} ${scratch}`)).toEqual(tensors.map(() => "fp32 bf16"));
      expect(wireBytes).toBe(4 * 4 * (4 * 64));
    }
    // No slice of the base is other than without the adapter.
    const slices = (of: typeof units) =>
      of.flatMap(({ tensors }) => tensors.map((t) => [t.parameter.name, t.rowCount]));
    const alone = slices(cutUnits(adaptModel(model, undefined).recording, options));
    expect(slices(units.filter((unit) => !isAdapterUnit(unit))).sort()).toEqual(alone.sort());
  });

  it("stores what products take in the compute dtype, and sums in fp32", () => {
    const { recording } = adaptModel(model, lora(["all-linear"]));
    const ops = recording.blocks.flatMap((block) => block.ops);
    const types = storageTypes(ops, "bf16");
    const base = storageTypes(
      adaptModel(model, undefined).recording.blocks.flatMap((block) => block.ops),
      "bf16",
    );
    expect(new Set(base.values())).toEqual(new Set(["fp32", "bf16"]));
    for (const op of ops) {
      for (const name of ["q", "k", "v", "x", "gate", "up"]) {
        const operand = op.operands[name];
        const isProduct = op.name === "linear" || op.name === "attention" || op.name === "gatedActivation";
        if (operand == null || !("kind" in operand) || !isProduct) continue;
        expect([signature(op), name, types.get(operand.id)]).toEqual([signature(op), name, "bf16"]);
      }
      const { residual = null } = op.operands;
      if (residual !== null) expect(types.get((residual as Value).id)).toBe("fp32");
    }
  });
});
