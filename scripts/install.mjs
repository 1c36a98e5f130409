/**
 * Builds the addon into build/: npm's install script, `zo2 build`, and `npm run build:native`. Does nothing when a
 * build of the right contract is there and no source is newer.
 *
 *   --debug          a Debug build          --force   build even when nothing changed
 *   --quiet          errors only            --install-script   npm runs it, nobody asked: a prebuilt addon will do
 *   ZO2_CUDA         auto | on | off: the CUDA backend; emulated | emulated-race: its kernels on the CPU, for tests
 *   ZO2_CUDA_ARCHITECTURES  what the kernels are compiled for, as CMake writes it: "90a-real;80-virtual"
 *   ZO2_TESTS        on: the C++ tests too, in the same folder; ZO2_TEST_PROGRAMS: those whose names match
 *   ZO2_BLAS         auto | on | off: the matrix product of the CPU backend
 *   ZO2_IO_URING     auto | on | off: how files are read and written
 *   ZO2_PORTABLE     on: the C++ runtime linked in, for an addon that is carried to other machines
 *   ZO2_BUILD_DIR    another folder than build/
 *   ZO2_BUILD_CACHE  folder of earlier builds (~/.cache/zo2/addons), or off
 *   ZO2_ADDON        local: build though a prebuilt addon is there; prebuilt: never build
 */
import { createRequire } from "node:module";
import path from "node:path";
import process from "node:process";
import { buildAddon } from "./addon/build.mjs";
import { BuildError, contractVersion, root, settingsOf } from "./addon/settings.mjs";

const { usablePrebuilt } = createRequire(import.meta.url)("../binding/prebuilt.cjs");
const flags = new Set(process.argv.slice(2));
const quiet = flags.has("--quiet");
/** In a clone, whose root project is this one, the install script is what somebody asked for. */
const asked = !(flags.has("--install-script") && path.basename(path.dirname(root)) === "node_modules");

function say(line) {
  if (!quiet) console.log(`zo2: ${line}`);
}

async function main() {
  const wanted = process.env.ZO2_ADDON;
  if (wanted !== "local" && (!asked || wanted === "prebuilt")) {
    const { name, refused } = usablePrebuilt(contractVersion());
    for (const reason of refused) say(reason);
    if (name !== undefined) return say(`${name} brings the addon; nothing is compiled (ZO2_ADDON=local compiles)`);
    if (wanted === "prebuilt") throw new BuildError("ZO2_ADDON=prebuilt, and there is no prebuilt addon that fits");
  }
  await buildAddon(settingsOf(process.env, { debug: flags.has("--debug") }), {
    force: flags.has("--force"),
    quiet,
    asked,
    say,
  });
}

try {
  await main();
} catch (error) {
  if (!(error instanceof BuildError)) throw error;
  const lines = [`zo2: the native addon was not built: ${error.message}`, ...error.missing.map((line) => `  ${line}`)];
  console.error([...lines, "Then: npx zo2 build (in a clone: npm run build:native)"].join("\n"));
  process.exitCode = 1;
}
