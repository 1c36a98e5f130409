import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { inModule } from "../bench/modules.js";

const CLOSURE = "scripts/gpu/lib/closure.mjs";

let root: string;
beforeEach(() => (root = mkdtempSync(join(tmpdir(), "zo2-pack-test-"))));
afterEach(() => rmSync(root, { recursive: true }));

function write(file: string, text: string): void {
  const full = join(root, file);
  mkdirSync(dirname(full), { recursive: true });
  writeFileSync(full, text);
}

const install = (folder: string, about: object) => write(`${folder}/package.json`, JSON.stringify(about));
const closure = (...names: string[]) => inModule(CLOSURE, "return m.packageClosure(args[0], args[1])", root, names);

test("a closure has what packages need, the nearest copy of each, once", () => {
  install("node_modules/a", { dependencies: { b: "1", c: "1" } });
  install("node_modules/b", { dependencies: { c: "2", a: "1" } });
  install("node_modules/c", {});
  install("node_modules/b/node_modules/c", {});
  install("node_modules/unused", {});
  expect(closure("a")).toEqual(["node_modules/a", "node_modules/b", "node_modules/b/node_modules/c", "node_modules/c"]);
});

test("an optional dependency may be missing, another one is an error that names it", () => {
  install("node_modules/a", { optionalDependencies: { b: "1" }, dependencies: { b: "1" } });
  expect(closure("a")).toEqual(["node_modules/a"]);
  install("node_modules/a", { dependencies: { b: "1" } });
  expect(() => closure("a")).toThrow(/^b, which node_modules\/a needs, is not installed/);
});

test("a package is copied without nested packages, declarations and documentation, with its licence", () => {
  const folder = "node_modules/a";
  const files = [
    "index.js",
    "index.d.ts",
    "index.js.map",
    "README.md",
    "LICENSE.md",
    "data.json",
    "lib/x.d.cts",
    "lib/x.cjs",
  ];
  for (const name of files) write(`${folder}/${name}`, "");
  install(`${folder}/node_modules/b`, {});
  inModule(CLOSURE, "m.copyPackage(args[0], args[1], args[2])", root, folder, join(root, "out"));
  const copied = readdirSync(join(root, "out", folder), { recursive: true })
    .map(String)
    .sort();
  expect(copied).toEqual(["LICENSE.md", "data.json", "index.js", "lib", "lib/x.cjs"]);
});

test("tests are compiled to CommonJS that finds its imports beside it", () => {
  write("package.json", "{}");
  write("test/a.test.ts", 'import { two } from "./b.js";\nexport const three: number = two + 1;\n');
  write("test/b.ts", "export const two = 2;\n");
  const target = join(root, "out");
  // Packages come from this repository; the sources from the temporary folder.
  const body = `
    const { precompile } = m;
    return precompile(args[0], args[1], ["test"]);`;
  install("node_modules/@swc/core", { main: "index.js" });
  write(
    "node_modules/@swc/core/index.js",
    `module.exports = require(${JSON.stringify(require.resolve("@swc/core"))});`,
  );
  expect(inModule("scripts/gpu/lib/precompile.mjs", body, root, target)).toBe(2);
  const compiled = readFileSync(join(target, "test", "a.test.js"), "utf8");
  expect(compiled).toContain('require("./b.js")');
  expect(compiled).not.toContain(": number");
});

test("the packed jest configuration is the repository's, for JavaScript", () => {
  const text = inModule("scripts/gpu/lib/precompile.mjs", "return m.jestConfig(args[0])", join(__dirname, "../../.."));
  write("jest.config.cjs", String(text));
  const config = require(join(root, "jest.config.cjs"));
  const native = config.projects.find((project: { displayName: string }) => project.displayName === "native");
  expect(native).toMatchObject({
    rootDir: root,
    transform: {},
    testMatch: ["<rootDir>/test/native/**/*.test.js"],
    moduleNameMapper: { "^zo2$": "<rootDir>/src/index.js" },
  });
});
