/**
 * Which backend the native tests run on: ZO2_TEST_DEVICE=cpu|cuda. `cuda` is a GPU, or the emulated one in a build with
 * ZO2_CUDA=emulated
 * (whose device says that it is of the kind "cuda-emulated").
 */
export type TestDevice = "cpu" | "cuda";

function chosen(): TestDevice {
  const name = process.env.ZO2_TEST_DEVICE || "cpu";
  if (name !== "cpu" && name !== "cuda") throw new Error(`ZO2_TEST_DEVICE is "${name}"; use cpu or cuda`);
  return name;
}

export const DEVICE = chosen();
