import { spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import readline from "node:readline";
import { machineSeconds, processSeconds } from "./machine.mjs";

const STDERR_KEPT = 2000;

/**
 * A program that takes one step for each line on its standard input and answers with one line of JSON; when the input
 * ends it writes a summary to `summaryFile` and exits.
 */
export class Program {
  /** @param command `{file, args, env?}`; `args` have to make it write its summary to `summaryFile` */
  constructor(name, command, summaryFile) {
    this.name = name;
    this.command = command;
    this.summaryFile = summaryFile;
    this.child = null;
  }

  start() {
    const { file, args, env } = this.command;
    this.child = spawn(file, args, { stdio: ["pipe", "pipe", "pipe"], env: { ...process.env, ...env } });
    this.stderr = "";
    this.child.stderr.on("data", (chunk) => (this.stderr = (this.stderr + chunk).slice(-STDERR_KEPT)));
    this.ended = new Promise((settle) => {
      this.child.on("error", (error) => settle(error.message));
      this.child.on("close", (code, signal) => settle(code === 0 ? null : `ended with ${signal ?? `status ${code}`}`));
    });
    // A write after the program has died fails here too; `ended` says why.
    this.child.stdin.on("error", () => undefined);
    this.lines = readline.createInterface({ input: this.child.stdout })[Symbol.asyncIterator]();
  }

  /**
   * One step. `foreign`: cores that others used meanwhile, as the kernel counts it (in ticks of 10 ms: short steps are
   * not judged well); null where it does not say.
   */
  async step() {
    const before = this.clock();
    this.child.stdin.write("step\n");
    const line = await this.lines.next();
    const after = this.clock();
    if (line.done) throw new Error(`${this.name} ${(await this.ended) ?? "stopped answering"}: ${this.stderr.trim()}`);
    return { ...JSON.parse(line.value), foreign: foreignCores(before, after) };
  }

  clock() {
    return { at: performance.now() / 1000, machine: machineSeconds(), own: processSeconds(this.child.pid) };
  }

  /** Ends the input and waits for the program. @returns its summary */
  async finish() {
    this.child.stdin.end();
    const problem = await this.ended;
    if (problem !== null) throw new Error(`${this.name} ${problem}: ${this.stderr.trim()}`);
    return JSON.parse(fs.readFileSync(this.summaryFile, "utf8"));
  }

  /** Ends it, whatever it does. */
  async kill() {
    if (
      this.child === null ||
      this.child.exitCode !== null ||
      this.child.signalCode !== null ||
      this.child.pid === undefined
    )
      return;
    this.child.kill("SIGKILL");
    await once(this.child, "close");
  }
}

/** Cores that others than the program used between two clocks. */
export function foreignCores(before, after) {
  if ([before.machine, after.machine, before.own, after.own].includes(null)) return null;
  return Math.max(0, after.machine - before.machine - (after.own - before.own)) / (after.at - before.at);
}

/**
 * Step by step, one program after the other, in reverse order every other round, so that what changes over time meets
 * all alike. Round 0 starts the programs and is warm-up. Only one of them works at a time; all stay loaded.
 *
 * @returns for each program its steps, the warm-up first
 */
export async function alternate(programs, rounds, onStep = () => undefined) {
  const steps = programs.map(() => []);
  for (let round = 0; round <= rounds; round++) {
    for (const i of orderOf(round, programs.length)) {
      const program = programs[i];
      if (round === 0) program.start();
      const step = await program.step();
      steps[i].push(step);
      onStep(program, step, round);
    }
  }
  return steps;
}

export function orderOf(round, count) {
  const order = Array.from({ length: count }, (_, i) => i);
  return round % 2 === 0 ? order : order.reverse();
}
