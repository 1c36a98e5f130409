export { decode, type DecodeSettings, type FinishReason, type Token } from "./decode.js";
export { generateGroup, generateMany, generateOne, Generation, type GenerateModel } from "./generate.js";
export { encodePrompt, type GenerateInput } from "./prompt.js";
export type { Generated } from "./text.js";
export { readEndIds } from "./end-ids.js";
