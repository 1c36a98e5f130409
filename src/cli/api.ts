/**
 * What the command line needs of the package: commands see only this, so that tests can give them a model that is none.
 */
import type { EvaluateOptions } from "../config/evaluate.js";
import type { ModelOptions } from "../config/model.js";
import type { TimelineOptions } from "../config/timeline.js";
import type { TrainerOptions } from "../config/trainer.js";
import type { LoadOptions } from "../load.js";
import type { EvaluateHooks, Model } from "../model.js";
import type { Evaluation } from "../infer/evaluate.js";
import type { ReplayRunOptions } from "../run/replay.js";
import type { TimelineHooks, WrittenTimeline } from "../timeline/write.js";
import type { TaskOptions } from "../config/task.js";
import type { DataSource } from "../infer/source.js";
import type { SweepHooks, SweepOptions, SweepResult } from "../sweep/sweep.js";
import type { LoadTaskHooks, TaskData } from "../tasks/index.js";
import type { BestEvaluation, FitOptions, Step } from "../train/trainer.js";

export interface ModelView
  extends Pick<
    Model,
    | "dir"
    | "options"
    | "unusedTensors"
    | "maxPositions"
    | "parameterCount"
    | "score"
    | "generate"
    | "generateAll"
    | "save"
    | "merge"
    | "plan"
    | "deviceInfo"
    | "dispose"
  > {
  evaluate(data: DataSource, options?: EvaluateOptions & EvaluateHooks): Promise<Evaluation>;
}

export interface TrainerView {
  readonly stepsTaken: number;
  readonly bestEvaluation: BestEvaluation | null;
  fit(data: DataSource, options?: FitOptions): AsyncIterable<Step>;
}

/** A task's data, for a model that `loadModel` returned. */
export interface TaskView {
  readonly sizes: TaskData["sizes"];
  readonly options: TaskData["options"];
  close(): Promise<void>;
  train(model: ModelView): ReturnType<TaskData["train"]>;
  dev(model: ModelView): ReturnType<TaskData["dev"]>;
  objective(model: ModelView, maxLength?: number): ReturnType<TaskData["objective"]>;
  evaluate(model: ModelView, options: Parameters<TaskData["evaluate"]>[1]): ReturnType<TaskData["evaluate"]>;
}

/** What is compiled into the addon, and what this machine has for it. */
export interface SystemView {
  /** Compiler, matrix product library, CUDA choice. */
  readonly build: string;
  /** Where the addon was loaded from. */
  readonly file: string;
  readonly backends: readonly { readonly kind: string; readonly devices: number; readonly reason?: string }[];
  /** The CPU backend's device, opened for the asking. */
  readonly cpu: {
    readonly name: string;
    readonly features: string;
    readonly threads: number;
    /** What holds the threads below the machine's cores, and its memory below all of it; "": nothing does. */
    readonly threadsLimitedBy: string;
    readonly memoryLimitedBy: string;
    readonly memoryTotal: number;
    readonly memoryFree: number;
  };
}

export interface Api {
  loadModel(name: string, options: ModelOptions, o: LoadOptions): Promise<ModelView>;
  createTrainer(model: ModelView, options: TrainerOptions): TrainerView;
  /** Rebuilds the weights of the run in `dir` on its base, and goes on where its journal ends. */
  resumeTrainer(
    model: ModelView,
    dir: string,
    options: TrainerOptions,
    o: Omit<ReplayRunOptions, "steps">,
  ): Promise<TrainerView>;
  sweep(model: ModelView, options: SweepOptions, hooks: SweepHooks): Promise<SweepResult>;
  loadTask(name: string, options: TaskOptions, hooks: LoadTaskHooks): Promise<TaskView>;
  writeTimeline(name: string, out: string, options: TimelineOptions, hooks: TimelineHooks): Promise<WrittenTimeline>;
  systemInfo(options: { threads?: number }): Promise<SystemView>;
}
