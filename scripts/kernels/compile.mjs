/**
 * Compiles the kernels of cuda/ down to machine code, each file once for all architectures, and reads what came
 * out.
 */
import { execFile } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { readCubin } from "./cubin.mjs";

const run = promisify(execFile);
const OUTPUT_BYTES = 64 << 20;

/**
 * The kernel files below `root`, and whether each has to be compiled without fused operations, from
 * cuda/sources.cmake.
 */
export function kernelFiles(root) {
  const text = fs.readFileSync(path.join(root, "cuda", "sources.cmake"), "utf8");
  const listed = (name) => {
    const block = new RegExp(`set\\(${name}\\s([^)]*)\\)`).exec(text);
    if (block === null) throw new Error(`cuda/sources.cmake has no ${name}`);
    return block[1].split(/\s+/).filter((file) => file.endsWith(".cu"));
  };
  const exact = new Set(listed("zo2_cuda_exact_sources"));
  return listed("zo2_cuda_sources").map((file) => ({ file: `cuda/${file}`, exact: exact.has(file) }));
}

/** What `-Xptxas -v` says of each kernel: {name, arch, registers, spillStores, spillLoads, shared}. */
export function readVerbose(text) {
  const kernels = [];
  let kernel;
  for (const line of text.split("\n")) {
    const entry = /Compiling entry function '(\S+)' for 'sm_(\w+)'/.exec(line);
    if (entry !== null) {
      kernel = { name: entry[1], arch: `sm_${entry[2]}`, registers: 0, spillStores: 0, spillLoads: 0, shared: 0 };
      kernels.push(kernel);
      continue;
    }
    if (kernel === undefined) continue;
    // Of functions that the kernel calls there are lines as well.
    const spills = /(\d+) bytes spill stores, (\d+) bytes spill loads/.exec(line);
    if (spills !== null) {
      kernel.spillStores += Number(spills[1]);
      kernel.spillLoads += Number(spills[2]);
    }
    kernel.registers = Number(/Used (\d+) registers/.exec(line)?.[1] ?? kernel.registers);
    kernel.shared = Number(/(\d+) bytes smem/.exec(line)?.[1] ?? kernel.shared);
  }
  return kernels;
}

/** Bytes of dynamic shared memory by mangled name, from the comments that ZO2_SHARED_DYNAMIC leaves in the PTX. */
export function readDynamicShared(ptx) {
  const bytes = new Map();
  let name;
  for (const line of ptx.split("\n")) {
    name = /\.entry (\S+?)\(/.exec(line)?.[1] ?? name;
    const note = /\/\/ dynamic shared memory: (\d+)/.exec(line);
    if (note !== null) bytes.set(name, Math.max(bytes.get(name) ?? 0, Number(note[1])));
  }
  return bytes;
}

/** The kernels of one file for all architectures, with their instructions. A warning is an error. */
export async function compileKernels(root, nvcc, { file, exact }, archs) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "zo2-kernels-"));
  try {
    const targets = archs.flatMap((arch) => ["-gencode", `arch=${arch.replace("sm", "compute")},code=${arch}`]);
    const { stderr } = await run(
      nvcc,
      [
        "-std=c++17",
        ...(exact ? ["-fmad=false"] : []),
        ...targets,
        "-Werror=all-warnings",
        "-Xptxas",
        "-v",
        "-I.",
      ].concat(["-keep", "-keep-dir", folder, "-fatbin", "-o", path.join(folder, "out.fatbin"), file]),
      { cwd: root, maxBuffer: OUTPUT_BYTES },
    );
    const kernels = readVerbose(stderr);
    const base = path.basename(file, ".cu");
    // With one architecture nvcc leaves it out of the names.
    const made = (arch, ending) => {
      const named = path.join(folder, `${base}.${arch.replace("sm", "compute")}.${ending}`);
      return fs.existsSync(named) ? named : path.join(folder, archs.length === 1 ? `${base}.${ending}` : named);
    };
    return archs.flatMap((arch) => {
      const mine = kernels.filter((kernel) => kernel.arch === arch);
      if (mine.length === 0) return [];
      const code = new Map(
        readCubin(fs.readFileSync(made(arch, "cubin"))).map(({ name, instructions }) => [name, instructions]),
      );
      const dynamic = readDynamicShared(fs.readFileSync(made(arch, "ptx"), "utf8"));
      return mine.map((kernel) => {
        const instructions = code.get(kernel.name);
        if (instructions === undefined) throw new Error(`${file}: no machine code of ${kernel.name} for ${arch}`);
        return { file, ...kernel, dynamic: dynamic.get(kernel.name) ?? 0, instructions };
      });
    });
  } catch (error) {
    throw new Error(`${file}: ${error.stderr ?? error.message}`);
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

/** Readable names of mangled ones: without namespaces, parameters, and what the compiler puts in for anonymous ones. */
export async function demangle(names) {
  const process = run("c++filt", [], { maxBuffer: OUTPUT_BYTES });
  process.child.stdin.end(names.join("\n"));
  const { stdout } = await process;
  return stdout.trimEnd().split("\n").map(shortName);
}

export function shortName(demangled) {
  return demangled
    .replace(/^void /, "")
    .replace(/\(anonymous namespace\)::|_GLOBAL__N__\w+::/g, "")
    .replace(/\((?:\w+::)*(\w+)\)(\d+)/g, "$1 $2")
    .replace(/(\d+)u\b/g, "$1")
    .replace(/zo2::(?:\w+::)*/g, "")
    .replace(/\(.*$/, "")
    .replace(/_kernel\b/, "");
}
