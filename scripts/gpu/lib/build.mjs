import fs from "node:fs";
import { createRequire } from "node:module";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { root } from "./root.mjs";

/** `"90a-real"` for compute capability 9.0, whose own instructions need the `a`; `"80-real"` for 8.0. */
function architecture(capability) {
  const number = capability.replace(".", "");
  return `${number}${number === "90" ? "a" : ""}-real`;
}

/** Configures a new folder through cmake-js, which knows Node's headers; an old one knows them already. */
function configure(stage, settings) {
  const given = Object.entries(settings);
  if (fs.existsSync(path.join(stage.buildDir, "CMakeCache.txt")))
    return stage.run("cmake", [...given.map(([name, value]) => `-D${name}=${value}`), stage.buildDir]);
  const cmakeJs = path.dirname(createRequire(import.meta.url).resolve("cmake-js/package.json"));
  const program = path.join(cmakeJs, "bin", "cmake-js");
  const defines = given.map(([name, value]) => `--CD${name}=${value}`);
  const args = [program, "configure", "-d", root, "-O", stage.buildDir, "-B", "Release", ...defines];
  return stage.run(process.execPath, args);
}

/**
 * Builds addon, C++ tests and benches in one folder, for this machine's device alone. Quick when nothing changed.
 * @returns whether it worked and something is to be run
 */
export function build(stage) {
  const capability = stage.buildOnly ?? stage.result.gpu?.compute_cap;
  const settings = {
    ...(stage.dry ? { ZO2_CUDA: "emulated" } : { ZO2_CUDA: "on", ZO2_CUDA_ARCHITECTURES: architecture(capability) }),
    ZO2_TESTS: "ON",
    ZO2_BENCH: "ON",
  };
  const configured = configure(stage, settings);
  const built = configured.ok
    ? stage.run("cmake", ["--build", stage.buildDir, "--parallel", String(os.availableParallelism())])
    : configured;
  const seconds = configured.seconds + (built === configured ? 0 : built.seconds);
  const problem = built.ok ? {} : { problem: built.problem, tail: built.tail };
  return stage.add({ name: "build", ok: built.ok, seconds, settings, ...problem }) && stage.buildOnly === null;
}
