import { nativeBuild, openDevice } from "../device/open.js";
import { loadModel, loadTask, sweep, Trainer, writeTimeline, type Model } from "../index.js";
import type { Api, ModelView } from "./api.js";

/** The package itself behind the types of the command line. */
export const api: Api = {
  loadModel,
  writeTimeline,
  createTrainer: (model, options) => new Trainer(asModel(model), options),
  resumeTrainer: (model, dir, options, o) => Trainer.resume(asModel(model), dir, options, o),
  sweep: (model, options, hooks) => sweep(asModel(model), options, hooks),
  async loadTask(name, options, hooks) {
    const task = await loadTask(name, options, hooks);
    return {
      ...{ sizes: task.sizes, options: task.options },
      close: () => task.close(),
      train: (model) => task.train(asModel(model)),
      dev: (model) => task.dev(asModel(model)),
      objective: (model, maxLength) => task.objective(asModel(model), maxLength),
      evaluate: (model, o) => task.evaluate(asModel(model), o),
    };
  },
  async systemInfo(options) {
    const device = await openDevice({ device: "cpu", ...options });
    try {
      const { name, features, threads, threadsLimitedBy, memoryTotal, memoryFree, memoryLimitedBy } = device.info();
      const limits = { threadsLimitedBy, memoryLimitedBy };
      return { ...nativeBuild(), cpu: { name, features, threads, memoryTotal, memoryFree, ...limits } };
    } finally {
      await device.close();
    }
  },
};

/** A `ModelView` of this module is always what its own `loadModel` returned. */
function asModel(view: ModelView): Model {
  return view as Model;
}
