export {
  labelledCount,
  packBatch,
  packPositions,
  type Objective,
  type PackedBatch,
  type PackOptions,
  type Reduction,
} from "./batch.js";
export { openDataset, type Dataset, type DatasetOptions, type DatasetSource } from "./dataset.js";
export {
  encodeExample,
  NOT_SCORED,
  type EncodedChoices,
  type EncodedExample,
  type EncodedTokens,
  type EncodeOptions,
  type Truncation,
} from "./encode.js";
export {
  exampleParser,
  type Example,
  type ExampleKind,
  type ExampleOptions,
  type ExampleParser,
  type Template,
} from "./examples.js";
export { readJsonLines, type JsonLine, type LineSource, type ReadOptions } from "./jsonl.js";
export { logitLoss, type LogitLoss } from "./logit-loss.js";
export { batchLoss, choiceScores, tokenLoss, type ChoiceScores, type LossSum } from "./objective.js";
export { unpackPadded, type PaddedBatch } from "./padded.js";
export { batches, inOrder, Sampler, type SamplerOptions, type SamplerState } from "./sampler.js";
