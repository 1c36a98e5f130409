export {
  labelledCount,
  packBatch,
  packPositions,
  type Objective,
  type PackedBatch,
  type PackOptions,
  type Reduction,
} from "./batch.js";
export { checkAborted, type CheckOptions, type CheckProgress, type CheckResult } from "./check.js";
export { choicesRemark } from "./choices.js";
export {
  checkDataset,
  openDataset,
  readDataset,
  type Dataset,
  type DatasetOptions,
  type DatasetSource,
  type Examine,
  type Indexed,
  type OpenedDataset,
} from "./dataset.js";
export {
  DataError,
  ISSUE_KINDS,
  IssueLog,
  kindsText,
  LineError,
  type DataIssue,
  type DataIssueKind,
  type DataIssues,
} from "./issue.js";
export { encodeExample, encodeExampleInSlices } from "./encode.js";
export {
  isRight,
  NOT_SCORED,
  type EncodedChoices,
  type EncodedExample,
  type EncodedTokens,
  type EncodeOptions,
  type Truncation,
} from "./encoded.js";
export { exampleParser } from "./examples.js";
export type { Example, ExampleKind, ExampleOptions, ExampleParser } from "./example.js";
export type { LabelMap } from "./label.js";
export type { Template } from "./template.js";
export { readJsonLines, type JsonLine, type LineSource, type ReadOptions } from "./jsonl.js";
export { logitLoss, type LogitLoss } from "./logit-loss.js";
export { batchLoss, choiceScores, tokenLoss, type ChoiceScores, type LossSum } from "./token-loss.js";
export { indicesInOrder, inOrder, Sampler, type SamplerOptions } from "./sampler.js";
