import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SCRIPT } from "../../../src/page/assets.generated.js";
import { BACKGROUNDS, RUN_COLOURS } from "../../../src/page/browser/palette.js";
import type { Picture } from "../../../src/page/data.js";
import { documentOf } from "../../../src/page/document.js";
import { optionFacts, planRows, runFacts } from "../../../src/page/facts.js";
import { html, jsonIn } from "../../../src/page/html.js";
import { markersOf } from "../../../src/page/markers.js";
import { readMetrics } from "../../../src/page/metrics.js";
import { pictureOf } from "../../../src/page/picture.js";
import { namesOf, openRuns, placeOf } from "../../../src/page/run.js";
import { summaryOf } from "../../../src/page/summary.js";
import { makeCompact, makeRun, type MadeRun, SESSION } from "../../support/runs.js";
import { HEADER } from "../journal/support.js";

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "zo2-page-"));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

const open = async (...paths: string[]) => openRuns(await Promise.all(paths.map(placeOf)));
const made = async (o: MadeRun, name = "a.run") => open(await makeRun(join(dir, name), o));
const pageOf = (runs: Awaited<ReturnType<typeof open>>) => documentOf(runs, new Date("2026-11-30T12:00:00Z"));

/** The numbers that a page draws. */
function drawnIn(page: string): Picture {
  const [, json = ""] = /<script type="application\/json" id="picture">(.*?)<\/script>/s.exec(page) ?? [];
  return JSON.parse(json) as Picture;
}

describe("what is drawn", () => {
  test("is each step's mean loss, its coefficient, its rate, and the evaluations where they were made", async () => {
    const runs = await made({ steps: 40, every: 10, loss: (step) => 2 - step / 100, metrics: true });
    const picture = pictureOf(runs, 10);
    const [run] = picture.runs;
    expect(run!.loss!.raw).toMatchObject({ steps: null });
    expect(run!.loss!.raw.values[30]).toBeCloseTo(1.7, 4);
    expect(run!.coefficients).toHaveLength(1);
    expect(run!.coefficients[0]!.values).toHaveLength(40);
    expect(run!.rate!.values[7]).toBe(1e-4);
    expect(run!.evaluations!.loss).toEqual({ steps: [10, 20, 30, 40], values: [1.9, 1.8, 1.7, 1.6] });
    expect(run!.evaluations).toMatchObject({ best: 3, accuracy: { values: [0.5, 0.5, 0.5, 0.5] } });
    expect(run!.speed!.raw.values[0]).toBe(4000);
    expect(run!.distribution.reduce((a, b) => a + b, 0)).toBeCloseTo(100, 1);
    expect(run!.distribution).toHaveLength(picture.bins.length - 1);
  });

  test("marks where another process went on, and not where the first one began", async () => {
    const [run] = await made({ steps: 30, sessions: [0, 10, 25] });
    expect(markersOf(run!.journal)).toEqual([
      { kind: "session", step: 10, steps: 0, text: "resumed at 10" },
      { kind: "session", step: 25, steps: 0, text: "resumed at 25" },
    ]);
  });

  test("has no accuracy where nothing is right or wrong, and gaps where one is missing", async () => {
    const none = pictureOf(await made({ steps: 4, every: 2, accuracy: () => null }), 10);
    expect(none.runs[0]!.evaluations!.accuracy).toBeNull();
    const some = pictureOf(await made({ steps: 4, every: 2, accuracy: (k) => (k === 2 ? null : 0.75) }, "b.run"), 10);
    expect(some.runs[0]!.evaluations!.accuracy!.values).toEqual([null, 0.75]);
  });

  test("of a compact journal has no losses and no evaluations", async () => {
    const run = await makeRun(join(dir, "a.run"), { steps: 12, every: 4 });
    const runs = await open(await makeCompact(run, join(dir, "a.zo2")));
    expect(pictureOf(runs, 10).runs[0]).toMatchObject({ loss: null, evaluations: null, speed: null, markers: [] });
    expect(pageOf(runs)).toContain("A compact journal has no losses.");
  });

  test("puts the coefficients of several runs into the same bins", async () => {
    const runs = [...(await made({ steps: 20 })), ...(await made({ steps: 50 }, "b.run"))];
    const { bins, runs: pictures } = pictureOf(runs, 10);
    for (const { distribution } of pictures) {
      expect(distribution).toHaveLength(bins.length - 1);
      expect(distribution.reduce((a, b) => a + b, 0)).toBeCloseTo(100, 1);
    }
  });
});

describe("what is said", () => {
  test("marks the options that differ, and no others", async () => {
    const method = (learningRate: number) => ({ training: { method: { name: "mezo-sgd", learningRate }, seed: "7" } });
    const runs = [
      ...(await made({ steps: 2, header: method(1e-4) })),
      ...(await made({ steps: 2, header: method(1e-5) }, "b.run")),
    ];
    const facts = optionFacts(runs);
    expect(facts.filter(({ differs }) => differs)).toEqual([
      { label: "method.learningRate", values: ["0.0001", "0.00001"], differs: true },
    ]);
    expect(facts.map(({ label }) => label)).toEqual(expect.arrayContaining(["seed", "offload.slots", "dtype"]));
    expect(pageOf(runs)).toContain('<tr class="differs"><th scope="row">method.learningRate</th>');
  });

  test("has the plan by part, and what was in use", async () => {
    const rows = planRows(await made({ steps: 3, metrics: true }));
    expect(rows.map(({ label, bytes }) => [label, bytes[0]])).toEqual([
      ["device, planned", 6 * 2 ** 20],
      ["3 slots", 4 * 2 ** 20],
      ["W+ and W-", 2 * 2 ** 20],
      ["device, most in use", 5 * 2 ** 20],
      ["host, planned", 17 * 2 ** 20],
    ]);
    const { plan: _, ...without } = SESSION;
    expect(planRows(await made({ steps: 1, session: { ...without, plan: undefined } }, "b.run"))).toEqual([]);
  });

  test("sums a run up: first and last losses, the best evaluation, tokens over seconds", async () => {
    const [run] = await made({ steps: 100, every: 50, loss: (step) => 2 - step / 100, metrics: true });
    const summary = summaryOf(run!, 10);
    expect(summary).toMatchObject({ steps: 100, evaluations: 2, best: { step: 100 }, tokens: 40_000 });
    expect(summary.firstLoss).toBeCloseTo(1.955, 6);
    expect(summary.tokensPerSecond).toBeCloseTo(400 / 0.12, 6);
  });

  test("says that a tail was torn off, and how a run ended", async () => {
    const runs = await made({ steps: 5, torn: 7 });
    expect(pageOf(runs)).toContain("The journal ends amid a record: its last 7 bytes are left out.");
    expect(runFacts(runs).at(-1)!.values).toEqual(["ended amid a record: the last 7 bytes are left out"]);
    expect(pageOf(await made({ steps: 5 }, "b.run"))).not.toContain('class="notices"><li');
  });

  test.each([0, 1])("a run of %d steps has a page", async (steps) => {
    const page = pageOf(await made({ steps }));
    expect(page).toContain(steps === 0 ? "No step has been taken." : 'data-chart="loss"');
    expect(/NaN|undefined|Infinity/.exec(page.replace(SCRIPT, ""))).toBeNull();
  });

  test("calls runs by their folders, and by more where two are called alike", () => {
    expect(namesOf(["/a/x.run", "/a/y.run/"])).toEqual(["x.run", "y.run"]);
    expect(namesOf(["/a/x.run", "/b/x.run"])).toEqual(["a/x.run", "b/x.run"]);
    expect(namesOf(["/c/a/x", "/d/a/x"])).toEqual(["/c/a/x", "/d/a/x"]);
    expect(namesOf(["x", "x"])).toEqual(["x (1)", "x (2)"]);
  });
});

describe("a page", () => {
  const HOSTILE = `</script><script>alert(1)</script><!-- "'&`;

  test("takes nothing that a run says for HTML", async () => {
    const runs = await made(
      {
        steps: 3,
        header: {
          base: { ...HEADER.base, name: HOSTILE },
          data: { ...HEADER.data, path: HOSTILE },
          training: { [HOSTILE]: HOSTILE, method: { name: HOSTILE } },
        },
        session: { device: HOSTILE, package: HOSTILE, runtime: HOSTILE, started: HOSTILE, options: { steps: HOSTILE } },
      },
      "<img src=x> & co.run",
    );
    const [run] = runs;
    const page = pageOf([
      { ...run!, name: HOSTILE },
      { ...run!, name: "plain" },
    ]);
    expect(page).not.toContain("alert(1)</script><!--");
    expect(page.match(/<script/g)).toHaveLength(2);
    expect(page.match(/<\/script/g)).toHaveLength(2);
    expect(page.match(/<!--/g)).toHaveLength(1);
    expect(drawnIn(page).runs[0]!.name).toBe(HOSTILE);
    expect(page).toContain("&lt;/script&gt;&lt;script&gt;alert(1)&lt;/script&gt;&lt;!-- &quot;&#39;&amp;");
  });

  test("names nothing that would be fetched", async () => {
    const page = pageOf(await made({ steps: 3 }));
    expect(/\b(?:src|href)=|@import|url\(/.exec(page)).toBeNull();
    const [, policy = ""] = /Content-Security-Policy" content="([^"]*)"/.exec(page) ?? [];
    expect(policy.replace(/&#39;/g, "'")).toMatch(
      /^default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-[\w+/=]{44}'$/,
    );
    expect(page).toContain("Permission is hereby granted, free of charge");
  });

  test("of 20,000 steps is small", async () => {
    const runs = await made({ steps: 20_000, every: 500, metrics: true });
    const begin = performance.now();
    const page = pageOf(runs);
    expect(performance.now() - begin).toBeLessThan(5000);
    expect(page.length).toBeLessThan(2 * 2 ** 20);
    expect(drawnIn(page).runs[0]!.loss!.raw.values).toHaveLength(20_000);
  });

  test("escapes values and keeps markup", () => {
    expect(html`<b>${["a<b", html`<i>${1}</i>`, null]}</b>`.text).toBe("<b>a&lt;b<i>1</i></b>");
    expect(JSON.parse(jsonIn({ "</script>": "<!--" }).text)).toEqual({ "</script>": "<!--" });
    expect(jsonIn("</script>").text).not.toContain("<");
  });
});

test("metrics are read in the order of the steps; what is no step's, and half a line, is passed over", async () => {
  const path = join(dir, "metrics.jsonl");
  const line = (step: number, tokens: number) => JSON.stringify({ step, tokens, seconds: 1, loss: 1 });
  await writeFile(path, `${line(1, 10)}\n${line(0, 5)}\n[]\nnull\n{"stepsTaken":2}\n${line(1, 20)}\n{"step": 2, "to`);
  expect(await readMetrics(path)).toEqual([
    { step: 0, tokens: 5, seconds: 1, deviceBytes: 0 },
    { step: 1, tokens: 20, seconds: 1, deviceBytes: 0 },
  ]);
  expect(await readMetrics(join(dir, "none"))).toBeNull();
  await expect(readMetrics(dir)).rejects.toMatchObject({ code: "ZO2_ERR_IO" });
});

describe("colours of runs", () => {
  const channel = (byte: number) =>
    byte / 255 <= 0.04045 ? byte / 255 / 12.92 : ((byte / 255 + 0.055) / 1.055) ** 2.4;
  /** Relative luminance, as WCAG has it. */
  const luminance = (hex: string) => {
    const [r, g, b] = [1, 3, 5].map((at) => channel(Number.parseInt(hex.slice(at, at + 2), 16)));
    return 0.2126 * r! + 0.7152 * g! + 0.0722 * b!;
  };
  test.each(["light", "dark"] as const)("have 4.5:1 before the %s background, and are different", async (theme) => {
    const back = luminance(BACKGROUNDS[theme]);
    for (const colour of RUN_COLOURS[theme]) {
      const [high, low] = [luminance(colour), back].sort((a, b) => b - a);
      expect((high! + 0.05) / (low! + 0.05)).toBeGreaterThanOrEqual(4.5);
    }
    expect(new Set(RUN_COLOURS[theme]).size).toBe(8);
    const style = await readFile(join(__dirname, "../../../src/page/browser/page.css"), "utf8");
    expect(style).toContain(`--background: ${BACKGROUNDS[theme]};`);
  });
});
