import { spawn } from "node:child_process";
import { join } from "node:path";
import { Zo2Error } from "../base/errors.js";
import type { BuildAddonOptions } from "./context.js";

/** Runs the build of npm's install script, in a process of its own whose words are shown as they come. */
export function compileAddon(packageRoot: string, options: BuildAddonOptions): Promise<boolean> {
  const flags = [...(options.force ? ["--force"] : []), ...(options.quiet ? ["--quiet"] : [])];
  const out = options.toStderr ? 2 : 1;
  const child = spawn(process.execPath, [join(packageRoot, "scripts", "install.mjs"), ...flags], {
    stdio: ["ignore", out, 2],
  });
  return new Promise((resolve, reject) => {
    child.on("error", (cause) =>
      reject(new Zo2Error("ZO2_ERR_ADDON", `the build could not be started: ${cause.message}`, { cause })),
    );
    child.on("close", (code) => resolve(code === 0));
  });
}
