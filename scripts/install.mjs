/**
 * Builds the addon with cmake-js into build/ (npm's install script, and `npm run build:native`). Does nothing when a
 * build of the right contract is there and no source is newer.
 *
 *   --debug          a Debug build          --force   build even when nothing changed
 *   ZO2_CUDA         auto | on | off: the CUDA backend; emulated | emulated-race: its kernels on the CPU, for tests
 *   ZO2_CUDA_ARCHITECTURES  what the kernels are compiled for, as CMake writes it: "90a-real;80-virtual"
 *   ZO2_TESTS        on: the C++ tests too, in the same folder
 *   ZO2_BLAS         auto | on | off: the matrix product of the CPU backend
 *   ZO2_BUILD_DIR    another folder than build/
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, readdirSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const require = createRequire(import.meta.url);
const debug = process.argv.includes("--debug");
const configuration = debug ? "Debug" : "Release";
const buildDir = path.resolve(root, process.env.ZO2_BUILD_DIR || "build");
const addon = path.join(buildDir, configuration, "zo2.node");
const stampFile = path.join(buildDir, configuration, "zo2.stamp.json");

const VALUES = { ZO2_CUDA: ["auto", "on", "off", "emulated", "emulated-race"], ZO2_BLAS: ["auto", "on", "off"] };

/** The options that the environment sets; those it leaves alone keep CMake's default, "auto". */
function options() {
  const chosen = {};
  for (const [name, values] of Object.entries(VALUES)) {
    const value = process.env[name] || "auto";
    if (!values.includes(value)) fail(`${name} is "${value}"; use ${values.join(", ")}`);
    chosen[name] = value;
  }
  if (process.env.ZO2_TESTS === "on") chosen.ZO2_TESTS = "ON";
  if (process.env.ZO2_CUDA_ARCHITECTURES) chosen.ZO2_CUDA_ARCHITECTURES = process.env.ZO2_CUDA_ARCHITECTURES;
  return chosen;
}

/** Newest modification time, in milliseconds, of everything that the addon is built from. */
function newestSource() {
  let newest = statSync(path.join(root, "CMakeLists.txt")).mtimeMs;
  const visit = (folder) => {
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      const file = path.join(folder, entry.name);
      if (entry.isDirectory()) visit(file);
      else if (/\.(h|cc|cu|cuh|cmake)$|CMakeLists\.txt$/.test(entry.name))
        newest = Math.max(newest, statSync(file).mtimeMs);
    }
  };
  for (const folder of ["binding", "cmake", "contract", "cpu", "cuda", "emulator", "numerics"]) {
    if (existsSync(path.join(root, folder))) visit(path.join(root, folder));
  }
  return newest;
}

/** What a build depends on besides its sources. */
function stamp(chosen) {
  const header = readFileSync(path.join(root, "contract", "zo2.h"), "utf8");
  const contract = Number(/#define ZO2_CONTRACT_VERSION (\d+)u/.exec(header)?.[1]);
  return { contract, ...chosen };
}

function upToDate(chosen) {
  if (!existsSync(addon) || !existsSync(stampFile)) return false;
  if (readFileSync(stampFile, "utf8") !== JSON.stringify(stamp(chosen))) return false;
  return statSync(stampFile).mtimeMs >= newestSource();
}

/** First line of what `command` says of its version; undefined when it is not there. */
function version(command) {
  const result = spawnSync(command, ["--version"], { encoding: "utf8" });
  return result.status === 0 ? result.stdout.split("\n")[0] : undefined;
}

function fail(reason) {
  const compiler = process.env.CXX || "c++";
  const found = [
    ["cmake", version("cmake")],
    [compiler, version(compiler) ?? version("g++") ?? version("clang++")],
  ];
  console.error(
    [
      `zo2: the native addon was not built: ${reason}`,
      `Tried: cmake-js, into ${buildDir}`,
      ...found.map(([name, text]) => `  ${name}: ${text ?? "not found"}`),
      "Needed: CMake 3.18 or later, a C++17 compiler, make or ninja; OpenBLAS makes it faster, a CUDA toolkit " +
        "adds the CUDA backend.",
      "  Debian, Ubuntu: apt install cmake g++ make libopenblas-pthread-dev",
      "  Fedora: dnf install cmake gcc-c++ make openblas-devel",
      "Then: npm rebuild zo2 (or, in a clone, npm run build:native)",
    ].join("\n"),
  );
  process.exit(1);
}

function build(chosen) {
  const cli = path.join(path.dirname(require.resolve("cmake-js/package.json")), "bin", "cmake-js");
  const flags = ["-d", root, "-O", buildDir, "-p", "2", "-B", configuration];
  const settings = Object.entries(chosen).map(([name, value]) => `--CD${name}=${value}`);
  // Configuring first, always: "build" alone keeps the options of an earlier configuration.
  for (const command of ["configure", "build"]) {
    const result = spawnSync(process.execPath, [cli, command, ...flags, ...settings], { stdio: "inherit", cwd: root });
    if (result.error !== undefined) fail(`cmake-js could not be started: ${result.error.message}`);
    if (result.status !== 0)
      fail(`cmake-js ${command} ended with ${result.signal ?? `exit code ${result.status}`}; its messages are above`);
  }
  if (!existsSync(addon)) fail(`cmake-js succeeded, but ${addon} is not there`);
}

const chosen = options();
if (!process.argv.includes("--force") && upToDate(chosen)) {
  console.log(`zo2: ${path.relative(process.cwd(), addon)} is up to date`);
} else {
  if (version("cmake") === undefined) fail("cmake was not found");
  const started = new Date();
  build(chosen);
  mkdirSync(path.dirname(stampFile), { recursive: true });
  writeFileSync(stampFile, JSON.stringify(stamp(chosen)));
  // As old as the start of the build: a source that was changed while it ran is newer.
  utimesSync(stampFile, started, started);
}
