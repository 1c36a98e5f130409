import { nativeBuild, openDevice } from "../device/open.js";
import { loadModel, Trainer, writeTimeline, type Model } from "../index.js";
import type { Api, ModelView } from "./api.js";

/** The package itself behind the types of the command line. */
export const api: Api = {
  loadModel,
  writeTimeline,
  createTrainer: (model, options) => new Trainer(asModel(model), options),
  resumeTrainer: (model, dir, options, o) => Trainer.resume(asModel(model), dir, options, o),
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
