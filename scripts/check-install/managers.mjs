/** Package managers: how each installs, with and without install scripts, and how it runs a command of a package. */
import fs from "node:fs";
import path from "node:path";
import process from "node:process";

const write = (folder, file, text) => fs.writeFileSync(path.join(folder, file), text);
const project = (folder, more = {}) =>
  write(folder, "package.json", JSON.stringify({ name: "consumer", private: true, version: "1.0.0", ...more }));

function npm(url) {
  const cli = path.join(path.dirname(fs.realpathSync(process.execPath)), "..", "lib/node_modules/npm/bin/npm-cli.js");
  const command = fs.existsSync(cli) ? [process.execPath, cli] : ["npm"];
  return {
    name: "npm",
    environment: { npm_config_registry: url, npm_config_update_notifier: "false" },
    prepare: (folder, { scripts }) => project(folder, scripts ? { allowScripts: { zo2: true } } : {}),
    add: (packages, { scripts }) => [
      ...[...command, "install", "--no-audit", "--no-fund", ...packages],
      ...(scripts ? [] : ["--ignore-scripts"]),
    ],
    exec: (args, shown) => (shown ? ["npx", ...args].join(" ") : [...command, "exec", "--", ...args]),
    node: (args) => [process.execPath, ...args],
  };
}

function pnpm(script, url, work) {
  return {
    name: "pnpm",
    environment: {
      npm_config_registry: url,
      pnpm_config_registry: url,
      XDG_DATA_HOME: path.join(work, "pnpm-data"),
      XDG_CACHE_HOME: path.join(work, "pnpm-cache"),
      CI: "1",
    },
    // Since pnpm 11 an installation that leaves out scripts ends with an error.
    complainsOfScripts: true,
    prepare: (folder) => project(folder),
    add: (packages, { scripts }) => [
      process.execPath,
      script,
      "add",
      ...packages,
      ...(scripts ? ["--allow-build=zo2"] : []),
    ],
    exec: (args, shown) => (shown ? ["pnpm exec", ...args].join(" ") : [process.execPath, script, "exec", ...args]),
    node: (args) => [process.execPath, ...args],
  };
}

function yarn1(script, url, work) {
  return {
    name: "yarn 1",
    environment: { npm_config_registry: url, YARN_REGISTRY: url, YARN_CACHE_FOLDER: path.join(work, "yarn1-cache") },
    prepare: (folder) => project(folder),
    add: (packages, { scripts }) => [
      ...[process.execPath, script, "add", "--non-interactive", ...packages],
      ...(scripts ? [] : ["--ignore-scripts"]),
    ],
    exec: (args, shown) => (shown ? ["yarn run", ...args].join(" ") : [process.execPath, script, "-s", "run", ...args]),
    node: (args) => [process.execPath, ...args],
  };
}

function yarn4(script, url, work, linker) {
  return {
    name: `yarn 4, ${linker}`,
    environment: { YARN_GLOBAL_FOLDER: path.join(work, "yarn4"), YARN_ENABLE_TELEMETRY: "0", CI: "" },
    prepare(folder, { scripts }) {
      project(folder, { dependenciesMeta: { zo2: { built: scripts } } });
      write(folder, "yarn.lock", "");
      const settings = {
        nodeLinker: linker,
        npmRegistryServer: url,
        unsafeHttpWhitelist: ["127.0.0.1"],
        npmMinimalAgeGate: 0,
        enableScripts: scripts,
      };
      write(folder, ".yarnrc.yml", JSON.stringify(settings));
    },
    add: (packages) => [process.execPath, script, "add", ...packages],
    exec: (args, shown) => (shown ? ["yarn run", ...args].join(" ") : [process.execPath, script, "run", ...args]),
    node: (args) => [process.execPath, script, "node", ...args],
  };
}

export function managers(tools, url, work) {
  return [
    npm(url),
    pnpm(tools.pnpm, url, work),
    yarn1(tools.yarn1, url, work),
    yarn4(tools.yarn4, url, work, "node-modules"),
    yarn4(tools.yarn4, url, work, "pnp"),
  ];
}
