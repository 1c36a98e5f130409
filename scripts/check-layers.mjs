/**
 * Includes and imports go one way: contract/ is the ground and knows nothing of ours; cpu/ and cuda/ know contract/ and
 * numerics/; emulator/ knows the instructions of cuda/ that it stands in for, and is known where kernels meet CUDA's
 * device side, and nowhere else; binding/ knows zo2.h, the names of its numbers, numerics/ and Node-API, and the name
 * of a backend only where backends are listed; src/ knows the native side only as "zo2/native". Prints every breach and
 * fails.
 */
import { existsSync, readFileSync, readdirSync } from "node:fs";
import path from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const breaches = [];

function files(folder, pattern) {
  const absolute = path.join(root, folder);
  if (!existsSync(absolute)) return [];
  return readdirSync(absolute, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && pattern.test(entry.name))
    .map((entry) => path.relative(root, path.join(entry.parentPath ?? entry.path, entry.name)));
}

function breach(file, text, position, what) {
  breaches.push(`${file}:${text.slice(0, position).split("\n").length}: ${what}`);
}

/** Calls `allowed(included, quoted)` for every include of every C++ file below `folder`. */
function checkIncludes(folder, allowed) {
  for (const file of files(folder, /\.(h|cc|cu|cuh)$/)) {
    const text = readFileSync(path.join(root, file), "utf8");
    for (const match of text.matchAll(/^[ \t]*#[ \t]*include[ \t]*(["<])([^">]+)[">]/gm)) {
      const [, quote, included] = match;
      if (!allowed(included, quote === '"', file)) breach(file, text, match.index, `includes ${included}`);
    }
  }
}

const isNode = (included) => /^(napi|node|js_native_api|uv|v8)[\w-]*\.h$/.test(included);

/**
 * Whether a quoted include of a backend is a file of that backend: named from the root, from its folder, or from the
 * including file.
 */
function isOwn(folder, included, file) {
  const inside = (base) => {
    const target = path.relative(root, path.resolve(root, base, included));
    return target.startsWith(folder + path.sep) && existsSync(path.join(root, target));
  };
  return inside(".") || inside(folder) || inside(path.dirname(file));
}

/** Where kernels meet what the emulator has in place of CUDA: its device side, and Hopper's barriers. */
const EMULATIONS = {
  [path.join("cuda", "kernel.h")]: "emulator/device.h",
  [path.join("cuda", "instructions", "mbarrier.h")]: "emulator/hopper.h",
};

checkIncludes("numerics", (included, quoted) => (quoted ? included.startsWith("numerics/") : !isNode(included)));
checkIncludes("contract", (included, quoted, file) => (quoted ? isOwn("contract", included, file) : !isNode(included)));
for (const backend of ["cpu", "cuda"]) {
  checkIncludes(backend, (included, quoted, file) =>
    quoted
      ? /^(contract|numerics)\//.test(included) || isOwn(backend, included, file) || EMULATIONS[file] === included
      : !isNode(included),
  );
}
for (const folder of ["bench", "test"]) checkIncludes(folder, (included) => !included.startsWith("emulator/"));
checkIncludes("emulator", (included, quoted, file) =>
  quoted ? included.startsWith("cuda/instructions/") || isOwn("emulator", included, file) : !isNode(included),
);
checkIncludes(
  "binding",
  (included, quoted) =>
    !quoted ||
    included === "build_info.h" ||
    included === "contract/zo2.h" ||
    included === "contract/names.h" ||
    included.startsWith("numerics/") ||
    existsSync(path.join(root, "binding", included)),
);
for (const file of files("binding", /\.(h|cc)$/)) {
  if (file === path.join("binding", "addon.cc")) continue;
  const text = readFileSync(path.join(root, file), "utf8");
  for (const match of text.matchAll(/zo2_(cpu|cuda)_\w+|\bcuda[A-Z]\w+|zo2::(cpu|cuda)/g))
    breach(file, text, match.index, `names ${match[0]}`);
}

const pkg = JSON.parse(readFileSync(path.join(root, "package.json"), "utf8"));
const packages = Object.keys(pkg.dependencies);
const buildOnly = ["bindings", "cmake-js", "node-addon-api", "node-api-headers"];
for (const file of files("src", /\.ts$/)) {
  const text = readFileSync(path.join(root, file), "utf8");
  for (const match of text.matchAll(/(?:\bfrom|\bimport|\brequire\(|\bimport\()\s*["']([^"']+)["']/g)) {
    const specifier = match[1];
    if (specifier.startsWith(".")) {
      const target = path.relative(root, path.resolve(root, path.dirname(file), specifier));
      if (!target.startsWith(`src${path.sep}`) && target !== "package.json")
        breach(file, text, match.index, `imports ${specifier}, outside src/`);
      else if (!specifier.endsWith(".js"))
        breach(file, text, match.index, `imports ${specifier} without its .js ending`);
    } else if (specifier !== "zo2/native" && !specifier.startsWith("node:")) {
      const name = specifier
        .split("/")
        .slice(0, specifier.startsWith("@") ? 2 : 1)
        .join("/");
      if (!packages.includes(name)) breach(file, text, match.index, `imports ${specifier}, which is not a dependency`);
      if (buildOnly.includes(name))
        breach(file, text, match.index, `imports ${specifier}, which is for the native side`);
    }
  }
}

for (const line of breaches) console.error(line);
console.log(
  breaches.length === 0 ? "layers: every include and import goes the right way" : `layers: ${breaches.length} breaches`,
);
process.exit(breaches.length === 0 ? 0 : 1);
