/**
 * Compiles every kernel for every architecture, with warnings as errors, and writes registers, spills, shared memory
 * and instructions of each to bench/results/kernels.json; the tables of docs/kernels.md are made from that. Needs
 * nvcc, no GPU.
 *
 *   node scripts/kernel-figures.mjs            writes both
 *   node scripts/kernel-figures.mjs --check    fails where a kernel spills more or has grown beyond the file (CI)
 *
 * --jobs N: files compiled at a time. Another version of nvcc makes other code: with one, --check compiles everything
 * and compares the goals alone.
 */
import { execFileSync, spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { readOptions, runMain } from "../bench/lib/options.mjs";
import { compileKernels, demangle, kernelFiles } from "./kernels/compile.mjs";
import { collect, compare, missedGoals } from "./kernels/figures.mjs";

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const results = path.join(root, "bench", "results", "kernels.json");
/** Those of the package (cmake/Cuda.cmake), and the next one. */
const ARCHS = ["sm_80", "sm_90a", "sm_120"];

const nvcc = process.env.CUDACXX || "nvcc";

function compilerVersion() {
  const { status, stdout } = spawnSync(nvcc, ["--version"], { encoding: "utf8" });
  return status === 0 ? (/release [\d.]+, V([\d.]+)/.exec(stdout)?.[1] ?? null) : null;
}

/** Runs `work` on every item, `jobs` at a time. */
async function each(items, jobs, work) {
  const made = new Array(items.length);
  let next = 0;
  const worker = async () => {
    for (let i = next++; i < items.length; i = next++) made[i] = await work(items[i]);
  };
  await Promise.all(Array.from({ length: jobs }, worker));
  return made;
}

await runMain("kernel-figures", async () => {
  const o = readOptions(process.argv.slice(2), { check: false, jobs: os.availableParallelism() });
  const compiler = compilerVersion();
  if (compiler === null) {
    console.log("kernel-figures: skipped, there is no nvcc");
    return 0;
  }
  const files = kernelFiles(root);
  const compiled = (await each(files, o.jobs, (file) => compileKernels(root, nvcc, file, ARCHS))).flat();
  const names = await demangle(compiled.map(({ name }) => name));
  const kernels = collect(compiled.map((kernel, i) => ({ ...kernel, short: names[i] })));
  const missed = missedGoals(kernels);
  console.log(`${kernels.length} kernels of ${files.length} files compile for ${ARCHS.join(", ")}`);
  if (o.check) {
    const recorded = JSON.parse(fs.readFileSync(results, "utf8"));
    if (recorded.compiler === compiler) missed.push(...compare(kernels, recorded.kernels));
    else
      console.log(
        `kernel-figures: recorded with nvcc ${recorded.compiler}, this is ${compiler}: only goals are compared`,
      );
    if (missed.length === 0) return 0;
    throw new Error(`${missed.join("\n  ")}\n  where that is meant: node scripts/kernel-figures.mjs`);
  }
  fs.writeFileSync(results, `${JSON.stringify({ compiler, archs: ARCHS, kernels })}\n`);
  execFileSync("node", ["scripts/bench-tables.mjs"], { cwd: root, stdio: "inherit" });
  if (missed.length > 0) throw new Error(missed.join("\n  "));
  return 0;
});
