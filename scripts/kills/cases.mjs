/** The runs whose ends are tried: small models, every tier, and each way in which weights are written. */
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

export const root = path.dirname(path.dirname(path.dirname(fileURLToPath(import.meta.url))));
const PROGRAM = path.join(root, "dist", "esm", "cli", "main.js");
const ROLLBACK = path.join(root, "scripts", "kills", "rollback.mjs");
export const MODEL = path.join(root, "test", "fixtures", "models", "gpt2");
export const STEPS = 24;

const FP16 = ["--wire", "fp16", "--rounding", "stochastic"];
const FROZEN = ["--wire", "fp32", "--freeze", "*wte*", "*mlp*"];
/** Several coefficients in each record. */
const FZOO = ["--method", "fzoo", "--directions", "3", "--learning-rate", "1e-6"];
const SNAPSHOTS = ["--save-every", "5", "--keep", "2"];

/** The names of the cases, with the flags of each; a case without flags is `rollback.mjs`. */
export const CASES = {
  "host, fp32": ["--offload", "host", "--wire", "fp32"],
  "host, fp32, snapshots": ["--offload", "host", "--wire", "fp32", ...SNAPSHOTS],
  "host, fp16 stochastic, snapshots": ["--offload", "host", ...FP16, "--unit-bytes", "20KB", ...SNAPSHOTS],
  "host, frozen": ["--offload", "host", ...FROZEN, "--write-back-every", "3"],
  "device, fp32, snapshots": ["--offload", "device", "--wire", "fp32", ...SNAPSHOTS],
  "device, fp16 stochastic": ["--offload", "device", ...FP16],
  "device, frozen, snapshots": ["--offload", "device", ...FROZEN, ...SNAPSHOTS],
  "disk, fp32": ["--offload", "disk", "--wire", "fp32"],
  "disk, fp16 stochastic, snapshots": ["--offload", "disk", ...FP16, "--unit-bytes", "20KB", ...SNAPSHOTS],
  "disk, fp32, fzoo": ["--offload", "disk", "--wire", "fp32", "--write-back-every", "3", ...FZOO],
  "disk, frozen": ["--offload", "disk", ...FROZEN, "--write-back-every", "3"],
  "rollback, snapshots": null,
};

/** Writes what the runs learn from. @returns its path */
export function writeData(folder) {
  const file = path.join(folder, "data.jsonl");
  const line = (_, i) =>
    JSON.stringify({ ids: Array.from({ length: 8 + i }, (_, t) => (i * 31 + t * 7 + t * t) % 208) });
  fs.writeFileSync(file, `${Array.from({ length: 6 }, line).join("\n")}\n`);
  return file;
}

/**
 * The arguments of Node that begin a case's run, or go on with it.
 * @param where `{data, run, out}`
 */
export function argumentsOf(name, { data, run, out }, resumes, durability = "second") {
  const flags = CASES[name];
  if (flags === null) return [ROLLBACK, JSON.stringify({ model: MODEL, data, run, out, steps: STEPS, durability })];
  if (resumes) return [PROGRAM, "train", "--resume", run, "--quiet"];
  return [
    ...[PROGRAM, "train", "--model", MODEL, "--data", data, "--out", out, "--run", run, "--steps", String(STEPS)],
    ...["--learning-rate", "1e-2", "--weight-decay", "0.1", "--batch-size", "2", "--seed", "5", "--device", "cpu"],
    ...["--threads", "1", "--durability", durability, "--quiet", ...flags],
    ...(flags.includes("disk") ? ["--disk-path", path.dirname(run)] : []),
  ];
}

/** Whether an end of the process has left a run that `--resume` takes up; else it is to be begun anew. */
export function canResume(name, run) {
  const files = CASES[name] === null ? ["run.zo2"] : ["run.zo2", "options.json"];
  return files.every((file) => fs.existsSync(path.join(run, file)));
}
