"use strict";

/**
 * Finds and loads the addon; `native.d.cts` declares what comes out. Requiring this file loads nothing, so that
 * importing the package never fails for want of a build: the first call of `loadNative` does.
 */
const fs = require("node:fs");
const path = require("node:path");
const { prebuilts } = require("./prebuilt.cjs");

const packageRoot = path.join(__dirname, "..");
const CONTRACT_VERSION = 9;
const NAPI_VERSION = 8;

/**
 * The folders that a build may have left the addon in, a debug build first. `ZO2_BUILD_DIR` names another build folder,
 * from the package's own. `asked`: whether somebody asked for it; else npm's install script made it by itself.
 */
function builds() {
  const build = path.resolve(packageRoot, process.env.ZO2_BUILD_DIR || "build");
  return ["Debug", "Release"].map((configuration) => {
    const folder = path.join(build, configuration);
    return { name: "a local build", folder, asked: process.env.ZO2_BUILD_DIR !== undefined || wasAsked(folder) };
  });
}

function wasAsked(folder) {
  try {
    return JSON.parse(fs.readFileSync(path.join(folder, "zo2.stamp.json"), "utf8")).asked !== false;
  } catch {
    return true;
  }
}

/**
 * Where the addon may be, in the order in which it is looked for: a build that somebody asked for, packages that bring
 * one (for CUDA first), a build that npm's install script made. `ZO2_ADDON` keeps `local`, `prebuilt`, or one package.
 */
function candidates() {
  const local = builds();
  const all = [
    ...local.filter(({ asked }) => asked),
    ...prebuilts(CONTRACT_VERSION),
    ...local.filter(({ asked }) => !asked),
  ];
  const only = process.env.ZO2_ADDON || "auto";
  if (only === "auto") return all;
  if (only === "local") return local;
  return all.filter(({ name }) => (only === "prebuilt" ? name.startsWith("@zo2/") : name === only));
}

/** What builds the addon, as the package manager at hand runs it. */
function buildCommand() {
  const [manager] = (process.env.npm_config_user_agent ?? "").split("/");
  const runners = { pnpm: "pnpm exec", yarn: "yarn run", bun: "bun run" };
  return `${runners[manager] ?? "npx"} zo2 build`;
}

function addonError(text) {
  const error = new Error(text);
  error.code = "ZO2_ERR_ADDON";
  return error;
}

/** Two lines: what is missing, and what to do. */
function missingError() {
  const only = process.env.ZO2_ADDON || "auto";
  const where = path.join(path.resolve(packageRoot, process.env.ZO2_BUILD_DIR || "build"), "Release", "zo2.node");
  if (only !== "auto" && only !== "local") {
    return addonError(
      `ZO2_ADDON is "${only}", and no such package with a built addon is installed for ${packageRoot}\n` +
        "install one, or set ZO2_ADDON to local, or to nothing",
    );
  }
  return addonError(
    `the native addon is not built: there is no ${where}; package managers may leave install scripts out\n` +
      `build it: ${buildCommand()} (it needs CMake, a C++17 compiler and make or ninja, and says what is missing)`,
  );
}

function unusableError(reasons) {
  const solutions = [
    `build it for this system: ${buildCommand()} --force`,
    ...(Number(process.versions.napi) < NAPI_VERSION
      ? [`use a Node with Node-API ${NAPI_VERSION} or later; this one has ${process.versions.napi}`]
      : []),
  ];
  return addonError(
    `the native addon could not be loaded. Tried:\n${reasons.map((r) => `  - ${r}`).join("\n")}\nPossible ` +
      `solutions:\n${solutions.map((s) => `  - ${s}`).join("\n")}`,
  );
}

let loaded;
let loadedFile;

function loadNative() {
  if (loaded !== undefined) return loaded;
  if (process.platform !== "linux")
    throw addonError(`zo2 runs on Linux only, and this is ${process.platform}\nuse a Linux machine, or WSL 2`);
  const bindings = require("bindings");
  const reasons = [];
  for (const { name, folder, refused } of candidates()) {
    const file = path.join(folder, "zo2.node");
    if (refused !== undefined) {
      reasons.push(`${name} ${refused}`);
      continue;
    }
    if (!fs.existsSync(file)) {
      // A build that is not there needs no mention beside something that is.
      if (name.startsWith("@zo2/")) reasons.push(`${file}: no such file`);
      continue;
    }
    try {
      const native = bindings({ bindings: "zo2", module_root: folder, try: [["module_root", "bindings"]] });
      if (native.contractVersion !== CONTRACT_VERSION) {
        reasons.push(
          `${file}: built for contract version ${native.contractVersion}, this package needs ${CONTRACT_VERSION}`,
        );
        continue;
      }
      loaded = native;
      loadedFile = file;
      return native;
    } catch (error) {
      reasons.push(`${file}: ${error.message}`);
    }
  }
  throw reasons.length === 0 ? missingError() : unusableError(reasons);
}

/** The file that `loadNative` has loaded; undefined before. */
const nativeFile = () => loadedFile;

module.exports = { loadNative, nativeFile, packageRoot };
