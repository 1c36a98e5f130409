"use strict";

/**
 * Packages that bring a built addon: `@zo2/linux-x64-cuda` and `@zo2/linux-x64` (scripts/prebuild.mjs packs them).
 * The first that is installed and fits this package, this system and its C library counts.
 */
const { spawnSync } = require("node:child_process");
const fs = require("node:fs");
const path = require("node:path");

const packageRoot = path.join(__dirname, "..");

/** In the order in which they are looked for. */
const PACKAGES = ["-cuda", ""].map((variant) => `@zo2/${process.platform}-${process.arch}${variant}`);

/** Version of glibc that this process runs on; undefined with another C library (musl). */
function glibcVersion() {
  // Looking up network interfaces can take seconds.
  process.report.excludeNetwork = true;
  return process.report.getReport().header.glibcVersionRuntime;
}

const parts = (version) => version.split(".").map(Number);

function isOlder(version, other) {
  const [a, b] = [parts(version), parts(other)];
  const at = b.findIndex((number, i) => number !== (a[i] ?? 0));
  return at >= 0 && (a[at] ?? 0) < b[at];
}

/** Why the package with this manifest cannot be used here; undefined when it can. */
function unfit({ version, zo2: { contract, glibc } }, own) {
  if (version !== own.version) return `is version ${version}, and this is zo2 ${own.version}; install them together`;
  if (contract !== own.contract) return `is for contract version ${contract}, and this zo2 has ${own.contract}`;
  if (typeof process.report?.getReport !== "function") return undefined; // The dynamic linker will tell.
  const here = glibcVersion();
  if (here === undefined) return "needs glibc, and this system has another C library";
  if (isOlder(here, glibc)) return `needs glibc ${glibc} or later, and this system has ${here}`;
  return undefined;
}

/**
 * The packages that are installed, those that cannot be used with the reason.
 * @param contract the version of the contract that the package has
 */
function prebuilts(contract) {
  const { version } = JSON.parse(fs.readFileSync(path.join(packageRoot, "package.json"), "utf8"));
  return PACKAGES.flatMap((name) => {
    let manifest;
    try {
      manifest = require.resolve(`${name}/package.json`);
    } catch {
      return [];
    }
    const read = JSON.parse(fs.readFileSync(manifest, "utf8"));
    const folder = path.dirname(manifest);
    return [{ name, folder, refused: unfit(read, { version, contract }) }];
  });
}

/**
 * Whether an installation needs no build: the name of the package that brings the addon, if one does, and why others do
 * not. Loads it, in another process: only that tells whether it can be loaded.
 */
function usablePrebuilt(contract) {
  const refused = [];
  for (const { name, refused: reason } of prebuilts(contract)) {
    if (reason !== undefined) {
      refused.push(`${name} ${reason}`);
      continue;
    }
    const program = `require(${JSON.stringify(path.join(__dirname, "native.cjs"))}).loadNative()`;
    const environment = { ...process.env, ZO2_ADDON: name };
    const { status, stderr } = spawnSync(process.execPath, ["-e", program], { env: environment, encoding: "utf8" });
    if (status === 0) return { name, refused };
    refused.push(`${name} cannot be loaded: ${/^Error: .*$/m.exec(stderr)?.[0] ?? stderr.trim()}`);
  }
  return { name: undefined, refused };
}

module.exports = { prebuilts, usablePrebuilt };
