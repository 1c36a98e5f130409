/**
 * Fuzzes what reads bytes from outside: the TypeScript parsers, guided by V8's coverage, and the native ones, with
 * libFuzzer.
 *
 *   npm run fuzz                              every target, two minutes together
 *   npm run fuzz -- bin config --seconds 600  these targets, ten minutes together
 *   npm run fuzz -- --runs 5000 --seed 7      so many executions of each target; the same two numbers, the same inputs
 *   npm run fuzz -- --runs 0                  only the seeds and test/fuzz/regressions
 *   npm run fuzz -- --replay FILE [TARGET]    one input; the target is that in the file's name or folder, or the given
 *   npm run fuzz -- --list                    the targets
 *
 * Findings are written to test/fuzz/findings. A target passes when nothing was found. Without clang++ the native
 * targets are skipped.
 */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import process from "node:process";
import { spawnSync } from "node:child_process";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { buildNative, fuzzNative, NATIVE_TARGETS, replayNative } from "../test/fuzz/lib/native.mjs";
import { fuzzTarget, replayInput } from "../test/fuzz/lib/supervisor.mjs";

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const fuzz = path.join(root, "test", "fuzz");
const findings = path.join(fuzz, "findings");
const dist = path.join(root, "dist", "esm");
const DEFAULT_SECONDS = 120;

const { values: options, positionals: asked } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: "string" },
    runs: { type: "string" },
    seed: { type: "string" },
    replay: { type: "string" },
    list: { type: "boolean" },
  },
});

function fail(message) {
  console.error(`fuzz: ${message}`);
  process.exit(2);
}

/** The number that an option gives, or undefined. */
function number(name) {
  const text = options[name];
  if (text === undefined) return undefined;
  if (!/^\d{1,9}$/.test(text)) fail(`--${name} ${text}: not a whole number from 0 to 999999999`);
  return Number(text);
}

const filesBelow = (folder) =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath ?? entry.path, entry.name));

/** Compiles src/ where dist/ is missing or older. */
function buildTypeScript() {
  const built = path.join(dist, "index.js");
  const made = existsSync(built) ? statSync(built).mtimeMs : 0;
  if (filesBelow(path.join(root, "src")).every((file) => statSync(file).mtimeMs <= made)) return;
  const { status } = spawnSync(process.execPath, [path.join(root, "scripts", "build-ts.mjs")], { stdio: "inherit" });
  if (status !== 0) fail("src/ does not compile");
}

/** Names of the TypeScript targets: one file each. */
const scripted = readdirSync(path.join(fuzz, "targets"))
  .map((file) => path.basename(file, ".mjs"))
  .sort();
const modulePath = (name) => path.join(fuzz, "targets", `${name}.mjs`);
const all = [...scripted, ...NATIVE_TARGETS];

function regressions(name) {
  const folder = path.join(fuzz, "regressions", name);
  return existsSync(folder)
    ? filesBelow(folder)
        .sort()
        .map((file) => readFileSync(file))
    : [];
}

/** Writes a finding and says how to see it again. */
function save(name, { input, report }) {
  mkdirSync(findings, { recursive: true });
  const file = path.join(findings, `${name}--${createHash("sha256").update(input).digest("hex").slice(0, 10)}`);
  writeFileSync(file, input);
  writeFileSync(`${file}.txt`, `${report}\n`);
  console.log(`${name}: FOUND ${report.split("\n").slice(0, 4).join("\n  ").slice(0, 600)}`);
  console.log(`  ${input.length} bytes; node scripts/fuzz.mjs --replay ${path.relative(root, file)}`);
}

function print(name, { executions, corpus, blocks, findings: found, restarts = 0 }, unit) {
  const more = restarts > 0 ? `, ${restarts} restarts` : "";
  console.log(`${name}: ${executions} executions, corpus ${corpus}, ${blocks} ${unit}, ${found} findings${more}`);
}

async function replay(file, [given]) {
  const name =
    given ??
    all.find(
      (one) => path.basename(file).startsWith(`${one}--`) || path.basename(path.dirname(path.resolve(file))) === one,
    );
  if (name === undefined)
    fail(`${file}: neither its name nor its folder says which target it is for; give one of ${all.join(", ")}`);
  let report;
  if (NATIVE_TARGETS.includes(name)) {
    const built = buildNative(root);
    if (built.reason !== undefined) fail(`${name}: ${built.reason}`);
    report = replayNative(built.folder, name, path.resolve(file));
  } else {
    buildTypeScript();
    report = await replayInput(modulePath(name), { dist, root }, readFileSync(file));
  }
  console.log(report === undefined ? `${name}: nothing wrong with ${file}` : `${name}: ${report}`);
  process.exit(report === undefined ? 0 : 1);
}

/** "passed", "failed", or "skipped" where the code that the target is about is not there. */
async function fuzzScripted(name, settings) {
  const { default: target } = await import(pathToFileURL(modulePath(name)).href);
  const missing = await target.missing?.({ dist });
  if (missing !== undefined) {
    console.log(`${name}: skipped: ${missing}`);
    return "skipped";
  }
  const inputs = [...target.seeds(root), ...regressions(name)].filter((input) => input.length <= target.maxBytes);
  const result = await fuzzTarget(
    modulePath(name),
    { dist, root },
    { ...settings, inputs, onFinding: (finding) => save(name, finding) },
  );
  print(name, result, "blocks");
  return result.findings === 0 ? "passed" : "failed";
}

function fuzzCompiled(folder, name, settings) {
  const result = fuzzNative({
    folder,
    name,
    regressions: path.join(fuzz, "regressions", name),
    ...settings,
    onFinding: (finding) => save(name, finding),
  });
  print(name, result, "edges");
  return result.findings === 0 ? "passed" : "failed";
}

async function main() {
  if (options.list) return console.log(all.join("\n"));
  for (const name of asked) if (!all.includes(name)) fail(`there is no target ${name}; there are ${all.join(", ")}`);
  if (options.replay !== undefined) return replay(options.replay, asked);
  const chosen = asked.length > 0 ? asked : all;
  const runs = number("runs");
  const seconds = number("seconds") ?? (runs === undefined ? DEFAULT_SECONDS : Number.MAX_SAFE_INTEGER);
  const seed = number("seed") ?? 1;
  const counts = { passed: 0, failed: 0, skipped: 0 };
  if (chosen.some((name) => scripted.includes(name))) buildTypeScript();
  const native = chosen.some((name) => NATIVE_TARGETS.includes(name)) ? buildNative(root) : {};
  let left = seconds;
  for (const [i, name] of chosen.entries()) {
    const settings = { seed, runs: runs ?? Number.MAX_SAFE_INTEGER, seconds: left / (chosen.length - i) };
    if (!scripted.includes(name) && native.reason !== undefined) {
      console.log(`${name}: skipped: ${native.reason}`);
      counts.skipped++;
      continue;
    }
    const started = performance.now();
    const outcome = scripted.includes(name)
      ? await fuzzScripted(name, settings)
      : fuzzCompiled(native.folder, name, settings);
    left -= Math.min(left, (performance.now() - started) / 1000);
    counts[outcome]++;
  }
  if (native.failed !== undefined) counts.failed++;
  console.log(
    `${counts.passed} passed, ${counts.failed} failed${counts.skipped > 0 ? `, ${counts.skipped} skipped` : ""}`,
  );
  process.exit(counts.failed > 0 ? 1 : 0);
}

await main();
