import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { about as common } from "./about.js";
import { runScript } from "./modules.js";

const about = { ...common, build: "compiler; more", threads: 2 };
const row = (program: string, seconds: number) => ({
  shape: "8x128",
  program,
  seconds,
  tokensPerSecond: 1024 / seconds,
  memory: { peakMiB: 1000, runtimeMiB: 200, netMiB: 800 },
  quiet: 4,
  steps: 5,
});
const ratio = (program: string, against: string, value: number) => ({
  shape: "8x128",
  program,
  against,
  speed: { ratio: value, least: value - 0.5, most: value + 0.5, rounds: 5, quiet: 4 },
});
const result = {
  ...about,
  torch: "1.13",
  model: { layers: 12, hidden: 768, ffn: 3072, heads: 12, vocab: 50272, maxpos: 2048, parameters: 1 },
  rows: [row("torch original", 8), row("torch addcmul", 6), row("zo2 streamed", 4), row("zo2 resident", 16)],
  ratios: [
    ratio("torch addcmul", "torch original", 1.25),
    ratio("zo2 streamed", "torch original", 2),
    ratio("zo2 streamed", "torch addcmul", 1.5),
    ratio("zo2 resident", "torch original", 0.5),
  ],
  breakdown: [
    {
      shape: "8x128",
      seconds: 5,
      rows: [
        { what: "linear", share: 0.75 },
        { what: "prepare", share: 0.25 },
      ],
      matrixProducts: { gflops: 123.4 },
    },
  ],
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

const run = (...args: string[]) => runScript("scripts/bench-tables.mjs", "--root", dir, "--results", dir, ...args);
const write = (value: unknown, name = "opt125m-cpu.json") => writeFile(join(dir, name), JSON.stringify(value));
const text = () => readFile(readme, "utf8");
const cells = (line: string) =>
  line
    .split("|")
    .slice(1, -1)
    .map((c) => c.trim());

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
    expect(await text()).toContain(
      "A CPU, 2 cores, 8 GiB; Node v20.0.0; addon: compiler; commit 0123456789ab; 2026-01-02.",
    );
  });

  it("have the device memory of every model of the plan, in all three ways to hold it", async () => {
    const bytes = (gib: number) => ({ deviceBytes: gib * 2 ** 30, hostBytes: 9 * 2 ** 30 });
    const { build: _, ...machine } = about;
    await write(
      {
        ...machine,
        tokens: 2048,
        memory: [{ model: "M", parameters: 1.3e9, resident: bytes(4), streamed: bytes(2), small: bytes(1) }],
        moved: {
          ...{ model: "M", unitBytes: 2 ** 20, all: { up: 2 ** 31, down: 2 ** 31 } },
          norms: { up: 2 ** 31, down: 3 * 2 ** 20 },
        },
        planning: { model: "M", unitBytes: 2 ** 28, units: 1234, median: 9.96 },
      },
      "plan.json",
    );
    await writeFile(readme, "<!-- bench:plan -->\n<!-- /bench:plan -->\n");
    expect(run().status).toBe(0);
    const lines = (await text()).split("\n");
    const row = ["M", "1.3 G", "4.00 GiB", "2.00 GiB", "1.00 GiB", "9.00 GiB"];
    expect(lines.filter((l) => l.startsWith("| M ")).map(cells)).toEqual([row]);
    expect(await text()).toContain("2.00 GiB and 3 MiB when only the norms are");
    expect(await text()).toContain("M in 1,234 units takes 10.0 ms");
    expect(await text()).toContain("A CPU, 2 cores, 8 GiB; Node v20.0.0; commit 0123456789ab; 2026-01-02.");
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
    expect(run("--check")).toMatchObject({
      status: 1,
      err: expect.stringContaining("run node scripts/bench-tables.mjs"),
    });
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
    for (const broken of [
      README.replace("<!-- /bench:opt125m -->", ""),
      README + README,
      "<!-- /bench:opt125m -->\n<!-- bench:opt125m -->",
    ]) {
      await writeFile(readme, broken);
      expect(run()).toMatchObject({ status: 1, err: expect.stringContaining("each once and in this order") });
      expect(await text()).toBe(broken);
    }
  });

  it("show the event loop's delay where the README has a place for it", async () => {
    const delay = { p50: 0.12, p99: 3.45, max: 9.99 };
    await write(
      { ...about, rows: [{ model: "tiny-opt", waits: 0, phases: { idle: { seconds: 2, delay } } }] },
      "event-loop-cpu.json",
    );
    await writeFile(readme, "<!-- bench:event-loop -->\n<!-- /bench:event-loop -->");
    run();
    expect((await text()).split("\n").map(cells)).toContainEqual([
      "tiny-opt",
      "idle",
      "2.0",
      "0.1",
      "3.5",
      "10.0",
      "0",
    ]);
  });

  it("are refused where a page names one that does not exist", async () => {
    await writeFile(readme, "<!-- bench:opt225m -->\n<!-- /bench:opt225m -->");
    expect(run("--check")).toMatchObject({
      status: 1,
      err: expect.stringContaining("there is no table opt225m; there are plan, opt125m, event-loop, smollm2, "),
    });
  });
});

const PAGE = "# Story\n<!-- bench:smollm2 -->\n<!-- /bench:smollm2 -->\nend\n";
const said = (answer: string, reason = "eos") => [{ question: "Name | three", answer, reason, tokens: 3, seconds: 1 }];
const smollm2 = {
  ...about,
  model: { name: "SmolLM2-135M-Instruct", parameters: 134515008 },
  offload: "host",
  wire: "fp32",
  steps: 60,
  batch: 16,
  learningRate: 4e-5,
  schedule: "linear",
  eps: 1e-3,
  seed: 7,
  template: { prompt: "{text} It was", choices: [" terrible", " great"] },
  deviceBytes: 3 * 2 ** 20,
  hostBytes: 5 * 2 ** 20,
  secondsPerStep: 6.543,
  before: {
    test: { loss: 0.84921, accuracy: 0.6049, examples: 415, seconds: 2 },
    said: said("Red,\n* <b>blue", "length"),
  },
  after: { test: { loss: 0.31, accuracy: 0.8747, examples: 415, seconds: 2 }, said: said("Green.") },
  evaluations: [
    { step: 30, loss: 0.5, accuracy: 0.8 },
    { step: 60, loss: 0.4, accuracy: 0.85 },
  ],
  // Two whole means, 2 and 1, and one of the last ten steps: 1.5.
  curve: {
    loss: Array.from({ length: 60 }, (_, i) => (i < 25 ? 1 + 2 * (i % 2) + (i === 24 ? 1 : 0) : i < 50 ? 1 : 1.5)),
    seconds: [],
    tokens: [],
  },
};

describe("the tutorial's figures", () => {
  let page: string;
  beforeEach(async () => {
    await mkdir(join(dir, "docs"));
    page = join(dir, "docs", "tutorial.md");
    await writeFile(page, PAGE);
  });
  const made = async (value: unknown) => {
    await write(value, "smollm2-cpu.json");
    expect(run().status).toBe(0);
    return readFile(page, "utf8");
  };

  it("stand in a page of docs/, which the check holds against the results too", async () => {
    await write(smollm2, "smollm2-cpu.json");
    expect(run("--check")).toMatchObject({ status: 1, err: expect.stringContaining("tutorial.md") });
    expect(await readFile(page, "utf8")).toBe(PAGE);
    await made(smollm2);
    expect(run("--check").status).toBe(0);
    expect(await text()).toBe(README);
  });

  it("leave the page as it is while there is no result", async () => {
    expect(run().status).toBe(0);
    expect(run("--check").status).toBe(0);
    expect(await readFile(page, "utf8")).toBe(PAGE);
  });

  it("say accuracy and loss before, on the way and after, and what it took", async () => {
    const text = await made(smollm2);
    const rows = text.split("\n").map(cells);
    expect(rows).toContainEqual(["`test.jsonl`, 415 sentences", "accuracy", "loss"]);
    expect(rows).toContainEqual(["before", "0.605", "0.8492"]);
    expect(rows).toContainEqual(["after, saved and loaded again", "0.875", "0.3100"]);
    expect(rows).toContainEqual(["30", "0.800", "0.5000"]);
    expect(rows).toContainEqual(["60", "0.850", "0.4000"]);
    for (const part of [
      "60 steps of 16 sentences",
      "fp32 weights streamed from host memory",
      "2 threads",
      "learning rate 4e-5 (linear)",
      "eps 1e-3",
      "seed 7",
      "6.54 s (median)",
      "3 MiB of device memory",
      "5 MiB of host memory",
      "134,515,008 parameters",
      "`{text} It was`",
    ])
      expect(text).toContain(part);
    expect(text).toContain("A CPU, 2 cores, 8 GiB; Node v20.0.0; addon: compiler; commit 0123456789ab; 2026-01-02.");
    expect(text.endsWith("\n<!-- /bench:smollm2 -->\nend\n")).toBe(true);
    expect(await made({ ...smollm2, offload: "device" })).toContain("fp32 weights resident on the device");
  });

  it("draw the loss with a mark for each 25 steps, the last for what is left", async () => {
    const text = await made(smollm2);
    expect(text).toContain("from 1.000 (lowest mark) to 2.000");
    expect(text.split("\n")).toContain("`█▁▅`");
    expect(await made({ ...smollm2, curve: { ...smollm2.curve, loss: [1, 1] } })).toContain("\n`▁`\n");
  });

  it("show what was said as text, whatever it holds, with dots where it was cut off", async () => {
    const text = await made(smollm2);
    expect(text.split("\n")).toContain("| Name \\| three | Red, \\* \\<b\\>blue ... | Green. |");
  });
});

describe("the table of mutants", () => {
  const room = { mutants: 40, static: 4, sampled: 20, killed: 14, timedOut: 1, survived: 3, uncovered: 2, score: 0.75 };
  const none = { mutants: 9, static: 2, sampled: 0, killed: 0, timedOut: 0, survived: 0, uncovered: 0, score: null };
  const { device, date, commit, dirty, node } = about;
  const mutants = { seed: 3, share: 0.5, seconds: 610, all: room, rooms: { train: room, config: none } };

  it("has a row for each room and one for all, and says what the sample leaves open", async () => {
    await writeFile(readme, "<!-- bench:mutants -->\n<!-- /bench:mutants -->");
    await write({ ...mutants, device, date, commit, dirty, node }, "mutants.json");
    expect(run().status).toBe(0);
    const made = await text();
    expect(made.split("\n").slice(3, 6).map(cells)).toEqual([
      ["`train/`", "40", "20", "14", "1", "3", "2", "75 %"],
      ["`config/`", "9", "0", "0", "0", "0", "0", ""],
      ["all", "40", "20", "14", "1", "3", "2", "75 %"],
    ]);
    // 1.96 sqrt(0.75 x 0.25 / 20)
    expect(made).toContain("with the probability 0.5, by seed 3; 4 that change");
    expect(made).toContain("A sample of 20 leaves about 19 % either way");
    expect(made).toContain("10 minutes");
    expect(made).toContain(commit.slice(0, 12));
  });
});
