import { Zo2Error } from "../base/errors.js";
import type { CommandSpec } from "./command.js";
import { EXIT } from "./exit.js";
import { COMMON_FLAGS } from "./flags.js";
import { stopOf } from "./signals.js";

export const addonCommand: CommandSpec = {
  name: "build",
  summary: "compile the native addon here, as `npm install` does where scripts run",
  details:
    "Needs CMake, a C++17 compiler and make or ninja, and says which of them is missing. ZO2_CUDA, ZO2_BLAS and the " +
    "other variables of docs/install.md choose what is built.",
  flags: ["force", ...COMMON_FLAGS],
  examples: ["zo2 build", "ZO2_CUDA=off zo2 build --force"],
  async run(flags, context, output) {
    const options = { force: flags.force === true, quiet: output.quiet, toStderr: flags.json === true };
    const built = !context.signal.aborted && (await context.buildAddon(options));
    const stop = stopOf(context.signal);
    if (stop !== undefined) return stop.exitCode;
    if (!built) {
      throw new Zo2Error(
        "ZO2_ERR_ADDON",
        "the native addon was not built; the lines above say why, and what is missing",
      );
    }
    const { build, file, backends } = await (await context.loadApi()).systemInfo({});
    await output.result([`${file} loads: ${build}`], { file, build, backends });
    return EXIT.ok;
  },
};
