import { formatBytes, formatCount } from "../report/units.js";
import type { CommandSpec } from "./command.js";
import { EXIT } from "./exit.js";
import { COMMON_FLAGS } from "./flags.js";

export const reportCommand: CommandSpec = {
  name: "report",
  summary: "one HTML file on a run, or on several over one another",
  details:
    "Losses, evaluations, projected gradients, learning rate, tokens/s, memory plan, options and sessions of runs, " +
    "by their folders or journals. The file needs no network and nothing beside it.",
  arguments: "<run...>",
  flags: ["out", ...COMMON_FLAGS],
  help: {
    out: "HTML file to write (default: report.html in the run's folder, or <journal>.html beside a file)",
  },
  examples: [
    "zo2 report tuned.run",
    "zo2 report tuned.run/run.zo2 --out tuned.html",
    "zo2 report lr-1e-6.run lr-1e-5.run --out rates.html",
  ],
  async run(flags, _context, output, runs) {
    const { writeReport } = await import("../page/report.js");
    const { out, bytes, runs: written } = await writeReport(runs, flags.out);
    const steps = written.reduce((sum, run) => sum + run.steps, 0);
    const evaluations = written.reduce((sum, run) => sum + run.evaluations, 0);
    const what = written.length === 1 ? "" : ` of ${formatCount(written.length)} runs`;
    await output.result([`${formatCount(steps)} steps${what} are in ${out} (${formatBytes(bytes)})`], {
      ...{ out, bytes, runs: written.length, steps, evaluations },
    });
    return EXIT.ok;
  },
};
