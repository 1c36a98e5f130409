import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runScript } from "./modules.js";

const about = {
  date: "2026-01-02T03:04:05.000Z", commit: "0123456789abcdef0123456789abcdef01234567", dirty: false,
  device: { cpu: "A CPU", cores: 2, memoryGiB: 8, kernel: "k" }, node: "v20.0.0", build: "compiler; more", threads: 2,
};
const row = (program: string, seconds: number) => ({
  shape: "8x128", program, seconds, tokensPerSecond: 1024 / seconds, memory: { peakMiB: 1000, runtimeMiB: 200, netMiB: 800 }, quiet: 4, steps: 5,
});
const ratio = (program: string, against: string, value: number) => ({
  shape: "8x128", program, against, speed: { ratio: value, least: value - 0.5, most: value + 0.5, rounds: 5, quiet: 4 },
});
const result = {
  ...about, torch: "1.13", model: { layers: 12, hidden: 768, ffn: 3072, heads: 12, vocab: 50272, maxpos: 2048, parameters: 1 },
  rows: [row("torch original", 8), row("torch addcmul", 6), row("zo2 streamed", 4), row("zo2 resident", 16)],
  ratios: [ratio("torch addcmul", "torch original", 1.25), ratio("zo2 streamed", "torch original", 2), ratio("zo2 streamed", "torch addcmul", 1.5), ratio("zo2 resident", "torch original", 0.5)],
  breakdown: [{ shape: "8x128", seconds: 5, rows: [{ what: "linear", share: 0.75 }, { what: "prepare", share: 0.25 }], matrixProducts: { gflops: 123.4 } }],
};

const README = "# Title\n\nbefore\n<!-- bench:opt125m -->\nold\n<!-- /bench:opt125m -->\nafter\n";
let dir: string;
let readme: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "zo2-bench-test-"));
  readme = join(dir, "README.md");
  await writeFile(readme, README);
});
afterEach(() => rm(dir, { recursive: true, force: true }));

const run = (...args: string[]) => runScript("scripts/bench-tables.mjs", "--readme", readme, "--results", dir, ...args);
const write = (value: unknown, name = "opt125m-cpu.json") => writeFile(join(dir, name), JSON.stringify(value));
const text = () => readFile(readme, "utf8");
const cells = (line: string) => line.split("|").slice(1, -1).map((c) => c.trim());

describe("the README's tables", () => {
  it("hold every row that was measured, slow ones too, and say what it was measured on", async () => {
    await write(result);
    expect(run().status).toBe(0);
    const lines = (await text()).split("\n");
    const tableRows = lines.filter((l) => /^\| 8 x 128 \| (torch|zo2)/.test(l)).map(cells);
    expect(tableRows).toEqual([
      ["8 x 128", "torch original", "8.00", "128", "1", "", "1000", "200", "4 of 5"],
      ["8 x 128", "torch addcmul", "6.00", "171", "1.25 (0.75 to 1.75)", "1", "1000", "200", "4 of 5"],
      ["8 x 128", "zo2 streamed", "4.00", "256", "2.00 (1.50 to 2.50)", "1.50 (1.00 to 2.00)", "1000", "200", "4 of 5"],
      ["8 x 128", "zo2 resident", "16.00", "64", "0.50 (0.00 to 1.00)", "", "1000", "200", "4 of 5"],
    ]);
    expect(lines.find((l) => l.includes("123 GFLOP/s"))).toContain("75.0 %");
    expect(await text()).toContain("A CPU, 2 cores, 8 GiB; Node v20.0.0; addon: compiler; commit 0123456789ab; 2026-01-02.");
  });

  it("leave the text around them alone, and are the same when made twice", async () => {
    await write(result);
    run();
    const once = await text();
    expect(once.startsWith("# Title\n\nbefore\n<!-- bench:opt125m -->\n")).toBe(true);
    expect(once.endsWith("\n<!-- /bench:opt125m -->\nafter\n")).toBe(true);
    expect(once).not.toContain("old");
    expect(run("--check").status).toBe(0);
    run();
    expect(await text()).toBe(once);
  });

  it("fail the check when the results say anything else, and stay as they are then", async () => {
    await write(result);
    expect(run("--check")).toMatchObject({ status: 1, err: expect.stringContaining("run node scripts/bench-tables.mjs") });
    expect(await text()).toBe(README);
    run();
    await write({ ...result, rows: result.rows.map((r) => ({ ...r, seconds: r.seconds + 1 })) });
    expect(run("--check").status).toBe(1);
  });

  it("stay as they are where there are no results yet", async () => {
    expect(run("--check")).toMatchObject({ status: 0, out: expect.stringContaining("stays as it is") });
    expect(run().status).toBe(0);
    expect(await text()).toBe(README);
  });

  it("say when the tree had changes, the model was a smaller one, and no peer ran", async () => {
    await write({ ...result, dirty: true, ratios: [], model: { ...result.model, layers: 2 } });
    run();
    expect(await text()).toContain("with changes beside it");
    expect(await text()).toContain("not OPT-125M");
    expect(await text()).toContain("Measured without a peer.");
    expect(await text()).not.toContain("x torch original");
  });

  it("are refused where a marker is missing or stands twice", async () => {
    await write(result);
    for (const broken of [README.replace("<!-- /bench:opt125m -->", ""), README + README, "<!-- /bench:opt125m -->\n<!-- bench:opt125m -->"]) {
      await writeFile(readme, broken);
      expect(run()).toMatchObject({ status: 1, err: expect.stringContaining("each once and in this order") });
      expect(await text()).toBe(broken);
    }
  });

  it("show the event loop's delay where the README has a place for it", async () => {
    const delay = { p50: 0.12, p99: 3.45, max: 9.99 };
    await write({ ...about, rows: [{ model: "tiny-opt", waits: 0, phases: { idle: { seconds: 2, delay } } }] }, "event-loop-cpu.json");
    await writeFile(readme, "<!-- bench:event-loop -->\n<!-- /bench:event-loop -->");
    run();
    expect((await text()).split("\n").map(cells)).toContainEqual(["tiny-opt", "idle", "2.0", "0.1", "3.5", "10.0", "0"]);
  });
});
