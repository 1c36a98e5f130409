import { numberParameters } from "../../../src/ops/parameter.js";
import { matchParameters } from "../../../src/models/match-parameters.js";

const parameters = numberParameters(
  ["embed.weight", "layers.0.fc1.weight", "layers.10.fc1.weight", "head.weight"].map((name) => ({
    name,
    shape: [2, 2],
    decay: true,
  })),
);
const names = (patterns: string[]) => [...matchParameters(parameters, patterns)].map((p) => p.name);

it("matches whole names, with * for any run of characters and nothing else special", () => {
  expect(names(["layers.1*"])).toEqual(["layers.10.fc1.weight"]);
  expect(names(["*.fc1.*", "head.weight"])).toEqual(["layers.0.fc1.weight", "layers.10.fc1.weight", "head.weight"]);
  expect(() => names(["embed"])).toThrow(expect.objectContaining({ code: "ZO2_ERR_CONFIG" }));
  expect(() => names(["layers.0.fc1?weight"])).toThrow(/matches no parameter/);
});

it("refuses to freeze everything", () => {
  expect(() => names(["*"])).toThrow(
    expect.objectContaining({ code: "ZO2_ERR_CONFIG", message: expect.stringContaining("all 4 parameters") }),
  );
});
