/** What npm's install script and `zo2 build` decide and say, without compiling anything. */
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { inModule } from "../bench/modules.js";

const root = resolve(__dirname, "../../..");
const GPUS = "scripts/addon/gpus.mjs";
const KNOWN = ["80-real", "90a-real", "80-virtual"];

let dir: string;
beforeEach(() => (dir = mkdtempSync(join(tmpdir(), "zo2-addon-"))));
afterEach(() => rmSync(dir, { recursive: true, force: true }));

test.each([
  ["no GPU is known", [], KNOWN],
  ["Ampere", [[8, 0]], ["80-real", "80-virtual"]],
  ["Ada, which runs code for 8.0", [[8, 9]], ["80-real", "80-virtual"]],
  ["Hopper", [[9, 0]], ["90a-real", "80-virtual"]],
  [
    "both",
    [
      [9, 0],
      [8, 6],
    ],
    KNOWN,
  ],
  ["Blackwell, by PTX", [[12, 0]], ["80-virtual"]],
  ["one that is too old", [[7, 5]], ["80-virtual"]],
])("the kernels are compiled for the GPUs that are there: %s", (_, capabilities, architectures) => {
  const gpus = capabilities.map((capability) => ({ name: "a GPU", capability }));
  expect(inModule(GPUS, "return m.architecturesFor(args[0], args[1])", gpus, KNOWN)).toEqual(architectures);
});

test("the architectures that the package is compiled for are those of cmake/Cuda.cmake", () => {
  expect(inModule("scripts/addon/settings.mjs", "return m.defaultArchitectures()")).toEqual(KNOWN);
  expect(inModule(GPUS, "return m.inWords(args[0])", KNOWN)).toBe(
    "sm_80, sm_90a, PTX of compute_80 for every other GPU",
  );
});

test.each([
  [
    "[12/48] Building CXX object cpu/CMakeFiles/zo2_cpu.dir/ops/rope.cc.o",
    60_000,
    "12 of 48, 1:00, about 3:00 left: cpu/ops/rope.cc",
  ],
  [
    "[ 50%] Building CUDA object cuda/CMakeFiles/zo2_cuda.dir/ops/rope.cu.o",
    5_000,
    "50 %, 0:05, about 0:05 left: cuda/ops/rope.cu",
  ],
  ["[1/48] Building CXX object CMakeFiles/zo2.dir/binding/addon.cc.o", 1_000, "1 of 48, 0:01: binding/addon.cc"],
  ["[48/48] Linking CXX shared library Release/zo2.node", 90_000, "48 of 48, 1:30"],
])("progress of ninja and of make: %s", (line, ms, text) => {
  const shown = inModule("scripts/addon/progress.mjs", "return m.progressLine(m.stepOf(args[0]), args[1])", line, ms);
  expect(shown).toBe(`zo2: compiling ${text}`);
});

test("what is no progress is passed over", () => {
  expect(inModule("scripts/addon/progress.mjs", "return m.stepOf(args[0]) ?? null", "-- Configuring done")).toBeNull();
});

/** Runs the install script where only these commands are on the PATH. */
function install(commands: Readonly<Record<string, string>>, environment: Readonly<Record<string, string>> = {}) {
  const bin = join(dir, "bin");
  mkdirSync(bin);
  symlinkSync(process.execPath, join(bin, "node"));
  for (const [name, says] of Object.entries(commands)) {
    writeFileSync(join(bin, name), `#!/bin/sh\necho "${says}"\n`);
    chmodSync(join(bin, name), 0o755);
  }
  const { CXX: _, CUDACXX: __, CUDA_HOME: ___, CUDA_PATH: ____, ...clean } = process.env;
  return spawnSync(process.execPath, [join(root, "scripts/install.mjs")], {
    env: { ...clean, PATH: bin, ZO2_BUILD_DIR: join(dir, "build"), ZO2_CUDA: "off", ...environment },
    encoding: "utf8",
  });
}

test("everything that is missing is listed at once, with what is there and what installs it", () => {
  const { status, stdout, stderr } = install({ cmake: "cmake version 3.16.3", make: "GNU Make 4.3" });
  expect({ status, stdout }).toEqual({ status: 1, stdout: "" });
  expect(stderr.split("\n")).toEqual([
    "zo2: the native addon was not built: missing: CMake 3.18 or later; a C++17 compiler",
    "  MISSING CMake 3.18 or later: cmake version 3.16.3",
    "  MISSING a C++17 compiler: not found",
    "  there   make or ninja: make 4.3",
    "  there   the headers of Node-API and cmake-js: packages of this project",
    expect.stringMatching(/^ {2}there {3}a CUDA toolkit 12\.5 or later: /),
    expect.stringContaining("Debian, Ubuntu: apt install"),
    expect.stringContaining("Fedora: dnf install"),
    expect.stringContaining("Alpine: apk add"),
    "Then: npx zo2 build (in a clone: npm run build:native)",
    "",
  ]);
});

test("a variable with a value that it does not take is refused by name", () => {
  const { status, stderr } = install({}, { ZO2_CUDA: "yes" });
  expect(status).toBe(1);
  expect(stderr).toMatch(/^zo2: .*: ZO2_CUDA is "yes"; use auto, on, off, emulated, emulated-race\n/);
});

test("ZO2_ADDON=prebuilt never compiles", () => {
  const { status, stderr } = install({}, { ZO2_ADDON: "prebuilt" });
  expect(status).toBe(1);
  expect(stderr).toMatch(/ZO2_ADDON=prebuilt, and there is no prebuilt addon that fits/);
});

describe("the cache of earlier builds", () => {
  const CACHE = "scripts/addon/cache.mjs";
  const put = (key: string) =>
    inModule(CACHE, "return m.putIntoCache(args[0], args[1], args[2])", join(dir, "cache"), key, join(dir, "addon"));
  const take = (key: string) =>
    inModule(
      CACHE,
      "return m.takeFromCache(args[0], args[1], args[2])",
      join(dir, "cache"),
      key,
      join(dir, "out/zo2.node"),
    );
  beforeEach(() => writeFileSync(join(dir, "addon"), "built"));

  test("gives what was put in under that name, and nothing else", () => {
    expect([take("a"), put("a"), take("b"), take("a")]).toEqual([false, true, false, true]);
  });

  test("takes nothing that others can write", () => {
    put("a");
    chmodSync(join(dir, "cache/a/zo2.node"), 0o777);
    expect(take("a")).toBe(false);
  });

  test("keeps the last eight that were used", () => {
    const names = Array.from({ length: 9 }, (_, i) => `k${i}`);
    for (const [i, key] of names.entries()) {
      put(key);
      utimesSync(join(dir, "cache", key), i + 1, i + 1);
    }
    expect(take("k1")).toBe(true);
    put("last");
    expect(readdirSync(join(dir, "cache")).sort()).toEqual(["k1", "k3", "k4", "k5", "k6", "k7", "k8", "last"]);
  });

  test("names a build by its options, by what CMake chose and by the libraries that are linked in", () => {
    const key = (options: object, buildInfo: string, libraries: string[]) =>
      inModule(CACHE, "return m.cacheKey(args[0])", { options, buildInfo, libraries });
    const library = join(dir, "addon");
    const keys = [
      key({ ZO2_CUDA: "off" }, "GNU 12", [library]),
      key({ ZO2_CUDA: "on" }, "GNU 12", [library]),
      key({ ZO2_CUDA: "off" }, "GNU 13", [library]),
      key({ ZO2_CUDA: "off" }, "GNU 12", []),
    ];
    expect(new Set(keys).size).toBe(4);
    expect(key({ ZO2_CUDA: "off" }, "GNU 12", [library])).toBe(keys[0]);
    writeFileSync(library, "another build of it");
    expect(key({ ZO2_CUDA: "off" }, "GNU 12", [library])).not.toBe(keys[0]);
  });
});

test("the packages that bring the addon are asked for in the version of this one", () => {
  const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
    version: string;
    peerDependencies: Record<string, string>;
    peerDependenciesMeta: object;
  };
  expect(manifest.peerDependencies).toEqual({
    "@zo2/linux-x64": manifest.version,
    "@zo2/linux-x64-cuda": manifest.version,
  });
  expect(manifest.peerDependenciesMeta).toEqual({
    "@zo2/linux-x64": { optional: true },
    "@zo2/linux-x64-cuda": { optional: true },
  });
});
