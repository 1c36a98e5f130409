/** What a host lacks to build for its GPU and run on it, before anything is tried. */
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { describeGpu } from "./facts.mjs";
import { root } from "./root.mjs";

/** More than enough for a build folder, object files included: that of the emulated backend takes 0.7 GiB. */
const DISK_BYTES = 4 * 2 ** 30;

const runs = (command, args = ["--version"]) => spawnSync(command, args, { stdio: "ignore" }).status === 0;

/**
 * The first thing that is missing: `{code, message}`, the message in two lines, what is wrong and what to do; null
 * where nothing is.
 */
export function missing({ dry, buildOnly = null }, host = hostFacts()) {
  const problem = (code, wrong, todo) => ({ code, message: `${wrong}\n${todo}` });
  if (!host.compiled) return problem("ZO2_ERR_ADDON", "dist/ or node_modules/ is not there", "Run npm install first.");
  if (!host.cmake)
    return problem("ZO2_ERR_ADDON", "cmake cannot be run", "Install it (Debian: apt install cmake g++).");
  if (dry) return null;
  if (buildOnly === null && host.gpu === null)
    return problem(
      "ZO2_ERR_DEVICE",
      "no NVIDIA GPU is visible here: nvidia-smi cannot be run, or finds none",
      "Run this on a host with one (compute capability 8.0 or later); " +
        "npm run gpu -- --dry shows on the CPU what it does.",
    );
  const capability = Number(buildOnly ?? host.gpu.compute_cap);
  if (!(capability >= 8))
    return problem(
      "ZO2_ERR_DEVICE",
      `${host.gpu?.name ?? "the device"} has compute capability ${capability}, and at least 8.0 is needed`,
      "Run this on a host with a GPU of Ampere (A100, RTX 30) or later.",
    );
  if (!host.nvcc)
    return problem(
      "ZO2_ERR_ADDON",
      "nvcc cannot be run, so nothing can be compiled for the GPU",
      "Install the CUDA toolkit (12.0 or later) and put its bin/ into PATH, or name the compiler as CUDACXX.",
    );
  if (host.diskBytes < DISK_BYTES)
    return problem(
      "ZO2_ERR_IO",
      `${(host.diskBytes / 2 ** 30).toFixed(1)} GiB of disk are free here, and ${DISK_BYTES / 2 ** 30} are needed`,
      "Free some, or clone the repository where there is more.",
    );
  return null;
}

function hostFacts() {
  const { bavail, bsize } = fs.statfsSync(root);
  return {
    compiled: ["dist/esm/index.js", "node_modules/cmake-js"].every((file) => fs.existsSync(path.join(root, file))),
    cmake: runs("cmake"),
    nvcc: runs(process.env.CUDACXX ?? "nvcc"),
    gpu: describeGpu(),
    diskBytes: bavail * bsize,
  };
}
