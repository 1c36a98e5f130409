/** For which GPUs the kernels are compiled: those of this machine, or all that the package knows. */
import { spawnSync } from "node:child_process";
import { defaultArchitectures } from "./settings.mjs";

/** GPUs that the driver sees: name, and compute capability as [major, minor]. None where there is no driver. */
export function detectedGpus() {
  const query = ["--query-gpu=name,compute_cap", "--format=csv,noheader"];
  const { status, stdout } = spawnSync("nvidia-smi", query, { encoding: "utf8", timeout: 20_000 });
  if (status !== 0) return [];
  return [...stdout.matchAll(/^(.+), (\d+)\.(\d+)\s*$/gm)].map(([, name, major, minor]) => ({
    name,
    capability: [Number(major), Number(minor)],
  }));
}

/**
 * Of the architectures that the package is compiled for, those that these GPUs run: all where no GPU is known. What is
 * for a later GPU than any of them, PTX ("virtual"), stays, so that the addon runs wherever it is carried.
 */
export function architecturesFor(gpus, known = defaultArchitectures()) {
  if (gpus.length === 0) return known;
  return known.filter((architecture) => {
    if (architecture.endsWith("-virtual")) return true;
    const [, digits, exact] = /^(\d+)(a?)/.exec(architecture);
    const [major, minor] = [Math.floor(Number(digits) / 10), Number(digits) % 10];
    // "90a" is that GPU and no other; "80" is every later GPU of the same generation.
    return gpus.some(({ capability: [m, n] }) => m === major && (exact === "a" ? n === minor : n >= minor));
  });
}

/** As people say it: "80-real;80-virtual" is "sm_80 and, by PTX, every later GPU". */
export function inWords(architectures) {
  const real = architectures.filter((a) => !a.endsWith("-virtual")).map((a) => `sm_${a.replace("-real", "")}`);
  const virtual = architectures.filter((a) => a.endsWith("-virtual")).map((a) => a.replace("-virtual", ""));
  return [...real, ...virtual.map((a) => `PTX of compute_${a} for every other GPU`)].join(", ");
}
