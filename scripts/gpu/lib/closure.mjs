import fs from "node:fs";
import path from "node:path";

/** Files of a package that nothing loads at run time. */
const UNUSED = /\.(d\.[cm]?ts|[cm]?ts|map|md|markdown|flow)$/i;

/**
 * The installed packages that `names` need, themselves included, as folders relative to `root` ("node_modules/a",
 * "node_modules/a/node_modules/b"): dependencies and those optional ones that are there. A missing optional or peer
 * dependency is nothing.
 *
 * @throws Error when a dependency that is not optional is not installed
 */
export function packageClosure(root, names) {
  const found = new Set();
  const visit = (name, from, optional) => {
    const folder = resolve(root, name, from);
    if (folder === undefined) {
      if (optional) return;
      throw new Error(
        `${name}, which ${path.relative(root, from) || "the package"} needs, is not installed; run npm install`,
      );
    }
    if (found.has(folder)) return;
    found.add(folder);
    const about = JSON.parse(fs.readFileSync(path.join(folder, "package.json"), "utf8"));
    for (const next of Object.keys(about.dependencies ?? {}))
      visit(next, folder, next in (about.optionalDependencies ?? {}));
    for (const next of Object.keys(about.optionalDependencies ?? {})) visit(next, folder, true);
  };
  for (const name of names) visit(name, root, false);
  return [...found].map((folder) => path.relative(root, folder)).sort();
}

/** Node's own rule: the nearest node_modules upwards, not above `root`. */
function resolve(root, name, from) {
  for (let folder = from; ; folder = path.dirname(folder)) {
    const candidate = path.join(folder, "node_modules", name);
    if (fs.existsSync(path.join(candidate, "package.json"))) return candidate;
    if (folder === root) return undefined;
  }
}

/**
 * Copies the files of one package, without the packages inside it, declarations, source maps and documentation.
 * Licences stay.
 */
export function copyPackage(root, folder, target) {
  const from = path.join(root, folder);
  fs.cpSync(from, path.join(target, folder), {
    recursive: true,
    filter: (source) => {
      const inside = path.relative(from, source);
      if (inside === "node_modules" || inside.startsWith(`node_modules${path.sep}`)) return false;
      return !UNUSED.test(source) || /^licen[cs]e/i.test(path.basename(source));
    },
  });
}
