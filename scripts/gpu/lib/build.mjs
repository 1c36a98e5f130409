import { createRequire } from "node:module";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { root } from "./stage.mjs";

/** `"90a-real"` for compute capability 9.0, whose own instructions need the `a`; `"80-real"` for 8.0. */
function architecture(capability) {
  const number = capability.replace(".", "");
  return `${number}${number === "90" ? "a" : ""}-real`;
}

/**
 * Builds addon, C++ tests and benches in one folder, for this machine's device alone. Quick when nothing changed.
 * @returns whether it worked and something is to be run
 */
export function build(stage) {
  const cmakeJs = path.join(
    path.dirname(createRequire(import.meta.url).resolve("cmake-js/package.json")),
    "bin",
    "cmake-js",
  );
  const settings = {
    ZO2_CUDA: stage.emulated ? process.env.ZO2_CUDA : "on",
    ...(stage.emulated
      ? {}
      : { ZO2_CUDA_ARCHITECTURES: architecture(stage.buildOnly ?? stage.result.gpu.compute_cap) }),
    ZO2_TESTS: "ON",
    ZO2_BENCH: "ON",
  };
  const flags = [
    "-d",
    root,
    "-O",
    stage.buildDir,
    "-B",
    "Release",
    ...Object.entries(settings).map(([name, value]) => `--CD${name}=${value}`),
  ];
  const configured = stage.run(process.execPath, [cmakeJs, "configure", ...flags]);
  const built = configured.ok
    ? stage.run("cmake", ["--build", stage.buildDir, "--parallel", String(os.availableParallelism())])
    : configured;
  const seconds = configured.seconds + (built === configured ? 0 : built.seconds);
  const ok = stage.add({
    name: "build",
    ok: built.ok,
    seconds,
    settings,
    ...(built.ok ? {} : { problem: built.problem }),
  });
  return ok && stage.buildOnly === null;
}
