/** What a shared object asks of a system, by binutils. */
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { BuildError } from "../addon/settings.mjs";

/** Libraries that every system has on which Node runs: the C library's, and GCC's support library. */
const LIBRARIES = /^(lib(c|m|dl|rt|pthread|gcc_s)|ld-linux[\w-]*)\.so\.\d+$/;
/** Debian 12, Ubuntu 22.04, Red Hat 9, Amazon Linux 2023 and what came after them. */
const LATEST_GLIBC = "2.34";

const objdump = (...args) => execFileSync("objdump", args, { encoding: "utf8", maxBuffer: 2 ** 28 });
const byVersion = (a, b) => a.localeCompare(b, "en", { numeric: true });

/**
 * The least version of glibc, and the libraries.
 * @throws BuildError where that is more than a plain system has
 */
export function needsOf(file) {
  const libraries = [...objdump("-p", file).matchAll(/^\s*NEEDED\s+(\S+)/gm)].map(([, name]) => name);
  const undefinedSymbols = objdump("-T", file)
    .split("\n")
    .filter((line) => line.includes("*UND*"));
  const versions = undefinedSymbols.flatMap((line) => /\(GLIBC_([\d.]+)\)/.exec(line)?.[1] ?? []);
  const glibc = versions.sort(byVersion).at(-1);
  const foreign = libraries.filter((name) => !LIBRARIES.test(name));
  if (foreign.length > 0) throw new BuildError(`${file} needs ${foreign.join(", ")}, which a plain system may lack`);
  if (byVersion(glibc, LATEST_GLIBC) > 0) {
    const late = undefinedSymbols.filter(
      (line) => byVersion(/GLIBC_([\d.]+)/.exec(line)?.[1] ?? "0", LATEST_GLIBC) > 0,
    );
    throw new BuildError(`${file} needs glibc ${glibc}; ${LATEST_GLIBC} is the latest that is allowed`, late);
  }
  return { glibc, libraries };
}

function objectsIn(folder) {
  return fs
    .readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".o"))
    .map((name) => path.join(folder, name));
}

/**
 * What is compiled for instructions that a processor may lack (cpu/ops/*_avx2.cc) is entered only after the processor
 * was asked. An inline function in it that another file has too could be the one that the linker keeps, for all.
 * @returns whether the objects are there to be looked at: not where the addon came from the cache
 * @throws BuildError that names such functions
 */
export function checkFlavours(buildDir) {
  const flavoured = objectsIn(buildDir).filter((file) => /_avx2\.cc\.o$/.test(file));
  const shared = flavoured.flatMap((file) =>
    execFileSync("nm", ["--defined-only", file], { encoding: "utf8" })
      .split("\n")
      .filter((line) => / [WVu] /.test(line) && !line.includes("avx2"))
      .map((line) => `${path.basename(file)}: ${line}`),
  );
  if (shared.length > 0) throw new BuildError("functions for AVX2 that other files may have too", shared);
  return flavoured.length > 0;
}
