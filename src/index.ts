/** Fine-tunes large language models with forward passes only; see README.md. */
export type { DataSource } from "./infer/source.js";
export { loadModel, type LoadOptions } from "./load.js";
export type { MergeOptions } from "./merge.js";
export type { EvaluateHooks, Model, PlanSummary } from "./model.js";
export { Trainer, type FitOptions, type Snapshot, type Step, type TrainingEvaluation } from "./train/trainer.js";
export {
  sweep,
  type CommonTrainerOptions,
  type SweepHooks,
  type SweepOptions,
  type SweepResult,
  type TrialPlace,
} from "./sweep/sweep.js";
export type { SweepTrial } from "./sweep/result.js";
export type { RateChoice } from "./train/rate-rule.js";
export type { Evaluation } from "./infer/evaluate.js";
export type { LabelPrediction, PredictInput, SpanPrediction } from "./infer/predict.js";
export type { Score, ScoreInput } from "./infer/score.js";
export type { FinishReason, Generated, GenerateInput, Generation } from "./infer/generate/index.js";
export {
  DataError,
  openDataset,
  type CheckProgress,
  type DataIssue,
  type DataIssueKind,
  type DataIssues,
  type Dataset,
  type DatasetOptions,
  type DatasetSource,
} from "./data/index.js";
export type { DataReport } from "./infer/encoded-source.js";
export type { CheckedData } from "./train/run-data.js";
export { resolveModel, type DownloadProgress, type ResolveModelOptions } from "./hub/index.js";
export { readRun as readJournal } from "./journal/read-run.js";
export type { PlanModelOptions } from "./config/plan.js";
export { planModel, type PlanModelHooks } from "./planner/plan-model.js";
export type { ModelPlan } from "./planner/summary.js";
export { writeReport, type WrittenReport } from "./page/report.js";
export type { TimelineOptions } from "./config/timeline.js";
export { writeTimeline, type TimelineHooks, type WrittenTimeline } from "./timeline/write.js";
export type { ReplayProgress } from "./run/replay.js";
export type { RestoreOptions } from "./run/restore.js";
export type { RunReference } from "./run/reference.js";
export type { SwitchOptions } from "./run/switch.js";
export type { Journal } from "./journal/read.js";
export type { DroppedRecord, EvaluationRecord, Guard, StepRecord } from "./journal/record.js";
export type { HeadSpec } from "./models/head.js";
export {
  loadTokenizer,
  renderChat,
  type ChatMessage,
  type RenderChatOptions,
  type Tokenizer,
} from "./tokenizer/index.js";
export {
  loadTask,
  registerTask,
  taskNames,
  type AnswerExample,
  type AnswerTask,
  type ChoiceExample,
  type ChoiceTask,
  type F1Objective,
  type LoadTaskHooks,
  type Task,
  type TaskData,
  type TaskEvaluation,
  type TaskRow,
  type TaskSizes,
  type TaskSource,
} from "./tasks/index.js";
export type { TaskEvaluateOptions, TaskOptions } from "./config/task.js";
export type { ModelOptions, ResolvedModelOptions } from "./config/model.js";
export type { LogitOutput, ObjectiveContext, TextOutput } from "./config/objective.js";
export type { ResolvedTrainerOptions, TrainerOptions } from "./config/trainer.js";
export type { EvaluateOptions } from "./config/evaluate.js";
export type { GenerateOptions } from "./config/generate.js";
export { ERROR_CODES, isZo2Error, Zo2Error, type ErrorCode } from "./base/errors.js";
export { WARNING_CODES, type Warning, type WarningCode } from "./base/warnings.js";
