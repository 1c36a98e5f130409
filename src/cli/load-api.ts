import { loadNative } from "zo2/native";
import { loadModel, Trainer, type Model } from "../index.js";
import type { Api, ModelView } from "./api.js";

/** The package itself behind the types of the command line. */
export const api: Api = {
  loadModel,
  createTrainer: (model, options) => new Trainer(asModel(model), options),
  async systemInfo(options) {
    const native = loadNative();
    const device = await native.openDevice("cpu", options);
    try {
      const { name, features, threads, memoryTotal, memoryFree } = device.info();
      return {
        build: native.build,
        backends: native.backends(),
        cpu: { name, features, threads, memoryTotal, memoryFree },
      };
    } finally {
      await device.close();
    }
  },
};

/** A `ModelView` of this module is always what its own `loadModel` returned. */
function asModel(view: ModelView): Model {
  return view as Model;
}
