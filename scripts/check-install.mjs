/**
 * Installs the packed package from a registry on this machine with npm, pnpm and Yarn, with install scripts and
 * without, with a package that brings the addon and without, and without a compiler; then does what the commands say.
 *
 *   node scripts/check-install.mjs TARBALL [NAME...]     of `npm pack`; scripts/check-package.sh calls it
 *
 * NAME: the ways whose names begin so, as "pnpm" or "yarn 4, pnp: no scripts"; without one, all of them.
 *
 * Builds are taken from ZO2_BUILD_CACHE, which has to have one of these sources and options.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { managers } from "./check-install/managers.mjs";
import { startRegistry } from "./check-install/registry.mjs";
import { installTools } from "./check-install/tools.mjs";

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const tarball = path.resolve(process.argv[2]);
const work = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), "zo2-install-")));
/** A command that has not ended by then hangs. */
const HUNG_MS = 300_000;
const prebuiltName = `@zo2/linux-${process.arch}`;

/** A PATH with Node and a shell, and nothing that could compile. */
function bareBin() {
  const folder = path.join(work, "bare-bin");
  fs.mkdirSync(folder);
  fs.symlinkSync(process.execPath, path.join(folder, "node"));
  for (const name of ["sh", "bash", "env", "uname", "sed", "dirname", "basename", "readlink", "cat"])
    fs.symlinkSync(
      fs.realpathSync(spawnSync("which", [name], { encoding: "utf8" }).stdout.trim()),
      path.join(folder, name),
    );
  return folder;
}

/** Runs a command in a project; what it printed is in `text`. */
function run([command, ...args], cwd, environment) {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    cwd,
    env: { ...process.env, ...environment },
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
    timeout: HUNG_MS,
    killSignal: "SIGKILL",
  });
  if (error !== undefined) throw new Error(`${error.message}\n${stdout ?? ""}${stderr ?? ""}`);
  return { status, stdout, text: stdout + stderr, shown: `$ ${[command, ...args].join(" ")}\n${stdout}${stderr}` };
}

let failed = 0;
const only = process.argv.slice(3);

/** An empty project for one way of installing; `body` gets its tools. */
function scenario(manager, title, body) {
  const name = `${manager.name}: ${title}`;
  if (only.length > 0 && !only.some((beginning) => name.startsWith(beginning))) return;
  const folder = fs.mkdtempSync(path.join(work, "project-"));
  const log = [];
  const begin = Date.now();
  const at = (bare) => (bare ? { PATH: bare } : {});
  const step = (command, environment) => {
    const result = run(command, folder, { ...manager.environment, ...environment });
    log.push(result.shown);
    return result;
  };
  try {
    body({
      add: (packages, { scripts, bare }) => {
        manager.prepare(folder, { scripts });
        return step(manager.add(packages, { scripts }), at(bare));
      },
      zo2: (args, { bare } = {}) => step(manager.exec(["zo2", ...args]), at(bare)),
      node: (program, { bare } = {}) => step(manager.node(["--input-type=module", "-e", program]), at(bare)),
    });
    console.log(`install: ${name}: ok (${((Date.now() - begin) / 1000).toFixed(0)} s)`);
  } catch (error) {
    failed++;
    console.log(`install: ${name}: FAILED: ${error.message}\n${log.join("\n")}`);
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

const succeeded = ({ status, shown }) => assert.equal(status, 0, shown);

/** The demo computes, three steps of it. */
function demoRuns(zo2, options) {
  const { stdout, status, shown } = zo2(["demo", "--steps", "3", "--json"], options);
  assert.equal(status, 0, shown);
  const line = stdout.split("\n").find((text) => text.startsWith('{"before"'));
  assert.ok(line !== undefined && JSON.parse(line).steps === 3, shown);
}

/** `zo2 info` shows the addon of this kind of place. */
function loadsFrom(zo2, pattern, options) {
  const { stdout, status, shown } = zo2(["info"], options);
  assert.equal(status, 0, shown);
  assert.match(stdout, pattern);
}

/** What needs the addon says so in two lines, with the command that this package manager has for it. */
function saysWhatToDo(manager, { zo2 }) {
  const demo = zo2(["demo"]);
  assert.equal(demo.status, 1, demo.shown);
  assert.match(demo.text, /^ZO2_ERR_ADDON: the native addon is not built: .*\n/m);
  assert.ok(demo.text.includes(`\nbuild it: ${manager.exec(["zo2", "build"], true)} (`), demo.shown);
}

/** What works without the addon. */
function worksWithout({ zo2, node }) {
  loadsFrom(zo2, /^addon +the native addon is not built/m);
  for (const flag of ["--help", "--version"]) succeeded(zo2([flag]));
  const program = `import { loadModel } from "zo2";
    await loadModel("org/none").then(() => process.exit(1),
      ({ code, message }) => console.log(code, message.split("\\n").length));`;
  assert.match(node(program).stdout, /^ZO2_ERR_ADDON 2$/m);
}

function withoutPrebuilt(all, bare) {
  for (const manager of all) {
    scenario(manager, "no scripts, then zo2 build", ({ add, zo2, node }) => {
      const added = add(["zo2"], { scripts: false });
      assert.equal(added.status, manager.complainsOfScripts ? 1 : 0, added.shown);
      saysWhatToDo(manager, { zo2 });
      if (manager.name === "npm") worksWithout({ zo2, node });
      const built = zo2(["build"], { bare });
      assert.equal(built.status, 1, built.shown);
      for (const line of [
        /MISSING CMake 3\.18/,
        /MISSING a C\+\+17 compiler/,
        /MISSING make or ninja/,
        /^ZO2_ERR_ADDON/m,
      ])
        assert.match(built.text, line);
      succeeded(zo2(["build"]));
      demoRuns(zo2);
    });
  }
  const [npm, ...others] = all;
  for (const manager of others)
    scenario(manager, "with scripts", ({ add, zo2 }) => {
      succeeded(add(["zo2"], { scripts: true }));
      loadsFrom(zo2, /build\/Release\/zo2\.node/);
    });
  scenario(npm, "with scripts and no compiler, which npm shows", ({ add }) => {
    const added = add(["zo2"], { scripts: true, bare });
    assert.notEqual(added.status, 0, added.shown);
    assert.match(added.text, /MISSING a C\+\+17 compiler: not found/);
    assert.match(added.text, /Then: npx zo2 build/);
  });
}

function withPrebuilt(all, bare) {
  for (const manager of all)
    for (const scripts of [false, true])
      scenario(manager, `${prebuiltName}, ${scripts ? "with" : "no"} scripts, no compiler`, ({ add, zo2 }) => {
        const added = add(["zo2", prebuiltName], { scripts, bare });
        assert.equal(added.status, manager.complainsOfScripts && !scripts ? 1 : 0, added.shown);
        loadsFrom(zo2, /@zo2.linux-\w+.*zo2\.node/, { bare });
        if (!scripts) demoRuns(zo2, { bare });
      });
}

const tools = installTools(path.join(root, ".cache", "check-install"));
const registry = await startRegistry(tools, path.join(work, "registry"));
try {
  const all = managers(tools, registry.url, work);
  const bare = bareBin();
  registry.publish(tarball);
  withoutPrebuilt(all, bare);
  succeeded(run(["npm", "run", "-s", "prebuild", "--", "cpu", "--out", work], root));
  registry.publish(
    path.join(
      work,
      fs.readdirSync(work).find((name) => /^zo2-linux-.*\.tgz$/.test(name)),
    ),
  );
  withPrebuilt(all, bare);
} finally {
  registry.stop();
  fs.rmSync(work, { recursive: true, force: true });
}
const ways = only.length === 0 ? "every way" : "each of these ways";
console.log(failed === 0 ? `${ways} of installing works` : `${failed} ways of installing FAILED`);
process.exitCode = failed === 0 ? 0 : 1;
