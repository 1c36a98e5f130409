/** Compiles the addon in place: cmake-js configures, CMake builds, an earlier build of the same is taken instead. */
import { spawn } from "node:child_process";
import fs from "node:fs";
import { createRequire } from "node:module";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { cacheFolder, cacheKey, putIntoCache, takeFromCache } from "./cache.mjs";
import { architecturesFor, detectedGpus, inWords } from "./gpus.mjs";
import { Progress } from "./progress.mjs";
import { BuildError, contractVersion, root } from "./settings.mjs";
import { newestSource } from "./sources.mjs";
import { checkTools, nvcc } from "./tools.mjs";

const require = createRequire(import.meta.url);

/** By kind of file, about how many seconds of one core it takes, a kernel for each architecture. */
const SECONDS = { cc: 1, cu: 3 };
/** What a compiler takes at most; nvcc was measured. */
const COMPILER_BYTES = 512 * 2 ** 20;
const LOG_LINES = 60;

/** What a build was made of besides its sources. */
const madeOf = (options) => ({ contract: contractVersion(), ...options });

/** Whether a build of these options is there and no source is newer. */
export function isUpToDate({ addon, stampFile, options }) {
  if (!fs.existsSync(addon) || !fs.existsSync(stampFile)) return false;
  const { asked: _, ...made } = JSON.parse(fs.readFileSync(stampFile, "utf8"));
  return JSON.stringify(made) === JSON.stringify(madeOf(options)) && fs.statSync(stampFile).mtimeMs >= newestSource();
}

/**
 * Notes what the build was made of, and whether somebody asked for it or npm's install script made it by itself
 * (binding/native.cjs prefers the first kind).
 */
export function writeStamp({ stampFile, options }, asked, time = new Date()) {
  fs.writeFileSync(stampFile, JSON.stringify({ ...madeOf(options), asked }));
  // As old as the start of the build: a source that was changed while it ran is newer.
  fs.utimesSync(stampFile, time, time);
}

/** The options with the architectures of this machine's GPUs, where nothing says for which to compile. */
export function withArchitectures(options) {
  if (!["auto", "on"].includes(options.ZO2_CUDA) || options.ZO2_CUDA_ARCHITECTURES || nvcc() === undefined)
    return { options, gpus: [] };
  const gpus = detectedGpus();
  if (gpus.length === 0) return { options, gpus };
  return { options: { ...options, ZO2_CUDA_ARCHITECTURES: architecturesFor(gpus).join(";") }, gpus };
}

/** Runs a command, its output into the log; `take` gets every line. Resolves to undefined, or to how it failed. */
async function run(command, args, logFile, take = () => undefined) {
  const toolkit = nvcc();
  const env = toolkit === undefined ? process.env : { ...process.env, CUDACXX: toolkit };
  // A process group of its own: ninja and the compilers have to end, too.
  const child = spawn(command, args, { cwd: root, stdio: ["ignore", "pipe", "pipe"], env, detached: true });
  const stop = (signal) => {
    if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, signal);
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, stop);
  const log = fs.openSync(logFile, "a");
  const read = (stream) =>
    new Promise((resolve) => {
      createInterface({ input: stream, crlfDelay: Infinity })
        .on("line", (line) => {
          fs.writeSync(log, `${line}\n`);
          take(line);
        })
        .on("close", resolve);
    });
  try {
    const [ended] = await Promise.all([
      new Promise((resolve) => {
        child.on("error", (error) => resolve(`could not be started: ${error.message}`));
        child.on("close", (code, signal) =>
          resolve(code === 0 ? undefined : `ended with ${signal === null ? `exit code ${code}` : signal}`),
        );
      }),
      read(child.stdout),
      read(child.stderr),
    ]);
    return ended;
  } finally {
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.off(signal, stop);
    fs.closeSync(log);
  }
}

/** The lines of the log that say why: from the first failed command or CMake error on, or its end. */
function reasonsIn(logFile, failure) {
  // Stopped from outside: the log knows nothing about it.
  if (/SIG[A-Z]+$/.test(failure)) return [];
  const lines = fs.readFileSync(logFile, "utf8").trimEnd().split("\n");
  const first = lines.findIndex((line) => /^FAILED: |^CMake Error|\berror:/.test(line));
  return (first < 0 ? lines.slice(-LOG_LINES) : lines.slice(first, first + LOG_LINES)).map((line) => `  ${line}`);
}

async function configure(settings, options) {
  const { buildDir, configuration, logFile } = settings;
  const cli = path.join(path.dirname(require.resolve("cmake-js/package.json")), "bin", "cmake-js");
  const defined = { ...options, ZO2_PORTABLE: options.ZO2_PORTABLE === "on" ? "ON" : "OFF" };
  const flags = Object.entries(defined).map(([name, value]) => `--CD${name}=${value}`);
  const args = [cli, "configure", "-d", root, "-O", buildDir, "-B", configuration, ...flags];
  const said = {};
  const take = (line) => {
    const [, what, value] = /^-- zo2: ([^:]+): (.*)$/.exec(line) ?? [];
    if (what !== undefined) said[what] = value;
  };
  let failed = await run(process.execPath, args, logFile, take);
  const leftOver = path.join(buildDir, "CMakeCache.txt");
  if (failed !== undefined && fs.existsSync(leftOver)) {
    // Of another generator, or from before the folder was moved.
    fs.rmSync(leftOver);
    fs.rmSync(path.join(buildDir, "CMakeFiles"), { recursive: true, force: true });
    failed = await run(process.execPath, args, logFile, take);
  }
  if (failed !== undefined) throw new BuildError(`cmake-js configure ${failed}`, reasonsIn(logFile, failed));
  return said;
}

/** The static libraries that were linked in, by CMake's own note of them. */
function linkedLibraries(buildDir) {
  const cache = fs.readFileSync(path.join(buildDir, "CMakeCache.txt"), "utf8");
  return [...cache.matchAll(/^ZO2_(?:OPENBLAS|LIBURING)_STATIC:\w+=(.*)$/gm)]
    .map(([, file]) => file)
    .filter((file) => fs.existsSync(file));
}

/** How many compilers run at a time: one a core, as far as memory goes. */
function parallel() {
  return Math.max(1, Math.min(os.availableParallelism(), Math.floor(process.availableMemory() / COMPILER_BYTES)));
}

/** How long, from the number of files: `"about 3 min"`. */
export function estimate({ cc, cu }, architectures, jobs) {
  const seconds = (cc * SECONDS.cc + cu * SECONDS.cu * architectures) / jobs;
  return seconds < 50 ? "less than a minute" : `about ${Math.round(seconds / 60)} min`;
}

function filesToCompile(buildDir) {
  const commands = JSON.parse(fs.readFileSync(path.join(buildDir, "compile_commands.json"), "utf8"));
  const cu = commands.filter(({ file }) => file.endsWith(".cu")).length;
  return { cc: commands.length - cu, cu };
}

/**
 * Builds the addon of `settings`; `say` gets lines for people.
 * @throws BuildError
 */
export async function buildAddon(settings, { force = false, quiet = false, asked = true, say }) {
  const { buildDir, addon, logFile } = settings;
  const { options, gpus } = withArchitectures(settings.options);
  const stamped = { ...settings, options };
  if (!force && isUpToDate(stamped)) {
    if (asked) writeStamp(stamped, asked, fs.statSync(settings.stampFile).mtime);
    say(`${path.relative(process.cwd(), addon)} is up to date`);
    return;
  }
  checkTools({ cuda: options.ZO2_CUDA });
  const started = new Date();
  openLog(logFile);
  const said = await configure(settings, options);
  const architectures = options.ZO2_CUDA_ARCHITECTURES?.split(";") ?? architecturesFor([]);
  const cuda = said["CUDA backend"] ?? "";
  const withCuda = cuda.startsWith("built with");
  say(`CPU backend: ${said["matrix product of the CPU backend"]}`);
  say(`files: ${said.files}`);
  say(`CUDA backend: ${withCuda ? cuda.replace(/^built with (.*) for .*$/, "$1") : cuda}`);
  if (withCuda) {
    const seen = gpus.map(({ name, capability }) => `${name} (${capability.join(".")})`).join(", ");
    const why =
      options.ZO2_CUDA_ARCHITECTURES && gpus.length === 0 ? "as ZO2_CUDA_ARCHITECTURES says" : seen || "no GPU seen";
    say(`  for ${inWords(architectures)} (${why}); ZO2_CUDA=off leaves it out, ZO2_CUDA_ARCHITECTURES chooses`);
  }
  // Tests and debugging are for sources that are being changed.
  const cacheable = settings.configuration === "Release" && !options.ZO2_TESTS && !/^emulated/.test(options.ZO2_CUDA);
  const folder = cacheable ? cacheFolder() : undefined;
  const buildInfo = fs.readFileSync(path.join(buildDir, "generated", "build_info.h"), "utf8");
  const key = folder && cacheKey({ options, buildInfo, libraries: linkedLibraries(buildDir) });
  if (folder !== undefined && !force && takeFromCache(folder, key, addon)) {
    say(`taken from the cache of an earlier build, ${path.join(folder, key)} (ZO2_BUILD_CACHE=off compiles anyway)`);
  } else {
    const jobs = parallel();
    const files = filesToCompile(buildDir);
    say(
      `compiling ${files.cc + files.cu} files into ${path.dirname(addon)}, ` +
        `${estimate(files, architectures.length, jobs)} with ${jobs} at a time; log: ${logFile}`,
    );
    await compile(settings, jobs, quiet);
    const kept = folder !== undefined && putIntoCache(folder, key, addon);
    const seconds = Math.round((Date.now() - started.getTime()) / 1000);
    say(`built in ${seconds} s${kept ? `, and kept for later installations in ${folder}` : ""}`);
  }
  writeStamp(stamped, asked, started);
}

function openLog(logFile) {
  const folder = path.dirname(logFile);
  try {
    fs.mkdirSync(folder, { recursive: true });
    fs.writeFileSync(logFile, "");
  } catch (error) {
    throw new BuildError(`${folder} cannot be written: ${error.message}`, [
      "Let this user write there, or name another folder in ZO2_BUILD_DIR, for the build and for whatever runs zo2.",
    ]);
  }
}

async function compile({ buildDir, configuration, addon, logFile }, jobs, quiet) {
  const progress = new Progress(process.stdout, { quiet });
  const args = ["--build", buildDir, "--config", configuration, "--parallel", String(jobs)];
  const failed = await run("cmake", args, logFile, (line) => progress.take(line));
  progress.end();
  if (failed !== undefined)
    throw new BuildError(`the build ${failed}`, [...reasonsIn(logFile, failed), `The whole log: ${logFile}`]);
  if (!fs.existsSync(addon)) throw new BuildError(`the build succeeded, but ${addon} is not there; log: ${logFile}`);
}
