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
    import { exitQuietlyOnBrokenPipe } from "./exit.js";
    exitQuietlyOnBrokenPipe(process.stdout);
    const more = () => { process.stdout.write("x".repeat(65536) + "\\n"); setImmediate(more); };
    more();
  `);
  const { code, err, out } = await start("bash", [
    "-c",
    `"$0" "$1" | head -c 1; exit \${PIPESTATUS[0]}`,
    process.execPath,
    path,
  ]).ended;
  expect({ code, err, out }).toEqual({ code: 0, err: "", out: "x" });
});

test("the first SIGINT aborts the signal and leaves the process to finish; the second ends it with 130", async () => {
  const path = await script(`
    import { interruptSignal } from "./exit.js";
    const signal = interruptSignal(process.stderr);
    signal.addEventListener("abort", () => process.stdout.write("aborted\\n"));
    setInterval(() => undefined, 1000);
    process.stdout.write("ready\\n");
  `);
  const { child, ended, said } = node(path);
  await said("ready");
  child.kill("SIGINT");
  await said("aborted");
  expect(child.exitCode).toBeNull();
  child.kill("SIGINT");
  const { code, err } = await ended;
  expect(code).toBe(130);
  expect(err).toMatch(/^stopping when the work in hand is done/);
});
