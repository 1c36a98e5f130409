/**
 * Includes of the native side: contract/ is the ground and knows nothing of ours; disk/ knows contract/; cpu/ and cuda/
 * know these two and numerics/; emulator/ knows the instructions of cuda/ that it stands in for, and is known where
 * kernels meet CUDA's device side, and nowhere else; binding/ knows zo2.h, the names of its numbers, numerics/ and
 * Node-API, and the name of a backend only where backends are listed.
 */
import { existsSync } from "node:fs";
import path from "node:path";
import { breachAt, files, root, textOf } from "./report.mjs";

const isNode = (included) => /^(napi|node|js_native_api|uv|v8)[\w-]*\.h$/.test(included);

/** Whether a quoted include is a file of `folder`: named from the root, from the folder, or from the including file. */
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

const isBackendsOwn = (backend) => (included, file) =>
  /^(contract|disk|numerics)\//.test(included) || isOwn(backend, included, file) || EMULATIONS[file] === included;

/**
 * By folder, whether a file may include a quoted name; angle brackets are for others' headers, Node's in binding/ only.
 */
const QUOTED = {
  numerics: (included) => included.startsWith("numerics/"),
  contract: (included, file) => isOwn("contract", included, file),
  disk: (included, file) => included.startsWith("contract/") || isOwn("disk", included, file),
  cpu: isBackendsOwn("cpu"),
  cuda: isBackendsOwn("cuda"),
  emulator: (included, file) => included.startsWith("cuda/instructions/") || isOwn("emulator", included, file),
  binding: (included) =>
    ["build_info.h", "contract/zo2.h", "contract/names.h"].includes(included) ||
    included.startsWith("numerics/") ||
    existsSync(path.join(root, "binding", included)),
  bench: (included) => !included.startsWith("emulator/"),
  test: (included) => !included.startsWith("emulator/"),
};
const WITH_NODE = ["binding", "bench", "test"];

function breachesOf(folder) {
  return files(folder, /\.(h|cc|cu|cuh)$/).flatMap((file) => {
    const text = textOf(file);
    return [...text.matchAll(/^[ \t]*#[ \t]*include[ \t]*(["<])([^">]+)[">]/gm)].flatMap((match) => {
      const [, quote, included] = match;
      const allowed = quote === '"' ? QUOTED[folder](included, file) : WITH_NODE.includes(folder) || !isNode(included);
      return allowed ? [] : [breachAt(file, text, match.index, `includes ${included}`)];
    });
  });
}

/** A backend's name where backends are not listed. */
function namedBackends() {
  return files("binding", /\.(h|cc)$/)
    .filter((file) => file !== path.join("binding", "addon.cc"))
    .flatMap((file) => {
      const text = textOf(file);
      return [...text.matchAll(/zo2_(cpu|cuda)_\w+|\bcuda[A-Z]\w+|zo2::(cpu|cuda)/g)].map((match) =>
        breachAt(file, text, match.index, `names ${match[0]}`),
      );
    });
}

export function includeBreaches() {
  return [...Object.keys(QUOTED).flatMap(breachesOf), ...namedBackends()];
}
