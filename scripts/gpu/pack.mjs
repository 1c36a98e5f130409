/**
 * Packs what a checkout on a bare Linux host with a CUDA toolkit, CMake and g++, and without a network, lacks to build
 * and run the suite and the benches: this Node, the packages, the compiled TypeScript and tests.
 *
 *   node scripts/gpu/pack.mjs [FOLDER]        default gpu-pack/; fails when it and all that git tracks, which travels
 *                                             too, come to more than 64 MiB
 *
 * On the other side, in the checkout: `bash gpu-pack/run.sh 1` (then 2, 3, or none for all) copies the checkout to
 * $ZO2_GPU_DIR (default /tmp/zo2-gpu), unpacks over it and runs scripts/gpu/run.mjs; results go to $OUT (default
 * gpu-out/ in the current folder).
 */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { copyPackage, packageClosure } from "./lib/closure.mjs";
import { jestConfig, precompile } from "./lib/precompile.mjs";

/** What may travel to a lent machine, the checkout included. */
const LIMIT = 64 * 2 ** 20;

/** What jest runs there. */
const TESTS = ["src", "test/native"];

const root = path.dirname(path.dirname(path.dirname(fileURLToPath(import.meta.url))));
const target = path.resolve(process.argv[2] ?? path.join(root, "gpu-pack"));

/** Lays out the tree that the other side unpacks over its checkout. */
function fill(tree) {
  if (!fs.existsSync(path.join(root, "dist", "esm", "index.js")))
    throw new Error("dist/ is missing; run npm run build:ts first");
  fs.cpSync(path.join(root, "dist"), path.join(tree, "dist"), { recursive: true });
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

const compressed = (file) => execFileSync("xz", ["-T0", "-c", file], { maxBuffer: LIMIT });

/** Bytes of the files that git tracks. */
function trackedBytes() {
  const listed = execFileSync("git", ["ls-files", "-z"], { cwd: root, encoding: "utf8" }).split("\0");
  const files = listed.filter((name) => name !== "" && fs.existsSync(path.join(root, name)));
  return files.reduce((sum, name) => sum + fs.lstatSync(path.join(root, name)).size, 0);
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
    const archive = path.join(target, "tree.tar.xz");
    const owner = ["--sort=name", "--owner=0", "--group=0"];
    execFileSync("tar", [...owner, "--use-compress-program=xz -T0", "-cf", archive, "-C", tree, "."]);
    fs.writeFileSync(path.join(target, "node.xz"), compressed(strippedNode(work)));
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
const packed = sizes.reduce((sum, [, size]) => sum + size, 0);
const tracked = trackedBytes();
const mib = (bytes) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;
for (const [name, size] of sizes) console.log(`${name}: ${mib(size)}`);
console.log(
  `${path.relative(process.cwd(), target)}: ${mib(packed)}, and ${mib(tracked)} that git tracks, of ${mib(LIMIT)}`,
);
if (packed + tracked > LIMIT) {
  console.error("pack: too large to be carried to a lent machine");
  process.exitCode = 1;
}
