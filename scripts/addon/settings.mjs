/** What is built, where, and how the environment changes it. */
import { readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

export const root = path.dirname(path.dirname(path.dirname(fileURLToPath(import.meta.url))));

const VALUES = {
  ZO2_CUDA: ["auto", "on", "off", "emulated", "emulated-race"],
  ZO2_BLAS: ["auto", "on", "off"],
  ZO2_IO_URING: ["auto", "on", "off"],
  ZO2_PORTABLE: ["off", "on"],
};

/** Why there is no addon, in words for people; `missing` are lines about what has to be installed. */
export class BuildError extends Error {
  constructor(message, missing = []) {
    super(message);
    this.missing = missing;
  }
}

/** @throws BuildError for a variable with a value that it does not take */
export function settingsOf(environment, { debug = false } = {}) {
  const configuration = debug ? "Debug" : "Release";
  const buildDir = path.resolve(root, environment.ZO2_BUILD_DIR || "build");
  const folder = path.join(buildDir, configuration);
  return {
    configuration,
    buildDir,
    addon: path.join(folder, "zo2.node"),
    stampFile: path.join(folder, "zo2.stamp.json"),
    logFile: path.join(buildDir, "zo2-build.log"),
    options: optionsOf(environment),
  };
}

/** The options of CMake that the environment sets. */
function optionsOf(environment) {
  const options = {};
  for (const [name, values] of Object.entries(VALUES)) {
    const value = environment[name] || values[0];
    if (!values.includes(value)) throw new BuildError(`${name} is "${value}"; use ${values.join(", ")}`);
    options[name] = value;
  }
  if (environment.ZO2_TESTS === "on") {
    options.ZO2_TESTS = "ON";
    options.ZO2_TEST_PROGRAMS = environment.ZO2_TEST_PROGRAMS ?? "";
  }
  if (environment.ZO2_CUDA_ARCHITECTURES) options.ZO2_CUDA_ARCHITECTURES = environment.ZO2_CUDA_ARCHITECTURES;
  return options;
}

const found = (file, pattern) => pattern.exec(readFileSync(path.join(root, file), "utf8"))?.[1];

export const contractVersion = () => Number(found("contract/zo2.h", /#define ZO2_CONTRACT_VERSION (\d+)u/));

/** What the kernels are compiled for where nothing says otherwise, as CMake writes it. */
export const defaultArchitectures = () => found("cmake/Cuda.cmake", /set\(ZO2_CUDA_ARCHITECTURES "([^"]+)"/).split(";");
