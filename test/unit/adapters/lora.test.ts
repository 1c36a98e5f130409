import { adaptModel } from "../../../src/adapters/adapted.js";
import { defineLora } from "../../../src/adapters/lora.js";
import { cutUnits, isAdapterUnit } from "../../../src/memory/units.js";
import { defineModel, recordModel } from "../../../src/models/index.js";
import { numberParameters } from "../../../src/ops/parameter.js";
import { optConfig } from "../planner/support.js";

const config = { ...optConfig({ layers: 2, hidden: 64, vocab: 100 }), architectures: ["OPTForQuestionAnswering"] };
const model = defineModel(config);
const base = adaptModel(model, undefined).recording;
const HEAD = ["qa_outputs.weight", "qa_outputs.bias"];

test("each module has a rank and a scale of its own", () => {
  const modules = [
    { module: "model.decoder.layers.0.fc1", rank: 2, scale: 3 },
    { module: "model.decoder.layers.1.fc2", rank: 5, scale: 0.5 },
  ];
  const adapter = defineLora(base, modules);
  expect(adapter.parameters.map(({ shape }) => shape)).toEqual([
    [2, 64],
    [256, 2],
    [5, 256],
    [64, 5],
  ]);
  const parameters = numberParameters([...model.parameters, ...adapter.parameters]);
  const { blocks } = recordModel(model, parameters, adapter);
  const linears = blocks.flatMap(({ ops }) => ops.filter((op) => op.name === "linear"));
  const scaled = linears.map(({ attributes }) => attributes).filter(({ scale }) => scale !== 1);
  expect(scaled).toEqual([
    { activation: "relu", scale: 3, inner: true },
    { activation: "none", scale: 0.5, inner: false },
  ]);
});

test("a head that is trained besides is the adapter's, in its place among the base's parameters", () => {
  const adapter = defineLora(base, [], HEAD);
  const also = new Set(adapter.alsoTrained);
  const parameters = numberParameters(
    model.parameters.map((spec) => (also.has(spec.name) ? { ...spec, adapter: true as const } : spec)),
  );
  expect(parameters.map(({ canonical }) => canonical)).toEqual(base.parameters.map(({ canonical }) => canonical));
  const units = cutUnits(recordModel(model, parameters, adapter), { wire: "fp16", compute: "fp16" });
  const own = units.filter(isAdapterUnit);
  expect(own.map(({ tensors }) => tensors.map((t) => `${t.parameter.name} ${t.wire}`))).toEqual([
    HEAD.map((name) => `${name} fp32`),
  ]);
});

test("what is not the model's is refused by name", () => {
  const module = "model.decoder.layers.7.fc1";
  expect(() => defineLora(base, [{ module, rank: 1, scale: 1 }])).toThrow(
    `changes "${module}", which is no linear layer`,
  );
  expect(() => defineLora(base, [], ["score.weight"])).toThrow('trains "score.weight", which the model does not have');
  expect(() => defineLora(base, [], HEAD.slice(0, 1))).toThrow(`trains some of ${HEAD.join(", ")}, which are trained`);
});
