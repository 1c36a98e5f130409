import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import process from "node:process";
import { describeGpu, facts } from "./facts.mjs";
import { problemsOf } from "./report.mjs";
import { root } from "./root.mjs";

/** Longest that a stage may take, in seconds: what runs beyond is killed and counts as failed. */
export const LIMIT_SECONDS = 8 * 60;
const KEPT_OUTPUT = 2000;
/**
 * Kernels are loaded with their modules, which an open device has done anyway, and every stream of a test has a
 * hardware queue of its own, so that a held one does not hold another.
 */
const DRIVER = { CUDA_MODULE_LOADING: "EAGER", CUDA_DEVICE_MAX_CONNECTIONS: "32" };

/**
 * One stage: steps that are commands, rows of measurements with their predictions, what was skipped and why, and one
 * JSON that is written after each, so that a stage that is cut off leaves what it has. Its log lies beside it.
 */
export class Stage {
  /**
   * @param options `out`: the folder for results; `dry`: tiny sizes on the emulated backend; `buildDir`; `buildOnly`: a
   *   compute capability to build for, or null; `limitSeconds`
   */
  constructor(name, { out, dry, buildDir, buildOnly = null, limitSeconds = LIMIT_SECONDS, original = null }) {
    this.name = name;
    this.dry = dry;
    this.buildDir = buildDir;
    this.buildOnly = buildOnly;
    this.original = original;
    this.out = out;
    fs.mkdirSync(out, { recursive: true });
    this.log = path.join(out, `${name}.log`);
    fs.writeFileSync(this.log, "");
    this.began = performance.now();
    this.limit = limitSeconds;
    const about = facts(root, dry);
    this.result = { stage: name, ...about, ok: false, seconds: 0, limitSeconds, steps: [], rows: [], skipped: [] };
  }

  get seconds() {
    return (performance.now() - this.began) / 1000;
  }

  /** Where the JSON is. */
  get file() {
    return path.join(this.out, `${this.name}.json`);
  }

  /**
   * Runs a command within the time that is left; its output goes to the log.
   * @returns `{ok, seconds, stdout, status, absent, problem, tail}`; `absent`: there is no such program; `problem`:
   *   null, or one line that says how it ended
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
    if (problem !== null) fs.appendFileSync(this.log, `(${problem})\n`);
    const tail = (stdout + (ended.stderr ?? "")).slice(-KEPT_OUTPUT);
    return {
      ok: problem === null,
      seconds: (performance.now() - begin) / 1000,
      stdout,
      status: ended.status ?? null,
      absent: ended.error?.code === "ENOENT",
      problem,
      tail,
    };
  }

  /** Adds a step's result, `{name, ok, ...}`, and writes the JSON. @returns `ok` */
  add(step) {
    const { name, ok, seconds, tail, ...rest } = step;
    this.result.steps.push({ name, ok, seconds, ...rest });
    if (!ok && tail) console.log(tail);
    const shown = Object.entries(rest).filter(([, value]) => ["number", "string"].includes(typeof value));
    const took = seconds === undefined ? "" : ` (${seconds.toFixed(1)} s)`;
    const details = shown.map(([key, value], i) => `${i === 0 ? ": " : ", "}${key} ${value}`).join("");
    console.log(`${ok ? "ok  " : "FAIL"} ${name}${took}${details}`);
    this.write();
    return ok;
  }

  /** Adds measurements that `row` of predict.mjs has made. */
  measured(rows) {
    this.result.rows.push(...rows);
    this.write();
  }

  /** Says what is left out, and why. */
  skip(name, reason) {
    this.result.skipped.push({ name, reason });
    console.log(`skip ${name}: ${reason}`);
    this.write();
  }

  write() {
    this.result.seconds = this.seconds;
    fs.writeFileSync(this.file, `${JSON.stringify(this.result, null, 2)}\n`);
  }

  /**
   * The stage is good when it has steps and all of them are, the last of which is that its report is whole; a goal that
   * is missed does not change that.
   */
  finish() {
    const problems = this.buildOnly === null ? problemsOf(this.result) : [];
    this.add({
      name: "report",
      ok: problems.length === 0,
      ...(problems.length > 0 ? { problem: problems.join("; ") } : {}),
    });
    this.result.ok = this.result.steps.length > 0 && this.result.steps.every((step) => step.ok);
    if (!this.dry) this.result.gpuAtEnd = describeGpu();
    this.write();
    const { rows, skipped, ok } = this.result;
    const missed = `${rows.filter((row) => row.met === false).length} short of their goals`;
    console.log(
      `${this.name}: ${ok ? "ok" : "FAILED"} after ${this.seconds.toFixed(0)} s: ${rows.length} measurements, ` +
        `${this.dry ? "which mean nothing" : missed}, ${skipped.length} skipped`,
    );
    return this.result;
  }
}

/** Runs a stage's body; what it throws is a failed step. @returns the stage's result */
export async function runStage(name, body, options) {
  const stage = new Stage(name, options);
  try {
    await body(stage);
  } catch (error) {
    stage.add({ name: "stage", ok: false, problem: error.message });
  }
  return stage.finish();
}
