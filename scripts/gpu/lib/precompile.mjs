import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

/**
 * The TypeScript under `folders`, compiled file by file as @swc/jest does it on the fly, to CommonJS at the same place
 * in `target`: tests find fixtures relative to themselves. Source maps are inside the files, so that a failure names
 * the TypeScript line.
 *
 * @returns how many files
 */
export function precompile(root, target, folders) {
  const swc = createRequire(path.join(root, "package.json"))("@swc/core");
  let files = 0;
  for (const folder of folders) {
    for (const name of fs.readdirSync(path.join(root, folder), { recursive: true })) {
      const file = path.join(folder, name);
      if (!file.endsWith(".ts") || file.endsWith(".d.ts")) continue;
      const { code } = swc.transformFileSync(path.join(root, file), {
        jsc: { target: "es2022", parser: { syntax: "typescript" } },
        module: { type: "commonjs" },
        sourceMaps: "inline",
        swcrc: false,
      });
      const out = path.join(target, file.replace(/\.ts$/, ".js"));
      fs.mkdirSync(path.dirname(out), { recursive: true });
      fs.writeFileSync(out, code);
      files++;
    }
  }
  return files;
}

/** jest.config.cjs over precompiled files: the same projects, `.js` for `.ts`, with nothing left to be made. */
export function jestConfig(root) {
  const { projects, ...rest } = createRequire(import.meta.url)(path.join(root, "jest.config.cjs"));
  const javascript = (text) => text.replace(/\.ts$/, ".js");
  const precompiled = projects.map(({ rootDir: _rootDir, transform: _transform, globalSetup: _setup, ...project }) => ({
    ...project,
    transform: {},
    testMatch: project.testMatch.map(javascript),
    moduleNameMapper: Object.fromEntries(
      Object.entries(project.moduleNameMapper).map(([from, to]) => [from, javascript(to)]),
    ),
  }));
  const text = JSON.stringify({ ...rest, projects: precompiled }, null, 2);
  return (
    `"use strict";\n\nconst config = ${text};\nfor (const project of config.projects) project.rootDir = ` +
    "__dirname;\nmodule.exports = config;\n"
  );
}
