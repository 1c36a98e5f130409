#!/usr/bin/env node
import { readFileSync, realpathSync } from "node:fs";
import { dirname, join } from "node:path";
import { compileAddon } from "./compile-addon.js";
import { EXIT, exitQuietlyOnBrokenPipe, interruptSignal } from "./exit.js";
import { runCli } from "./program.js";

/** The folder of the package: the nearest one above this script with its `package.json`. */
function findPackage(): { root: string; version: string } {
  // npm starts the command through a link; the script itself lies in the package.
  let folder = dirname(realpathSync(process.argv[1] ?? "."));
  for (;;) {
    try {
      const { name, version } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as {
        name?: string;
        version?: string;
      };
      if (name === "zo2" && version !== undefined) return { root: folder, version };
    } catch {
      // No package.json here, or one that marks a folder's module kind: look further up.
    }
    if (dirname(folder) === folder) return { root: folder, version: "unknown" };
    folder = dirname(folder);
  }
}

exitQuietlyOnBrokenPipe(process.stdout);
const { root, version } = findPackage();
const run = runCli(process.argv.slice(2), {
  loadApi: async () => (await import("./load-api.js")).api,
  buildAddon: (options) => compileAddon(root, options),
  // Opened only when it is read: a command that does not read it must not hold it.
  get stdin() {
    return process.stdin;
  },
  stdout: process.stdout,
  stderr: process.stderr,
  signal: interruptSignal(process.stderr),
  packageRoot: root,
  version,
});
void run.then((exitCode) => {
  process.exitCode = exitCode;
  // A read of standard input that was given up would keep the process alive.
  if (exitCode === EXIT.interrupted) process.stdin.destroy();
});
