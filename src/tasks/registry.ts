import { Zo2Error } from "../base/errors.js";
import { nearestName } from "../base/nearest.js";
import { boolq } from "./boolq.js";
import { cb } from "./cb.js";
import { copa } from "./copa.js";
import { drop } from "./drop.js";
import { multirc } from "./multirc.js";
import { record } from "./record.js";
import { rte } from "./rte.js";
import { squad } from "./squad.js";
import { sst2 } from "./sst2.js";
import type { Task } from "./task.js";
import { wic } from "./wic.js";
import { wsc } from "./wsc.js";

const OWN: readonly Task[] = [sst2, rte, cb, boolq, wsc, wic, multirc, copa, record, squad, drop];
const tasks = new Map(OWN.map((task) => [task.name, task]));

/** The names that `loadTask` knows: MeZO's eleven tasks, and those that were registered. */
export function taskNames(): string[] {
  return [...tasks.keys()];
}

/**
 * Makes a task known by its name, in this thread.
 * @throws Zo2Error ZO2_ERR_INVALID_ARGUMENT for a name that is taken, or is none
 */
export function registerTask(task: Task): void {
  const { name } = task;
  if (typeof name !== "string" || !/^[a-z0-9][a-z0-9-]*$/.test(name))
    throw new Zo2Error(
      "ZO2_ERR_INVALID_ARGUMENT",
      `a task cannot be called ${JSON.stringify(name)}; give lower-case letters, digits and dashes`,
    );
  if (tasks.has(name))
    throw new Zo2Error(
      "ZO2_ERR_INVALID_ARGUMENT",
      `there is a task ${JSON.stringify(name)} already; give another name`,
    );
  tasks.set(name, task);
}

/** @throws Zo2Error ZO2_ERR_CONFIG naming the tasks that there are */
export function taskOf(name: string): Task {
  const task = tasks.get(name);
  if (task !== undefined) return task;
  const near = nearestName(name, taskNames());
  throw new Zo2Error(
    "ZO2_ERR_CONFIG",
    `there is no task ${JSON.stringify(name)}; ${near === undefined ? "" : `did you mean ${JSON.stringify(near)}? `}` +
      `there are ${taskNames().join(", ")}`,
  );
}
