import { resolve } from "node:path";
import { modelOptionsSchema } from "../../../src/config/model.js";
import { parseOptions } from "../../../src/config/parse.js";

const parse = (adapter: unknown) => parseOptions(modelOptionsSchema, { adapter }, "model options").adapter;

it("a text is the folder of an adapter, and a folder is where it is now", () => {
  expect(parse("tuned")).toEqual({ name: "peft", folder: resolve("tuned") });
  expect(parse({ name: "peft", folder: "./tuned" })).toEqual({ name: "peft", folder: resolve("tuned") });
  expect(parse({ name: "lora", rank: 2 })).toEqual({ name: "lora", rank: 2, alpha: 16, seed: 0 });
});

it.each([
  ["an unknown name", { name: "dora" }, 'option "adapter.name" is "dora"; must be "lora", "prefix" or "peft"'],
  ["a wrong rank", { name: "lora", rank: 0 }, 'option "adapter.rank" is 0; must be at least 1'],
  ["an option of another kind", { name: "lora", folder: "x" }, 'option "adapter.folder" does not go with name "lora"'],
  ["a misspelt option", { name: "lora", alhpa: 2 }, 'unknown option "adapter.alhpa"; did you mean "adapter.alpha"?'],
  ["no folder", { name: "peft" }, 'option "adapter.folder" is missing; give text'],
  ["neither", 7, 'option "adapter"'],
  ["an empty text", "", 'option "adapter" holds 0 characters; must hold at least 1'],
])("%s is said in the words of that form", (_, adapter, message) => {
  expect(() => parse(adapter)).toThrow(message);
});
