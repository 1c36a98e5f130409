/**
 * Formatting and lint, of everything that git tracks: biome (TypeScript, JavaScript, JSON), clang-format (C++, CUDA),
 * the few rules below that neither knows, and clang-tidy where it is installed.
 *
 *   npm run lint              everything; prints what is wrong and fails
 *   npm run lint -- --quick   without clang-tidy, which takes minutes
 *   npm run lint -- --jobs 1  one file at a time, where others need the cores; else as many as there are cores
 *   npm run lint -- --no-tests  clang-tidy over the sources alone
 *   npm run format            writes what biome and clang-format would
 */
import { spawn, spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const COLUMNS = 120;
const { values: options } = parseArgs({
  options: {
    write: { type: "boolean" },
    quick: { type: "boolean" },
    jobs: { type: "string" },
    "no-tests": { type: "boolean" },
  },
});
const write = options.write === true;
const quick = options.quick === true;
const jobs = Number(options.jobs ?? os.availableParallelism());

const tracked = spawnSync("git", ["ls-files", "--cached", "--others", "--exclude-standard"], {
  cwd: root,
  encoding: "utf8",
})
  .stdout.split("\n")
  .filter((file) => file !== "" && existsSync(path.join(root, file)));
const ours = tracked.filter(
  (file) => !/^(docs\/demo|test\/fixtures|test\/fuzz\/regressions|bench\/results)\//.test(file),
);
const cpp = ours.filter((file) => /\.(h|cc|cu|cuh)$/.test(file));
const script = ours.filter((file) => /\.(ts|mjs|cjs|cts)$/.test(file));

/** Whether the command found nothing; what it prints is shown. */
function passes(command, args) {
  const result = spawnSync(command, args, { cwd: root, stdio: "inherit" });
  if (result.error !== undefined) console.error(`${command}: ${result.error.message}`);
  return result.status === 0;
}

const tool = (name) => path.join(root, "node_modules", ".bin", name);

/** What no formatter sees: a line that it could not break, and the one way of writing a thing that has several. */
const RULES = [
  {
    files: [...cpp, ...script],
    find: new RegExp(`^.{${COLUMNS + 1},}$`, "gmu"),
    what: `longer than ${COLUMNS} columns`,
  },
  { files: cpp, find: /^#ifndef \w+_H_?$/gm, what: "an include guard: #pragma once is the one way here" },
  { files: cpp, find: /^namespace \w+ \{\nnamespace \w+ \{/gm, what: "nested namespaces: write namespace a::b" },
  {
    files: script.filter((f) => f.startsWith("src/")),
    find: /^\s+(readonly |static )*#\w/gm,
    what: "a #member: private is the one way here",
  },
];

function checkRules() {
  let found = 0;
  for (const { files, find, what } of RULES) {
    for (const file of files) {
      const text = readFileSync(path.join(root, file), "utf8");
      for (const match of text.matchAll(find)) {
        console.error(`${file}:${text.slice(0, match.index).split("\n").length}: ${what}`);
        found++;
      }
    }
  }
  return found === 0;
}

const clangFormat = () => passes(tool("clang-format"), write ? ["-i", ...cpp] : ["--dry-run", "-Werror", ...cpp]);

/** clang-tidy over every C++ file that an emulated build compiles, the kernels among them. */
async function clangTidy() {
  if (spawnSync("clang-tidy", ["--version"]).status !== 0) {
    console.log("lint: clang-tidy is not installed, so nothing was looked for with it");
    return true;
  }
  const folder = path.join(root, "build-lint");
  const cli = path.join(root, "node_modules", "cmake-js", "bin", "cmake-js");
  const settings = ["--CDZO2_CUDA=emulated", "--CDZO2_TESTS=ON", "--CDZO2_BLAS=off"];
  const configured = spawnSync(process.execPath, [cli, "configure", "-d", root, "-O", folder, ...settings], {
    cwd: root,
    encoding: "utf8",
  });
  if (configured.status !== 0) {
    console.error(`lint: clang-tidy needs an emulated build's list of commands:\n${configured.stderr}`);
    return false;
  }
  const commands = JSON.parse(readFileSync(path.join(folder, "compile_commands.json"), "utf8"));
  const known = new Set(commands.map(({ file }) => path.relative(root, file)));
  return checkEach(
    cpp.filter((file) => known.has(file) && !(options["no-tests"] && file.startsWith("test/"))),
    (file) => ["clang-tidy", "-p", folder, "--quiet", file],
  );
}

/** Runs a command for every file, `jobs` at a time, and shows what it prints where it fails. */
async function checkEach(files, commandOf) {
  let ok = true;
  const waiting = [...files];
  const work = async () => {
    for (let file = waiting.shift(); file !== undefined; file = waiting.shift()) {
      const [command, ...args] = commandOf(file);
      const child = spawn(command, args, { cwd: root, stdio: ["ignore", "pipe", "ignore"] });
      const said = await text(child.stdout);
      if ((await new Promise((resolve) => child.on("close", resolve))) === 0) continue;
      console.error(said);
      ok = false;
    }
  };
  await Promise.all(Array.from({ length: jobs }, work));
  return ok;
}

const steps = write
  ? [
      ["biome", () => passes(tool("biome"), ["format", "--write"])],
      ["clang-format", clangFormat],
    ]
  : [
      ["biome", () => passes(tool("biome"), ["check", "--error-on-warnings"])],
      ["clang-format", clangFormat],
      ["rules", checkRules],
      ...(quick ? [] : [["clang-tidy", clangTidy]]),
    ];
let failed = 0;
for (const [name, step] of steps) {
  const begin = performance.now();
  const ok = await step();
  if (!ok) failed++;
  console.log(`lint: ${name}: ${ok ? "ok" : "FAILED"} (${((performance.now() - begin) / 1000).toFixed(1)} s)`);
}
process.exit(failed === 0 ? 0 : 1);
