import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { describeGpu, facts } from "./facts.mjs";

export const root = path.dirname(path.dirname(path.dirname(path.dirname(fileURLToPath(import.meta.url)))));

/** Longest that a stage may take, in seconds: what runs beyond is killed and counts as failed. A dry run has time. */
const LIMIT_SECONDS = 8 * 60;
const DRY_LIMIT_SECONDS = 60 * 60;
const KEPT_OUTPUT = 2000;
/**
 * Kernels are loaded with their modules, which an open device has done anyway, and every stream of a test has a
 * hardware queue of its own, so that a held one does not hold another.
 */
const DRIVER = { CUDA_MODULE_LOADING: "EAGER", CUDA_DEVICE_MAX_CONNECTIONS: "32" };

/**
 * One stage: steps that are commands, and one JSON in $OUT that is written after every step, so that a stage that is
 * cut off leaves what it has. Its log lies beside it.
 */
export class Stage {
  constructor(name) {
    this.name = name;
    const chosen = readArguments(process.argv.slice(2));
    // With it nothing runs: the build alone is tried, where there is no device.
    this.buildOnly = chosen["build-only"] ?? null;
    // Names of programs; null for all of the stage's.
    this.tests = chosen.tests?.split(",") ?? null;
    this.emulated = /^emulated/.test(process.env.ZO2_CUDA ?? "");
    this.out = path.resolve(process.env.OUT ?? "gpu-out");
    fs.mkdirSync(this.out, { recursive: true });
    this.log = path.join(this.out, `${name}.log`);
    fs.writeFileSync(this.log, "");
    this.began = performance.now();
    this.limit = this.emulated || this.buildOnly !== null ? DRY_LIMIT_SECONDS : LIMIT_SECONDS;
    this.result = { stage: name, ...facts(root, this.emulated), ok: false, seconds: 0, steps: [] };
    if (!this.emulated && this.buildOnly === null && this.result.gpu === null) {
      throw new Error(
        "nvidia-smi finds no device; ZO2_CUDA=emulated runs this stage on the CPU, --build-only 9.0 builds for " +
          "that compute capability",
      );
    }
  }

  get seconds() {
    return (performance.now() - this.began) / 1000;
  }

  /** Where this stage's build lies: one folder for addon, tests and benches. */
  get buildDir() {
    return path.join(root, `build-gpu${this.emulated ? `-${process.env.ZO2_CUDA}` : ""}`);
  }

  /**
   * Runs a command within the time that is left; its output goes to the log.
   * @returns `{ok, seconds, stdout, problem}`; `problem` is null or one line that says how it ended
   */
  run(command, args, { env = {}, seconds = Infinity, cwd = root } = {}) {
    const begin = performance.now();
    const left = Math.min(seconds, this.limit - this.seconds);
    fs.appendFileSync(this.log, `\n$ ${command} ${args.join(" ")}\n`);
    const ended =
      left <= 0
        ? { error: new Error("the stage's time is used up") }
        : spawnSync(command, args, {
            cwd,
            env: { ...process.env, ...DRIVER, ...env },
            encoding: "utf8",
            timeout: Math.ceil(left * 1000),
            killSignal: "SIGKILL",
            maxBuffer: 1 << 29,
          });
    const stdout = ended.stdout ?? "";
    fs.appendFileSync(this.log, stdout + (ended.stderr ?? ""));
    const problem =
      ended.error?.message ??
      (ended.signal ? `ended by ${ended.signal}` : ended.status === 0 ? null : `exit status ${ended.status}`);
    if (problem !== null) console.log(`${command}: ${problem}\n${(stdout + (ended.stderr ?? "")).slice(-KEPT_OUTPUT)}`);
    return { ok: problem === null, seconds: (performance.now() - begin) / 1000, stdout, problem };
  }

  /** Adds a step's result, `{name, ok, ...}`, and writes the JSON. */
  add(step) {
    this.result.steps.push(step);
    const { name, ok, seconds, ...rest } = step;
    const shown = Object.entries(rest).filter(([, value]) => ["number", "string"].includes(typeof value));
    const took = seconds === undefined ? "" : ` (${seconds.toFixed(1)} s)`;
    console.log(
      `${ok ? "ok  " : "FAIL"} ` +
        `${name}${took}${shown.map(([key, value], i) => `${i === 0 ? ": " : ", "}${key} ${value}`).join("")}`,
    );
    this.write();
    return ok;
  }

  write() {
    this.result.seconds = this.seconds;
    fs.writeFileSync(path.join(this.out, `${this.name}.json`), `${JSON.stringify(this.result, null, 2)}\n`);
  }

  /** The stage is good when it has steps and all of them are. Sets the exit status. */
  finish() {
    this.result.ok = this.result.steps.length > 0 && this.result.steps.every((step) => step.ok);
    if (!this.emulated) this.result.gpuAtEnd = describeGpu();
    this.write();
    console.log(
      `${this.name}: ${this.result.ok ? "ok" : "FAILED"} after ${this.seconds.toFixed(0)} s; ` +
        `${path.join(this.out, `${this.name}.json`)}`,
    );
    process.exitCode = this.result.ok ? 0 : 1;
  }
}

const ARGUMENTS = { "build-only": { type: "string" }, tests: { type: "string" } };

function readArguments(args) {
  try {
    const { values } = parseArgs({ args, options: ARGUMENTS });
    const capability = values["build-only"];
    if (capability === undefined || /^\d+\.\d$/.test(capability)) return values;
    throw new Error(`--build-only ${capability} is no compute capability, such as 9.0`);
  } catch (error) {
    throw new Error(
      `${error.message}; the arguments are --build-only CAPABILITY and, for stages 1 and 2, --tests NAME,NAME`,
    );
  }
}

/** Runs a stage's body; what it throws is a failed step. */
export async function runStage(name, body) {
  let stage;
  try {
    stage = new Stage(name);
    await body(stage);
  } catch (error) {
    if (stage === undefined) {
      console.error(`${name}: ${error.message}`);
      process.exitCode = 1;
      return;
    }
    stage.add({ name: "stage", ok: false, problem: error.message });
  }
  stage.finish();
}
