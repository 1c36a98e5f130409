export { openCheckpoint, type Checkpoint } from "./checkpoint.js";
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
export { writeCheckpoint, type TensorSource, type WriteOptions } from "./writer.js";
