/**
 * Compiles src/ twice: ES modules into dist/esm, CommonJS (without the command line) into dist/cjs for
 * `require("zo2")`. In an installed package, which brings dist/ and no compiler, it does nothing.
 */
import { spawnSync } from "node:child_process";
import { chmodSync, copyFileSync, cpSync, existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const dist = path.join(root, "dist");

function compiler() {
  try {
    return createRequire(import.meta.url).resolve("typescript/bin/tsc");
  } catch {
    return undefined;
  }
}

function compile(tsc, project) {
  const result = spawnSync(process.execPath, [tsc, "-p", project], { stdio: "inherit", cwd: root });
  if (result.status !== 0) process.exit(result.status ?? 1);
}

/**
 * A package scope of its own. Both TypeScript and Node decide between the module systems by the nearest package.json,
 * and resolve the self-reference "zo2/native" in it; export targets may not leave its folder, hence the forwarding
 * module.
 */
function writeScope(folder) {
  mkdirSync(folder, { recursive: true });
  const exports = { "./native": { types: "./native.d.cts", default: "./native.cjs" } };
  writeFileSync(
    path.join(folder, "package.json"),
    `${JSON.stringify({ name: "zo2", private: true, type: "commonjs", exports }, null, 2)}\n`,
  );
}

function compileCommonJs(tsc) {
  const staging = path.join(dist, ".cjs");
  rmSync(staging, { recursive: true, force: true });
  writeScope(staging);
  cpSync(path.join(root, "src"), path.join(staging, "src"), { recursive: true });
  copyFileSync(path.join(root, "binding", "native.d.cts"), path.join(staging, "native.d.cts"));
  const compilerOptions = { rootDir: "src", outDir: "../cjs", sourceMap: false };
  writeFileSync(
    path.join(staging, "tsconfig.json"),
    JSON.stringify({
      extends: "../../tsconfig.json",
      compilerOptions,
      include: ["src"],
      exclude: ["src/cli", "src/page/browser"],
    }),
  );
  const target = path.join(dist, "cjs");
  rmSync(target, { recursive: true, force: true });
  compile(tsc, path.join(staging, "tsconfig.json"));
  rmSync(staging, { recursive: true });
  writeScope(target);
  writeFileSync(
    path.join(target, "native.cjs"),
    '"use strict";\n\nmodule.exports = require("../../binding/native.cjs");\n',
  );
  writeFileSync(path.join(target, "native.d.cts"), 'export * from "../../binding/native.cjs";\n');
}

const tsc = compiler();
if (tsc === undefined) {
  if (!existsSync(path.join(dist, "esm", "index.js"))) {
    console.error(
      "zo2: dist/ is missing and typescript is not installed; run npm install in a clone of the repository",
    );
    process.exit(1);
  }
  console.log("zo2: typescript is not installed; dist/ stays as it is");
} else {
  await (await import("./build-page.mjs")).buildPage();
  rmSync(path.join(dist, "esm"), { recursive: true, force: true });
  compile(tsc, path.join(root, "tsconfig.json"));
  compileCommonJs(tsc);
  const cli = path.join(dist, "esm", "cli", "main.js");
  if (existsSync(cli)) chmodSync(cli, 0o755);
}
