/** What a build needs of this machine: what is there, and what is missing. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import process from "node:process";
import { BuildError } from "./settings.mjs";

const require = createRequire(import.meta.url);
const LEAST_CMAKE = [3, 18];

/** First line of what a command says of itself; undefined where it cannot be run. */
function says(command, argument = "--version") {
  const result = spawnSync(command, [argument], { encoding: "utf8" });
  if (result.status !== 0) return undefined;
  return result.stdout.split("\n").find((line) => line.trim() !== "") ?? command;
}

function first(commands) {
  for (const command of commands) {
    const line = command === undefined || command === "" ? undefined : says(command);
    if (line !== undefined) return { command, line };
  }
  return undefined;
}

function cmake() {
  const line = says("cmake");
  const [, major, minor] = /(\d+)\.(\d+)/.exec(line ?? "") ?? [];
  const recent =
    Number(major) > LEAST_CMAKE[0] || (Number(major) === LEAST_CMAKE[0] && Number(minor) >= LEAST_CMAKE[1]);
  return { found: line, fits: line !== undefined && recent };
}

/** Where CUDA toolkits lie when their nvcc is not on the PATH. */
function nvccs() {
  const { CUDACXX, CUDA_HOME, CUDA_PATH } = process.env;
  const folders = [CUDA_HOME, CUDA_PATH, "/usr/local/cuda"].filter((folder) => folder !== undefined && folder !== "");
  const beside = folders.map((folder) => path.join(folder, "bin", "nvcc")).filter((file) => existsSync(file));
  return [CUDACXX, "nvcc", ...beside];
}

/** The CUDA compiler, by its command; undefined where there is none. */
export const nvcc = () => first(nvccs())?.command;

/** The packages that a build uses. They are dependencies of this one: missing only where somebody took them out. */
function packages() {
  return ["cmake-js", "node-addon-api", "node-api-headers"].filter((name) => {
    try {
      require.resolve(`${name}/package.json`);
      return false;
    } catch {
      return true;
    }
  });
}

/** What installs everything that a build needs, by distribution. */
const INSTALL = [
  "Debian, Ubuntu: apt install cmake g++ make libopenblas-pthread-dev liburing-dev",
  "Fedora: dnf install cmake gcc-c++ make openblas-devel",
  "Alpine: apk add cmake g++ make linux-headers openblas-dev",
];

/**
 * @returns for each need a line of what was found, or that it is missing
 * @throws BuildError that lists all that is missing, when something that a build cannot do without is
 */
export function checkTools({ cuda }) {
  const maker = first(["ninja", "make"]);
  const compiler = first([process.env.CXX, "c++", "g++", "clang++"]);
  const toolkit = nvcc();
  const { found, fits } = cmake();
  const absent = packages();
  const needs = [
    { name: `CMake ${LEAST_CMAKE.join(".")} or later`, found, fits },
    { name: "a C++17 compiler", found: compiler?.line, fits: compiler !== undefined },
    {
      name: "make or ninja",
      found: maker && `${maker.command} ${maker.line.replace(/^GNU Make /, "")}`,
      fits: maker !== undefined,
    },
    {
      name: "the headers of Node-API and cmake-js",
      found: absent.length === 0 ? "packages of this project" : `not installed: ${absent.join(", ")}`,
      fits: absent.length === 0,
    },
    {
      name: "a CUDA toolkit 12.5 or later",
      found: toolkit ?? (cuda === "on" ? undefined : "none, the CUDA backend is left out"),
      fits: cuda !== "on" || toolkit !== undefined,
    },
  ];
  const lines = needs.map(
    ({ name, found: what, fits: ok }) => `${ok ? "there  " : "MISSING"} ${name}: ${what ?? "not found"}`,
  );
  const missing = needs.filter(({ fits: ok }) => !ok).map(({ name }) => name);
  if (missing.length === 0) return lines;
  throw new BuildError(`missing: ${missing.join("; ")}`, [...lines, ...INSTALL]);
}
