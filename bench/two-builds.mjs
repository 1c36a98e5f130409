/**
 * The OPT-125M step of this checkout beside that of another one, built: step by step by turns, so that what the machine
 * does meanwhile meets both alike.
 *
 *   git worktree add /tmp/before COMMIT && cd /tmp/before && npm install
 *   node bench/two-builds.mjs --other /tmp/before [--rounds 8] [--batch 8 --seq 128]
 *
 * Writes bench/results/two-builds-cpu.json (--out). A ratio above 1: this checkout is faster.
 */
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { describeCommit, describeMachine } from "./lib/machine.mjs";
import { OPT_125M } from "./lib/opt-shape.mjs";
import { readOptions, runMain } from "./lib/options.mjs";
import { alternate, Program } from "./lib/program.mjs";
import { compareSpeed, summarise } from "./lib/summary.mjs";
import { DEFAULT_CACHE, ensureModel } from "./peer/make-model.mjs";

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const DEFAULTS = {
  ...{ other: null, rounds: 8, batch: 8, seq: 128, threads: 2, cache: DEFAULT_CACHE },
  out: path.join(root, "bench", "results", "two-builds-cpu.json"),
};

await runMain("two-builds", async () => {
  const o = readOptions(process.argv.slice(2), DEFAULTS);
  if (o.other === null) throw new Error("--other is missing: the folder of another checkout, built");
  const model = ensureModel({ cache: o.cache, ...OPT_125M });
  const scratch = fs.mkdtempSync(path.join(os.tmpdir(), "zo2-two-builds-"));
  const rows = [];
  try {
    for (const offload of ["host", "device"]) {
      const programs = [root, o.other].map((checkout, i) => {
        const file = path.join(scratch, `${offload}-${i}.json`);
        const sizes = ["--batch", String(o.batch), "--seq", String(o.seq), "--threads", String(o.threads)];
        const args = [path.join(checkout, "bench", "mezo-step.mjs"), "--stdin", "--model", model, "--json", file];
        return new Program(checkout, { file: process.execPath, args: [...args, "--offload", offload, ...sizes] }, file);
      });
      try {
        const [own, other] = (await alternate(programs, o.rounds)).map((steps) => steps.slice(1));
        for (const program of programs) await program.finish();
        const tokens = o.batch * o.seq;
        rows.push({
          offload,
          speed: compareSpeed(own, other),
          own: summarise(own, tokens),
          other: summarise(other, tokens),
        });
      } finally {
        await Promise.all(programs.map((program) => program.kill()));
      }
    }
  } finally {
    fs.rmSync(scratch, { recursive: true, force: true });
  }
  const git = ["rev-parse", "HEAD"];
  const result = {
    ...{ bench: "two-builds", date: new Date().toISOString(), node: process.version, ...describeCommit(root) },
    other: execFileSync("git", git, { cwd: o.other, encoding: "utf8" }).trim(),
    ...{ device: describeMachine(), batch: o.batch, seq: o.seq, threads: o.threads, rows },
  };
  fs.writeFileSync(o.out, `${JSON.stringify(result, null, 2)}\n`);
  for (const { offload, speed } of rows) console.log(offload, JSON.stringify(speed));
});
