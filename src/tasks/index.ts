export { loadTask, type LoadTaskHooks } from "./load-task.js";
export { registerTask, taskNames } from "./registry.js";
export type { TaskRow } from "./row.js";
export type { AnswerExample, AnswerTask, ChoiceExample, ChoiceTask, Task, TaskSizes, TaskSource } from "./task.js";
export type { F1Objective, TaskData, TaskEvaluation } from "./task-data.js";
