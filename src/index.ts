/** Fine-tunes large language models with forward passes only; see README.md. */
export { loadModel, type DataSource, type Model, type PlanSummary } from "./model.js";
export { Trainer, type FitOptions, type Step, type TrainingEvaluation } from "./train/trainer.js";
export { type Evaluation } from "./train/evaluate.js";
export { type Score, type ScoreInput } from "./train/score.js";
export { openDataset, type Dataset, type DatasetOptions, type DatasetSource } from "./data/index.js";
export { loadTokenizer, type Tokenizer } from "./tokenizer/index.js";
export { type ModelOptions, type ResolvedModelOptions } from "./config/model.js";
export { type ResolvedTrainerOptions, type TrainerOptions } from "./config/trainer.js";
export { type EvaluateOptions } from "./config/evaluate.js";
export { ERROR_CODES, isZo2Error, Zo2Error, type ErrorCode } from "./errors.js";
