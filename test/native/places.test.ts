/** The command line where its output is full or closed, and where signals end it: real processes, with the addon. */
import { spawn, spawnSync } from "node:child_process";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";

const root = path.join(__dirname, "../..");
const program = path.join(root, "dist/esm/cli/main.js");
const model = path.join(root, "docs/demo/tiny-opt");
const reviews = path.join(root, "docs/demo/reviews");
const text = '--prompt "{text} How is it?" --choices " terrible" " great" --max-length 96 --truncation left';
const endless =
  `train --model ${model} --data ${reviews}/train.jsonl --out tuned --steps 100000 --batch-size 2 ` +
  `--learning-rate 1e-4 --metrics steps.jsonl ${text}`;

let work: string;
beforeEach(() => {
  work = fs.mkdtempSync(path.join(os.tmpdir(), "zo2-places-"));
  const lines = fs.readFileSync(path.join(reviews, "test.jsonl"), "utf8").split("\n").slice(0, 12);
  fs.writeFileSync(path.join(work, "dev.jsonl"), lines.join("\n"));
});
afterEach(() => fs.rmSync(work, { recursive: true, force: true }));

interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** Runs a line of bash in which $ZO2 is the command. */
function shell(line: string, env: Record<string, string> = {}) {
  const child = spawn("bash", ["-c", line], {
    cwd: work,
    env: { ...process.env, ZO2: `${process.execPath} ${program}`, ...env },
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  });
  let out = "";
  let err = "";
  child.stdout.on("data", (chunk) => (out += chunk));
  child.stderr.on("data", (chunk) => (err += chunk));
  const ended = new Promise<Ended>((settle) => child.on("close", (code) => settle({ code, out, err })));
  const until = async (reached: () => boolean) => {
    while (!reached() && child.exitCode === null) await new Promise((settle) => setTimeout(settle, 20));
  };
  return { child, ended, until, said: (part: string) => until(() => err.includes(part)) };
}

const stepsTaken = () => {
  const file = path.join(work, "steps.jsonl");
  return fs.existsSync(file) ? fs.readFileSync(file, "utf8").trimEnd().split("\n").filter(Boolean).length : 0;
};
const isSaved = () => fs.existsSync(path.join(work, "tuned/model.safetensors"));

const COMMANDS: [string, string][] = [
  ["help", "--help"],
  ["version", "--version"],
  ["the help of a command", "train --help"],
  ["info", "info"],
  ["info --json", "info --json"],
  ["eval", `eval --model ${model} --data dev.jsonl ${text}`],
  ["eval --json", `eval --model ${model} --data dev.jsonl --json ${text}`],
  ["score", `score --model ${model} --input dev.jsonl`],
  ["generate", `generate --model ${model} --prompt "The film" --max-new-tokens 3`],
  ["generate --json", `generate --model ${model} --prompt "The film" --max-new-tokens 3 --json`],
  ["generate --jsonl", `generate --model ${model} --input dev.jsonl --max-new-tokens 2`],
  ["demo", "demo --steps 1 --batch-size 16"],
  ["train --json", endless.replace("100000", "2").concat(" --json")],
];

describe.each(COMMANDS)("%s", (name, args) => {
  const saves = name === "train --json";

  it("says in a coded line that standard output is full, and fails", async () => {
    const { code, err } = await shell(`exec $ZO2 ${args} > /dev/full`).ended;
    expect(err.trimEnd().split("\n").at(-1)).toMatch(/^ZO2_ERR_IO: standard output cannot be written: ENOSPC/);
    expect([code, isSaved()]).toEqual([1, saves]);
    expect(err).not.toMatch(/\n\s+at /);
  });

  it("ends quietly where nobody reads, and does without standard error", async () => {
    const { out, err } = await shell(`$ZO2 ${args} 2>err | true; echo \${PIPESTATUS[0]}`).ended;
    expect([out, err, isSaved()]).toEqual(["0\n", "", saves]);
    expect(fs.readFileSync(path.join(work, "err"), "utf8")).not.toMatch(/EPIPE|ZO2_ERR|Error/);
    fs.rmSync(path.join(work, "tuned"), { recursive: true, force: true });
    const full = await shell(`exec $ZO2 ${args} 2>/dev/full >out`).ended;
    const closed = await shell(`{ $ZO2 ${args} > out2; echo $? > code; } 2>&1 | true; cat code`).ended;
    expect([full.code, closed.out, isSaved()]).toEqual([0, "0\n", saves]);
    for (const file of ["out", "out2"]) expect(fs.statSync(path.join(work, file)).size).toBeGreaterThan(0);
  });
});

it("more than one line of a result: the first is whole, and the rest is not missed", async () => {
  const lines = `generate --model ${model} --jsonl --max-new-tokens 2 --batch-size 1 --quiet`;
  const feed = `while echo '{"text": "The film"}'; do :; done`;
  const { out, err } = await shell(`(${feed}) 2>/dev/null | $ZO2 ${lines} | head -1; echo \${PIPESTATUS[1]}`).ended;
  expect(err).toBe("");
  expect(out).toMatch(/^\{"ids":.*\}\n0\n$/);
});

it("a training run whose only reader goes finishes the step, saves and says so by its code", async () => {
  const { out } = await shell(`$ZO2 ${endless} 2>&1 | head -1 > first; echo \${PIPESTATUS[0]}`).ended;
  expect([out, isSaved()]).toEqual(["141\n", true]);
  expect(stepsTaken()).toBeGreaterThan(0);
});

describe("signals", () => {
  it.each([
    ["SIGTERM", 143],
    ["SIGHUP", 129],
    ["SIGINT", 130],
  ] as const)("%s in training finishes the step and saves", async (signal, expected) => {
    const { child, ended, until } = shell(`exec $ZO2 ${endless} --json`);
    await until(() => stepsTaken() >= 2);
    child.kill(signal);
    const { code, out } = await ended;
    expect([code, isSaved()]).toEqual([expected, true]);
    expect(JSON.parse(out)).toMatchObject({ interrupted: true, steps: stepsTaken(), out: "tuned" });
  });

  it("a second signal ends a training run at once, and the folder of an earlier one stays as it was", async () => {
    fs.cpSync(model, path.join(work, "tuned"), { recursive: true });
    const before = fs.readFileSync(path.join(work, "tuned/model.safetensors"));
    const { child, ended, until, said } = shell(`exec $ZO2 ${endless.replace("--batch-size 2", "--batch-size 400")}`);
    await until(() => stepsTaken() >= 1);
    child.kill("SIGTERM");
    await said("SIGTERM: stopping");
    child.kill("SIGTERM");
    expect((await ended).code).toBe(143);
    expect(fs.readFileSync(path.join(work, "tuned/model.safetensors")).equals(before)).toBe(true);
  });

  const long = (name: string) => `--max-new-tokens 400 --ignore-eos --batch-size 1 ${name}`;
  it.each([
    ["evaluation", `eval --model ${model} --data ${reviews}/train.jsonl ${text}`, "parameters", "SIGTERM", 143],
    ["evaluation before training", `${endless} --eval-data ${reviews}/train.jsonl`, "parameters", "SIGHUP", 129],
    ["lines that do not come", `score --model ${model} < fifo`, "parameters", "SIGTERM", 143],
    ["prompts that do not come", `generate --jsonl --model ${model} < fifo`, "parameters", "SIGHUP", 129],
    ["generation", `generate --model ${model} --input many.jsonl ${long("")} >/dev/null`, "parameters", "SIGTERM", 143],
    ["the demo", "demo", "before:", "SIGTERM", 143],
    ["the demo", "demo", "before:", "SIGHUP", 129],
  ] as const)("in %s", async (_, args, part, signal, expected) => {
    fs.writeFileSync(path.join(work, "many.jsonl"), '{"text": "The film"}\n'.repeat(2000));
    spawnSync("mkfifo", ["fifo"], { cwd: work });
    const writer = args.includes("fifo") ? spawn("sh", ["-c", "exec sleep 600 > fifo"], { cwd: work }) : undefined;
    const { child, ended, said } = shell(`exec $ZO2 ${args}`);
    await said(part);
    child.kill(signal);
    const { code, err } = await ended;
    writer?.kill();
    expect([code, err]).toEqual([expected, expect.stringContaining(`${signal}: stopping`) as unknown]);
    expect(isSaved()).toBe(false);
  });

  it("in a download from a Hub that does not answer", async () => {
    const server = net.createServer();
    // Once: a client may open more than one connection, and a second signal would end the process at once.
    server.once("connection", () => child.kill("SIGTERM"));
    await new Promise<void>((settle) => server.listen(0, "127.0.0.1", settle));
    const { port } = server.address() as net.AddressInfo;
    const { child, ended } = shell("exec $ZO2 eval --model org/model --data dev.jsonl", {
      HF_ENDPOINT: `http://127.0.0.1:${port}`,
      HF_HUB_CACHE: path.join(work, "hub"),
      HF_HUB_OFFLINE: "",
    });
    const { code, err } = await ended;
    server.close();
    expect(code).toBe(143);
    expect(err).toMatch(/\nZO2_ERR_ABORTED: org\/model@main: the download was stopped/);
  });

  const spaces = "unshare --pid --fork --mount-proc --kill-child";
  const permitted = spawnSync("sh", ["-c", `${spaces} true`]).status === 0;
  (permitted ? it : it.skip).each([
    ["SIGTERM", 143],
    ["SIGINT", 130],
    ["SIGHUP", 129],
  ] as const)("%s to process 1 of a container finishes the step and saves", async (signal, expected) => {
    const { ended, child, until } = shell(`exec ${spaces} $ZO2 ${endless}`);
    await until(() => stepsTaken() >= 2);
    const inner = fs.readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, "utf8").trim();
    process.kill(Number(inner), signal);
    expect([(await ended).code, isSaved()]).toEqual([expected, true]);
  });
});

describe("metrics on a full disk", () => {
  it("do not cost the run: it is saved, and the command fails with their error", async () => {
    const args = endless.replace("100000", "3").replace("--metrics steps.jsonl", "--metrics /dev/full");
    const { code, err } = await shell(`exec $ZO2 ${args}`).ended;
    expect([code, isSaved()]).toEqual([1, true]);
    expect(err.match(/ZO2_ERR_IO: \/dev\/full: metrics cannot be written: ENOSPC.*/g)).toHaveLength(2);
  });
});

it("the library listens to no signal", async () => {
  const code = `
    import(${JSON.stringify(path.join(root, "dist/esm/index.js"))}).then(async ({ loadModel }) => {
      const model = await loadModel(${JSON.stringify(model)});
      await model.score([{ text: "The film" }]).next?.();
      console.log(process.eventNames().filter((name) => String(name).startsWith("SIG")).length);
      await model.dispose();
    });`;
  const { stdout } = spawnSync(process.execPath, ["-e", code], { encoding: "utf8" });
  expect(stdout).toBe("0\n");
});

describe("what a process may use of its host", () => {
  const infoOf = async (line: string) => {
    const { code, out, err } = await shell(line).ended;
    if (code !== 0) throw new Error(err);
    return JSON.parse(out).cpu as Record<string, string | number>;
  };

  it("an affinity mask", async () => {
    const cores = /:\s*(\d+)/.exec(spawnSync("taskset", ["-cp", "1"], { encoding: "utf8" }).stdout)?.[1] ?? "0";
    const cpu = await infoOf(`exec taskset -c ${cores} $ZO2 info --json --quiet`);
    expect(cpu).toMatchObject({ threads: 1, ...(os.cpus().length > 1 ? { threadsLimitedBy: "affinity mask" } : {}) });
    const text = await shell(`exec taskset -c ${cores} $ZO2 info`).ended;
    if (os.cpus().length > 1) expect(text.out).toMatch(/^processor .*, 1 thread, limited by affinity mask$/m);
  });

  /** The group of this process in version 1, as a folder; none where there is no such hierarchy. */
  const folderOf = (controller: string) => {
    const group = new RegExp(`^\\d+:(?:.*,)?${controller}(?:,.*)?:(.*)$`, "m").exec(
      fs.readFileSync("/proc/self/cgroup", "utf8"),
    );
    return group === null ? undefined : path.join("/sys/fs/cgroup", controller, group[1] ?? "");
  };
  /** Makes a group below that of this process; none where that is not allowed. */
  const made = (controller: string, files: Record<string, string>) => {
    const folder = folderOf(controller);
    if (folder === undefined || !fs.existsSync(folder)) return undefined;
    const group = path.join(folder, `zo2-test-${process.pid}`);
    try {
      fs.mkdirSync(group);
      for (const [name, value] of Object.entries(files)) fs.writeFileSync(path.join(group, name), value);
      return group;
    } catch {
      if (fs.existsSync(group)) fs.rmdirSync(group);
      return undefined;
    }
  };

  it("control groups of version 1, where this machine lets one make them", async () => {
    const cpu = made("cpu", { "cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "90000" });
    const memory = made("memory", { "memory.limit_in_bytes": String(700 * 2 ** 20) });
    try {
      if (cpu === undefined || memory === undefined) return console.warn("skipped: no control groups can be made here");
      const enter = [cpu, memory].map((group) => `echo $$ > ${group}/cgroup.procs`).join(" && ");
      const found = await infoOf(`${enter} && exec $ZO2 info --json --quiet`);
      expect(found).toMatchObject({
        memoryTotal: 700 * 2 ** 20,
        memoryLimitedBy: `${memory}/memory.limit_in_bytes`,
        threads: 1,
        ...(os.cpus().length > 1 ? { threadsLimitedBy: `${cpu}/cpu.cfs_quota_us` } : {}),
      });
    } finally {
      for (const group of [cpu, memory]) if (group !== undefined) fs.rmdirSync(group);
    }
  });
});
