export { broken } from "./source.js";
export { openCheckpoint, openTensors, type Checkpoint, type OpenTensors } from "./checkpoint.js";
export {
  type Aliases,
  type Double,
  findDoubles,
  requireTensor,
  resolveTensor,
  storedNames,
  unusedTensors,
  type UnusedOptions,
} from "./names.js";
export { DTYPE_BITS, tensorBytes, type TensorDtype, type TensorEntry } from "./safetensors.js";
export { ADAPTER_CONFIG_FILE, ADAPTER_WEIGHTS_FILE } from "./folder-files.js";
export { writeAdapterFolder, writeCheckpoint, type TensorSource, type WriteOptions } from "./writer.js";
