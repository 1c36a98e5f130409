/** The command in a process of its own: its exit codes, its streams, its signals. */
import { spawn } from "node:child_process";
import { readFile, rm, symlink, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { compiledPackage } from "../compiled.js";

const root = resolve(__dirname, "../../..");
let pkg: string;
let main: string;

beforeAll(async () => {
  pkg = await compiledPackage();
  main = join(pkg, "dist/esm/cli/main.js");
});
afterAll(() => rm(pkg, { recursive: true, force: true }));

interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

function start(command: string, args: readonly string[]) {
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"] });
  let out = "";
  let err = "";
  child.stdout.on("data", (chunk: Buffer) => (out += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (err += chunk.toString()));
  const ended = new Promise<Ended>((settle, fail) =>
    child.on("error", fail).on("close", (code) => settle({ code, out, err })),
  );
  const said = (text: string) =>
    new Promise<void>((settle) => child.stdout.on("data", () => (out.includes(text) ? settle() : undefined)));
  return { child, ended, said };
}

const node = (...args: string[]) => start(process.execPath, args);

/** Runs a module that sees `exit.js` of the package as `./exit.js`. */
async function script(code: string): Promise<string> {
  const path = join(dirname(main), `script-${Math.abs(hash(code))}.mjs`);
  await writeFile(path, code);
  return path;
}

function hash(text: string): number {
  return [...text].reduce((sum, c) => (sum * 31 + c.charCodeAt(0)) | 0, 7);
}

test("--version is that of package.json, also through a link as npm makes one", async () => {
  const { version } = JSON.parse(await readFile(join(root, "package.json"), "utf8")) as { version: string };
  const link = join(pkg, "zo2-link");
  await symlink(main, link);
  expect(await node(main, "--version").ended).toEqual({ code: 0, out: `${version}\n`, err: "" });
  expect(await node(link, "--version").ended).toEqual({ code: 0, out: `${version}\n`, err: "" });
});

test("wrong usage ends with 2 and one line on standard error", async () => {
  const { code, out, err } = await node(main, "train", "--stps", "3").ended;
  expect({ code, out }).toEqual({ code: 2, out: "" });
  expect(err).toMatch(/^ZO2_ERR_CONFIG: [^\n]*\n$/);
});

test("help needs no addon", async () => {
  expect(await node(main, "train", "--help").ended).toMatchObject({
    code: 0,
    err: "",
    out: expect.stringContaining("--device-memory") as unknown,
  });
});

test("a reader that goes away ends the command quietly", async () => {
  const path = await script(`
    import { openOutput, writeLine, ClosedOutput } from "./streams.js";
    const stdout = openOutput(process.stdout);
    try { for (;;) await writeLine(stdout, "x".repeat(65536)); }
    catch (error) { process.exitCode = error instanceof ClosedOutput ? 7 : 1; }
  `);
  const { code, err, out } = await start("bash", [
    "-c",
    `"$0" "$1" | head -c 1; exit \${PIPESTATUS[0]}`,
    process.execPath,
    path,
  ]).ended;
  expect({ code, err, out }).toEqual({ code: 7, err: "", out: "x" });
});

test.each([
  // Node's own stream would take the half of a line that still fits for the whole of it.
  ["a file that may hold 1024 bytes", 700, "0 EFBIG EFBIG"],
  ["a file that may hold 1024 bytes", 341, "0 1 2"],
  ["a file that may hold 1024 bytes", 342, "0 1 EFBIG"],
  ["a file that may hold 1024 bytes", 5000, "EFBIG EFBIG EFBIG"],
  ["/dev/full", 1, "ENOSPC ENOSPC ENOSPC"],
  ["/dev/full", 100000, "ENOSPC ENOSPC ENOSPC"],
  ["/dev/null", 5000, "0 1 2"],
])("%s, lines of %d bytes: each write that fails says so", async (place, bytes, expected) => {
  const path = await script(`
    import { openOutput, writeText } from "./streams.js";
    const stdout = openOutput(process.stdout);
    const said = [];
    for (let line = 0; line < 3; line++) {
      await writeText(stdout, "x".repeat(${bytes})).then(
        () => said.push(line),
        (error) => said.push(error.code === "ZO2_ERR_IO" ? error.cause.code : String(error)));
    }
    process.stderr.write(said.join(" "));
  `);
  const target = place.startsWith("/dev/") ? place : join(pkg, "small");
  const { err } = await start("bash", ["-c", `ulimit -f 1; exec "$0" "$1" > "$2"`, process.execPath, path, target])
    .ended;
  expect(err).toBe(expected);
});

const LISTENING = `
  import { Stopping, stopOf } from "./signals.js";
  const stopping = new Stopping(process.stderr);
  const { signal } = stopping;
  signal.addEventListener("abort", () => process.stdout.write("aborted " + stopOf(signal).exitCode + "\\n"));
  const alive = setInterval(() => undefined, 1000);
`;

test.each([
  ["SIGINT", "SIGINT", 130, 130],
  ["SIGTERM", "SIGTERM", 143, 143],
  ["SIGHUP", "SIGHUP", 129, 129],
  ["SIGTERM", "SIGINT", 143, 130],
  ["SIGHUP", "SIGTERM", 129, 143],
  ["SIGINT", "SIGHUP", 130, 129],
] as const)("%s asks the work to end, and %s after it ends the process at once", async (first, second, asked, code) => {
  const path = await script(`${LISTENING} process.stdout.write("ready\\n");`);
  const { child, ended, said } = node(path);
  await said("ready");
  child.kill(first);
  await said(`aborted ${asked}`);
  expect(child.exitCode).toBeNull();
  child.kill(second);
  expect(await ended).toMatchObject({
    code,
    err: expect.stringMatching(/^(SIG\w+: )?stopping when the work in hand is done; .* to stop at once\n$/) as unknown,
  });
});

test.each(["SIGINT", "SIGTERM", "SIGHUP"] as const)("after the work %s does what it always does", async (name) => {
  const path = await script(`${LISTENING} stopping[Symbol.dispose](); process.stdout.write("ready\\n");`);
  const { child, ended, said } = node(path);
  await said("ready");
  child.kill(name);
  expect(await ended).toMatchObject({ code: null, err: "", out: "ready\n" });
});

test("what nohup(1) has started does not hear SIGHUP, and hears SIGTERM", async () => {
  const path = await script(`${LISTENING} process.stdout.write("ready\\n");`);
  const { child, ended, said } = start("bash", ["-c", 'nohup "$0" "$1" & wait $!; kill $!', process.execPath, path]);
  await said("ready");
  const pid = Number(await readFile(`/proc/${child.pid}/task/${child.pid}/children`, "utf8"));
  process.kill(pid, "SIGHUP");
  process.kill(pid, "SIGTERM");
  await said("aborted");
  child.stdout.destroy();
  process.kill(pid, "SIGTERM");
  expect((await ended).out).toContain("aborted 143");
});

const pty = start("python3", ["-c", "import pty"]).ended.then(
  ({ code }) => code === 0,
  () => false,
);

test("a Ctrl-C that npm passes on once more is one request; a second press is a second", async () => {
  if (!(await pty)) return console.warn("skipped: no python3 to make a terminal");
  const path = await script(`${LISTENING} process.stdout.write("ready\\n");`);
  // A terminal for standard error: npm passes on only what a terminal has sent to all.
  const terminal = `
import os, pty, signal, subprocess, sys, time
us, them = pty.openpty()
child = subprocess.Popen(sys.argv[1:], stderr=them, stdout=subprocess.PIPE, env={**os.environ, "npm_command": "exec"})
child.stdout.readline()
child.send_signal(signal.SIGINT); child.stdout.readline()
child.send_signal(signal.SIGINT)
time.sleep(1)
print("running" if child.poll() is None else child.poll())
child.send_signal(signal.SIGINT)
print(child.wait())
`;
  expect(await start("python3", ["-c", terminal, process.execPath, path]).ended).toMatchObject({
    out: "running\n130\n",
  });
});
