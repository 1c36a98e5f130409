import type { ModelOptions } from "../config/model.js";
import { DownloadView } from "../report/download.js";
import type { Api, ModelView } from "./api.js";
import type { Context } from "./context.js";
import { modelLine, type Purpose } from "./describe-model.js";
import { inFlags } from "./flags.js";
import type { Output } from "./output.js";

/** Loads the model that a command was given, a folder or a Hub id, and says what it is and how it will run. */
export async function openModel(
  api: Api,
  name: string,
  options: ModelOptions,
  purpose: Purpose,
  context: Context,
  output: Output,
): Promise<ModelView> {
  using view = new DownloadView(context.stderr);
  const model = await api.loadModel(name, options, {
    signal: context.signal,
    onWarning: ({ code, message }) => output.say(`${code}: ${inFlags(message)}`),
    ...(output.quiet ? {} : { onProgress: (state) => view.show(state) }),
  });
  output.say(modelLine(model, purpose));
  if (model.unusedTensors.length > 0) {
    const [first = ""] = model.unusedTensors;
    output.say(
      `${model.unusedTensors.length} tensors of the checkpoint are not used by this architecture: ` +
        `${first}${model.unusedTensors.length > 1 ? ", ..." : ""}`,
    );
  }
  return model;
}
