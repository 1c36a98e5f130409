import { DownloadView } from "../report/download.js";
import type { Api, TaskView } from "./api.js";
import type { buildTask } from "./build.js";
import type { Context } from "./context.js";
import type { Output } from "./output.js";

/** Loads the task that was asked for, from the Hub or a folder; undefined for none. */
export async function openTask(
  api: Api,
  asked: ReturnType<typeof buildTask>,
  context: Context,
  output: Output,
): Promise<TaskView | undefined> {
  if (asked === undefined) return undefined;
  using view = new DownloadView(context.stderr);
  const task = await api.loadTask(asked.name, asked.options, {
    signal: context.signal,
    ...(output.quiet ? {} : { onProgress: (state) => view.show(state) }),
  });
  const { train, dev, test } = task.sizes;
  output.say(`${asked.name}: ${train} examples to train on, ${dev} to select by, ${test} to evaluate on`);
  return task;
}
