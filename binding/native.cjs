"use strict";

/**
 * Finds and loads the addon; `native.d.cts` declares what comes out. Requiring this file loads nothing, so that
 * importing the package never fails for want of a build: the first call of `loadNative` does.
 */
const fs = require("node:fs");
const path = require("node:path");

const packageRoot = path.join(__dirname, "..");
const CONTRACT_VERSION = 4;
const NAPI_VERSION = 8;

/**
 * The folders that a build may have left the addon in, a debug build first. `ZO2_BUILD_DIR` names another build folder,
 * from the package's own.
 */
function candidates() {
  const build = path.resolve(packageRoot, process.env.ZO2_BUILD_DIR || "build");
  return ["Debug", "Release"].map((configuration) => path.join(build, configuration));
}

function addonError(reasons) {
  const solutions = [
    `build it: npm run build:native (in ${packageRoot}); it needs CMake 3.18 or later and a C++17 compiler, ` +
      "and prints what is missing",
    "after changing the Node version, the operating system or the C library: npm rebuild zo2",
  ];
  if (Number(process.versions.napi) < NAPI_VERSION) {
    solutions.unshift(`use a Node with Node-API ${NAPI_VERSION} or later; this one has ${process.versions.napi}`);
  }
  if (process.platform !== "linux")
    solutions.unshift(`use Linux; this is ${process.platform}, which zo2 is not built for yet`);
  const error = new Error(
    `the native addon could not be loaded. Tried:\n${reasons.map((r) => `  - ${r}`).join("\n")}\nPossible ` +
      "solutions:\n" +
      solutions.map((s) => `  - ${s}`).join("\n"),
  );
  error.code = "ZO2_ERR_ADDON";
  return error;
}

let loaded;

function loadNative() {
  if (loaded !== undefined) return loaded;
  const bindings = require("bindings");
  const reasons = [];
  for (const folder of candidates()) {
    const file = path.join(folder, "zo2.node");
    if (!fs.existsSync(file)) {
      reasons.push(`${file}: no such file`);
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
      return native;
    } catch (error) {
      reasons.push(`${file}: ${error.message}`);
    }
  }
  throw addonError(reasons);
}

module.exports = { loadNative, packageRoot };
