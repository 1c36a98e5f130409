/**
 * Packs what a bare Linux host with a CUDA toolkit, CMake and g++, and without a network, needs to build and run the
 * suite and the benches: this Node, the packages, the sources, the compiled TypeScript and tests.
 *
 *   node scripts/gpu/pack.mjs [FOLDER]        default gpu-pack/; fails when it comes to 60 MiB or more
 *
 * On the other side: `bash gpu-pack/run.sh 1` (then 2, 3) unpacks into $ZO2_GPU_DIR (default /tmp/zo2-gpu) and runs
 * that stage of scripts/gpu; results go to $OUT (default gpu-out/ in the current folder).
 */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import zlib from "node:zlib";
import { copyPackage, packageClosure } from "./lib/closure.mjs";
import { jestConfig, precompile } from "./lib/precompile.mjs";

const LIMIT = 60 * 2 ** 20;

/** Sources and data, as they are. */
const COPIED = [
  "CMakeLists.txt",
  "LICENSE",
  "THIRD_PARTY_NOTICES.md",
  "bench",
  "binding",
  "cmake",
  "contract",
  "cpu",
  "cuda",
  "dist",
  "emulator",
  "docs/demo",
  "numerics",
  "package.json",
  "scripts",
  "test/fixtures",
  "test/native/cpp",
];
/** What jest runs there. */
const TESTS = ["src", "test/native"];

const root = path.dirname(path.dirname(path.dirname(fileURLToPath(import.meta.url))));
const target = path.resolve(process.argv[2] ?? path.join(root, "gpu-pack"));

/** Lays out the tree that the other side unpacks. */
function fill(tree) {
  if (!fs.existsSync(path.join(root, "dist", "esm", "index.js")))
    throw new Error("dist/ is missing; run npm run build:ts first");
  for (const name of COPIED) fs.cpSync(path.join(root, name), path.join(tree, name), { recursive: true });
  const compiled = precompile(root, tree, TESTS);
  fs.writeFileSync(path.join(tree, "jest.config.cjs"), jestConfig(root));
  // The package's own .js files are ES modules; these are not.
  for (const folder of ["src", "test"])
    fs.writeFileSync(path.join(tree, folder, "package.json"), '{ "type": "commonjs" }\n');
  const { dependencies } = JSON.parse(fs.readFileSync(path.join(root, "package.json"), "utf8"));
  const packages = packageClosure(root, [...Object.keys(dependencies), "jest"]);
  for (const folder of packages) copyPackage(root, folder, tree);
  return { compiled, packages: packages.length };
}

/** This Node without its symbols, where strip is installed. */
function strippedNode(work) {
  const file = path.join(work, "node");
  fs.copyFileSync(fs.realpathSync(process.execPath), file);
  try {
    execFileSync("strip", [file], { stdio: ["ignore", "ignore", "pipe"] });
  } catch (error) {
    console.warn(`pack: node keeps its symbols (strip: ${error.code ?? error.message})`);
  }
  return file;
}

function commit() {
  const git = (...args) =>
    execFileSync("git", args, { cwd: root, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
  try {
    return { commit: git("rev-parse", "HEAD"), dirty: git("status", "--porcelain") !== "" };
  } catch {
    return { commit: process.env.GIT_COMMIT ?? "unknown", dirty: true };
  }
}

function pack() {
  const work = fs.mkdtempSync(path.join(os.tmpdir(), "zo2-pack-"));
  try {
    const tree = path.join(work, "tree");
    fs.mkdirSync(tree);
    const counts = fill(tree);
    fs.rmSync(target, { recursive: true, force: true });
    fs.mkdirSync(target, { recursive: true });
    const archive = path.join(target, "tree.tar.gz");
    execFileSync("tar", [
      "--sort=name",
      "--owner=0",
      "--group=0",
      "--use-compress-program=gzip -9",
      "-cf",
      archive,
      "-C",
      tree,
      ".",
    ]);
    fs.writeFileSync(path.join(target, "node.gz"), zlib.gzipSync(fs.readFileSync(strippedNode(work)), { level: 9 }));
    const about = {
      ...commit(),
      date: new Date().toISOString(),
      node: process.version,
      arch: process.arch,
      ...counts,
      id: createHash("sha256").update(fs.readFileSync(archive)).digest("hex"),
    };
    fs.writeFileSync(path.join(target, "pack.json"), `${JSON.stringify(about, null, 2)}\n`);
    fs.copyFileSync(path.join(root, "scripts", "gpu", "run.sh"), path.join(target, "run.sh"));
  } finally {
    fs.rmSync(work, { recursive: true });
  }
}

pack();
const sizes = fs.readdirSync(target).map((name) => [name, fs.statSync(path.join(target, name)).size]);
const total = sizes.reduce((sum, [, size]) => sum + size, 0);
const mib = (bytes) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
for (const [name, size] of sizes) console.log(`${name}: ${mib(size)}`);
console.log(`${path.relative(process.cwd(), target)}: ${mib(total)} of ${mib(LIMIT)}`);
if (total >= LIMIT) {
  console.error("pack: too large to be carried to a lent machine");
  process.exitCode = 1;
}
