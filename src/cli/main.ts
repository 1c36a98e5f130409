#!/usr/bin/env node
import { readFileSync, realpathSync } from "node:fs";
import { dirname, join } from "node:path";
import { errnoOf } from "../base/guards.js";
import { compileAddon } from "./compile-addon.js";
import { runCli } from "./program.js";
import { Stopping, StopRequest } from "./signals.js";
import { isSameFile, openOutput } from "./streams.js";

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

const stdout = openOutput(process.stdout);
const stderr = openOutput(process.stderr);
const stopping = new Stopping(stderr);
// A reader of remarks alone may go: the work and its result do not need one.
if (isSameFile(process.stdout.fd, process.stderr.fd))
  process.stderr.on("error", (error) => {
    if (errnoOf(error) === "EPIPE") stopping.request(new StopRequest("SIGPIPE"));
  });
const { root, version } = findPackage();
let stdin: NodeJS.ReadStream | undefined;
const run = runCli(process.argv.slice(2), {
  loadApi: async () => (await import("./load-api.js")).api,
  buildAddon: (options) => compileAddon(root, options),
  // Opened only when it is read: a command that does not read it must not hold it.
  get stdin() {
    stdin = process.stdin;
    return stdin;
  },
  stdout,
  stderr,
  signal: stopping.signal,
  packageRoot: root,
  version,
});
void run.then((exitCode) => {
  process.exitCode = exitCode;
  stopping[Symbol.dispose]();
  // A read of standard input that was given up would keep the process alive.
  stdin?.destroy();
});
