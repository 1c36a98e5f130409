import { execFileSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";

/** The kernel reports times in these ticks to every program, whatever its own are. */
const TICKS_PER_SECOND = 100;

/** What a figure was measured on. */
export function describeMachine() {
  return {
    cpu: os.cpus()[0]?.model.trim() ?? "unknown",
    cores: os.availableParallelism(),
    memoryGiB: Math.round((os.totalmem() / 2 ** 30) * 10) / 10,
    kernel: os.release(),
  };
}

/** The commit that was measured, and whether the tree had changes beside it. */
export function describeCommit(root) {
  const git = (...args) =>
    execFileSync("git", args, { cwd: root, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
  try {
    return { commit: git("rev-parse", "HEAD"), dirty: git("status", "--porcelain") !== "" };
  } catch {
    return { commit: "none", dirty: true };
  }
}

/**
 * CPU seconds that the whole machine has worked: user, nice, system, interrupts. Null where the kernel does not say.
 */
export function machineSeconds() {
  const text = readProc("/proc/stat");
  return text === null ? null : busyTicks(text) / TICKS_PER_SECOND;
}

/** CPU seconds of one process and its threads. Null where the kernel does not say. */
export function processSeconds(pid) {
  const text = readProc(`/proc/${pid}/stat`);
  return text === null ? null : processTicks(text) / TICKS_PER_SECOND;
}

/** Resident memory of this process in MiB: now, and at its highest. */
export function ownMemory() {
  const text = readProc("/proc/self/status") ?? "";
  const field = (name) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(text)?.[1] ?? Number.NaN) / 1024;
  return { now: field("VmRSS"), peak: field("VmHWM") };
}

/** `user nice system idle iowait irq softirq ...`: all of it but idle, iowait and what other guests took. */
export function busyTicks(procStat) {
  const fields = procStat.slice(0, procStat.indexOf("\n")).trim().split(/\s+/).slice(1).map(Number);
  return [0, 1, 2, 5, 6].reduce((sum, i) => sum + (fields[i] ?? 0), 0);
}

/** utime and stime of a `/proc/PID/stat` line; the name in parentheses may hold anything. */
export function processTicks(procPidStat) {
  const fields = procPidStat
    .slice(procPidStat.lastIndexOf(")") + 1)
    .trim()
    .split(/\s+/);
  return Number(fields[11]) + Number(fields[12]);
}

function readProc(file) {
  try {
    return fs.readFileSync(file, "utf8");
  } catch {
    return null;
  }
}
