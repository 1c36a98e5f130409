/**
 * The lock that huggingface_hub (Python) takes while it writes a blob: flock(2) on a file under `.locks`. Node has no
 * such call, so a child, flock(1), holds it until its standard input closes: at the end of the work, or when this
 * process dies.
 */
import { spawn } from "node:child_process";
import { dirname } from "node:path";
import { makeFolder } from "../base/files.js";
import { writing } from "./cache.js";

/**
 * Runs `work` with the lock on `path` held, waiting for it as long as it takes. Where the system has no flock(1), or
 * the disk no locks, `work` runs without: it must be right then too, if at the cost of doing it twice.
 */
export async function withLock<T>(path: string, signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
  await writing(path, () => makeFolder(dirname(path)));
  const release = await acquire(path, signal);
  try {
    return await work();
  } finally {
    await release();
  }
}

/** Resolves when the lock is held, cannot be had, or `signal` fires: the caller looks at the signal itself. */
async function acquire(path: string, signal: AbortSignal | undefined): Promise<() => Promise<void>> {
  const env = { PATH: process.env["PATH"] };
  const child = spawn("flock", ["-x", path, "sh", "-c", "echo locked && exec cat"], {
    stdio: ["pipe", "pipe", "ignore"],
    env,
  });
  const ended = new Promise<void>((done) => child.on("close", () => done()).on("error", () => done()));
  child.stdin.on("error", () => undefined);
  const stop = () => {
    child.stdin.end();
    child.kill();
  };
  signal?.addEventListener("abort", stop, { once: true });
  if (signal?.aborted === true) stop();
  await Promise.race([ended, new Promise<void>((held) => child.stdout.once("data", () => held()))]);
  signal?.removeEventListener("abort", stop);
  return async () => {
    child.stdin.end();
    child.stdout.resume();
    await ended;
  };
}
