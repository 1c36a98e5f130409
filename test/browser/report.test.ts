/** Reports in a real browser. Skipped where there is none: Debian's is `apt-get install chromium`. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { constants, inflateSync } from "node:zlib";
import puppeteer, { type Browser, type Page } from "puppeteer-core";
import { LANES_FILE, lanesText } from "../../src/page/lanes-file.js";
import { writeReport } from "../../src/page/report.js";
import { makeCompact, makeRun } from "../support/runs.js";
import { HEADER } from "../unit/journal/support.js";
import { executablePath, inBrowser } from "./browser.js";

const CHARTS = [
  ...["loss", "evaluation-loss", "evaluation-accuracy", "coefficients", "distribution", "rate", "speed"],
] as const;

/** In the page: of each chart's canvas, how many colours and how much of it is drawn on. */
const LOOK_AT_CHARTS = `Object.fromEntries([...document.querySelectorAll("[data-chart]")].map((figure) => {
  const canvas = figure.querySelector("canvas");
  if (canvas === null) return [figure.dataset.chart, null];
  const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
  copy.drawImage(canvas, 0, 0);
  const { data } = copy.getImageData(0, 0, canvas.width, canvas.height);
  const colours = new Set();
  let drawn = 0;
  for (let i = 0; i < data.length; i += 4) {
    if (data[i + 3] === 0) continue;
    drawn++;
    if (data[i + 3] === 255) colours.add((data[i] << 16) | (data[i + 1] << 8) | data[i + 2]);
  }
  const hex = [...colours].map((colour) => "#" + colour.toString(16).padStart(6, "0"));
  return [figure.dataset.chart, { drawn, colours: hex, width: canvas.getBoundingClientRect().width }];
}))`;

interface Seen {
  readonly drawn: number;
  readonly colours: readonly string[];
  readonly width: number;
}

/** A step of a run, of 60 units on three lanes. */
const UNITS = 60;
const laneStep = (title: string, pace: number) => ({
  ...{ title, seconds: UNITS * pace },
  bars: Array.from({ length: UNITS }, (_, i) =>
    ["upload", "compute", "offload"].map((lane, k) => ({
      ...{ lane, what: lane === "compute" ? "run" : lane, unit: `layers.${i}`, bytes: 2 ** 20 },
      ...{ begin: (i + k - 1) * pace, end: (i + k - 0.3) * pace },
      cause: { what: "upload", lane: "upload", unit: `layers.${i}` },
    })),
  ).flat(),
});
const LANES = {
  ...{ step: 2, device: "a GPU", figures: "another", lanes: ["upload", "compute", "offload"] },
  steps: [laneStep("predicted", 0.01), laneStep("measured", 0.012)],
};

/** In the page: bars of lanes, whether each lies within the picture, and the colour of one. */
const LOOK_AT_LANES = `(() => {
  const svg = document.querySelector("svg.lanes").getBoundingClientRect();
  const bars = [...document.querySelectorAll("svg.lanes rect:not(.bar-wait)")].map((r) => r.getBoundingClientRect());
  return {
    bars: bars.length,
    within: bars.every((b) => b.left >= svg.left && b.right <= svg.right + 0.5 && b.width > 0),
    upload: getComputedStyle(document.querySelector("rect.bar-upload")).fill,
    waits: document.querySelectorAll("svg.lanes rect.bar-wait").length,
  };
})()`;

/** Colours of the first two runs, and of the background. */
const LIGHT = { runs: ["#1d5fa8", "#b9480f"], background: "rgb(255, 255, 255)" };
const DARK = { runs: ["#6fb1ff", "#ff9d5c"], background: "rgb(20, 23, 28)" };

/** What a PDF draws, as text: Chromium prints what lies on a canvas as lines, not as a picture. */
function drawingOf(pdf: Buffer): string {
  const text = pdf.toString("latin1");
  return [...text.matchAll(/\/FlateDecode[^>]*>>\s*stream\r?\n/g)]
    .map(({ index, 0: { length } }) => pdf.subarray(index + length, text.indexOf("endstream", index)))
    .map((bytes) => inflateSync(bytes, { finishFlush: constants.Z_SYNC_FLUSH }).toString("latin1"))
    .join("\n");
}

/** How often a drawing takes a colour for a line or an area. */
function colourIn(drawing: string): (hex: string) => number {
  const taken = [...drawing.matchAll(/([\d.]+) ([\d.]+) ([\d.]+) (?:RG|rg)\b/g)].map(([, ...channels]) =>
    channels.map((channel) => Math.round(Number(channel) * 255)).join(),
  );
  return (hex) => {
    const wanted = [1, 3, 5].map((at) => Number.parseInt(hex.slice(at, at + 2), 16)).join();
    return taken.filter((colour) => colour === wanted).length;
  };
}

inBrowser("a report in a browser", () => {
  let dir: string;
  let browser: Browser;
  let page: Page;
  let complaints: string[];
  const files: Record<string, string> = {};

  const report = async (name: string, ...runs: string[]) => {
    files[name] = join(dir, `${name}.html`);
    await writeReport(runs, files[name]);
  };

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), "zo2-browser-"));
    const method = (learningRate: number) => ({ training: { method: { name: "mezo-sgd", learningRate }, seed: "7" } });
    const whole = { every: 20, metrics: true };
    const a = await makeRun(join(dir, "a.run"), { ...whole, steps: 200, sessions: [0, 60], header: method(1e-4) });
    const b = await makeRun(join(dir, "b.run"), {
      ...whole,
      steps: 120,
      loss: (k) => 1.5 - k / 400,
      header: method(1e-5),
    });
    const names = { base: { ...HEADER.base, name: "</script><script>throw 1</script>".repeat(9) } };
    await report("one", a);
    await report("two", a, b);
    await writeFile(join(a, LANES_FILE), lanesText(LANES));
    await report("lanes", a, b);
    await report("none", await makeRun(join(dir, "0.run"), { steps: 0 }));
    await report("single", await makeRun(join(dir, "1.run"), { steps: 1, metrics: true, torn: 9, header: names }));
    await report("compact", await makeCompact(a, join(dir, "a.zo2")));
    await report("long", await makeRun(join(dir, "long.run"), { steps: 20_000, every: 1000, metrics: true }));
    browser = await puppeteer.launch({
      ...(executablePath === undefined ? {} : { executablePath }),
      args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
    });
  });
  afterAll(async () => {
    await browser?.close();
    await rm(dir, { recursive: true, force: true });
  });
  beforeEach(async () => {
    page = await browser.newPage();
    complaints = [];
    page.on("console", (message) => complaints.push(`${message.type()}: ${message.text()}`));
    page.on("pageerror", (error) => complaints.push(String(error)));
    page.on("request", (request) => {
      if (!request.url().startsWith("file:")) complaints.push(`asks for ${request.url()}`);
    });
  });
  afterEach(async () => {
    await page.close();
    expect(complaints).toEqual([]);
  });

  const open = async (name: string, o: { width?: number; scheme?: "light" | "dark" } = {}) => {
    await page.setViewport({ width: o.width ?? 1200, height: 900 });
    await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: o.scheme ?? "light" }]);
    await page.goto(pathToFileURL(files[name]!).href);
    await page.waitForSelector(":root[data-drawn]");
    await settled();
  };
  /** uPlot draws in a microtask, and follows a change of size. */
  const settled = () =>
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))");
  const charts = () => page.evaluate(LOOK_AT_CHARTS) as Promise<Record<string, Seen | null>>;
  const background = () => page.evaluate("getComputedStyle(document.body).backgroundColor");
  /** Pixels that the page is wider than its window. */
  const overflow = () => page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth");

  test.each([
    ["light", LIGHT],
    ["dark", DARK],
  ] as const)("draws every chart in the colours of a %s system", async (scheme, { runs, background: back }) => {
    await open("one", { scheme });
    const seen = await charts();
    expect(Object.keys(seen).sort()).toEqual([...CHARTS].sort());
    for (const chart of Object.values(seen)) {
      expect(chart!.drawn).toBeGreaterThan(1000);
      if (chart !== seen["coefficients"]) expect(chart!.colours).toContain(runs[0]);
    }
    expect(await background()).toBe(back);
    expect(await overflow()).toBe(0);
  });

  test("draws the lanes of a step, predicted and measured, in the colours of the page", async () => {
    await open("lanes");
    const bars = 2 * 3 * UNITS;
    const seen = (await page.evaluate(LOOK_AT_LANES)) as { readonly upload: string };
    expect(seen).toMatchObject({ bars, within: true, waits: bars - 2 * 3 });
    expect(await overflow()).toBe(0);
    await page.click("#theme");
    await settled();
    const dark = (await page.evaluate(LOOK_AT_LANES)) as { readonly upload: string };
    expect(dark).toMatchObject({ bars, within: true });
    expect(dark.upload).not.toBe(seen.upload);
    await open("lanes", { width: 360 });
    expect(await overflow()).toBe(0);
  });

  test("changes between light and dark at a click", async () => {
    await open("one");
    await page.click("#theme");
    await settled();
    expect(await background()).toBe(DARK.background);
    expect((await charts())["loss"]!.colours).toContain(DARK.runs[0]);
    await page.click("#theme");
    expect(await background()).toBe(LIGHT.background);
  });

  test("lays two runs over one another, hides one at a click, and marks what differs", async () => {
    await open("two");
    for (const id of ["loss", "evaluation-loss", "rate", "speed"])
      expect((await charts())[id]!.colours).toEqual(expect.arrayContaining(LIGHT.runs));
    await page.click('button[data-run="1"]');
    await settled();
    expect((await charts())["loss"]!.colours).not.toContain(LIGHT.runs[1]);
    expect((await charts())["loss"]!.colours).toContain(LIGHT.runs[0]);
    const rows = () =>
      page.evaluate('[...document.querySelectorAll(".facts tbody tr")].filter((r) => r.offsetHeight).length');
    const differing = await page.$$eval("tr.differs th", (heads) => heads.map((head) => head.textContent));
    expect(differing).toContain("method.learningRate");
    const all = await rows();
    await page.click("#differing");
    expect(await rows()).toBe(differing.length);
    expect(await rows()).toBeLessThan(Number(all));
  });

  test("says the values under the pointer, and looks closer where one drags", async () => {
    await open("one");
    const box = (await (await page.$('[data-chart="loss"] .u-over'))!.boundingBox())!;
    await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
    await settled();
    const tip = () => page.$eval('[data-chart="loss"] .tip', (element) => element.textContent);
    expect(await tip()).toMatch(/^steps taken (99|100|101)this step\d\.\d+smoothed\d\.\d+$/);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width * 0.75, box.y + box.height / 2, { steps: 4 });
    await page.mouse.up();
    await page.mouse.move(box.x + 20, box.y + box.height / 2);
    await settled();
    expect(await tip()).toMatch(/^steps taken 10[0-3]this/);
  });

  test("fits a narrow window", async () => {
    for (const name of ["one", "two", "single"]) {
      await open(name, { width: 360 });
      expect(await overflow()).toBe(0);
    }
    await open("one", { width: 1200 });
    const before = (await charts())["loss"]!.width;
    await page.setViewport({ width: 500, height: 900 });
    await settled();
    expect(await overflow()).toBe(0);
    expect((await charts())["loss"]!.width).toBeLessThan(before / 2);
  });

  test("is light on paper, with its charts whole, and as before behind that", async () => {
    // Chosen on the page: an emulated kind of medium and an emulated scheme undo one another.
    await open("two");
    await page.click("#theme");
    await page.evaluate('dispatchEvent(new Event("beforeprint"))');
    await page.emulateMediaType("print");
    await settled();
    expect(await background()).toBe(LIGHT.background);
    for (const chart of Object.values(await charts())) {
      expect(chart!.width).toBeLessThanOrEqual(660);
      if (chart!.colours.length > 3) expect(chart!.colours).toEqual(expect.not.arrayContaining(DARK.runs));
    }
    expect((await charts())["loss"]!.colours).toEqual(expect.arrayContaining(LIGHT.runs));
    await page.emulateMediaType();
    await page.evaluate('dispatchEvent(new Event("afterprint"))');
    await settled();
    expect((await charts())["loss"]!.colours).toEqual(expect.arrayContaining(DARK.runs));
    const pdf = Buffer.from(await page.pdf({ format: "A4" }));
    const inked = colourIn(drawingOf(pdf));
    // The smoothed loss, tokens/s, the rate, evaluations: lines of the charts, besides the samples in the tables.
    for (const colour of LIGHT.runs) expect(inked(colour)).toBeGreaterThan(20);
    for (const colour of DARK.runs) expect(inked(colour)).toBe(0);
    expect(pdf.toString("latin1").match(/\/Type\s*\/Page\b/g)!.length).toBeLessThanOrEqual(8);
  });

  test.each([
    ["none", []],
    ["single", ["coefficients", "distribution", "loss", "rate", "speed"]],
    ["compact", ["coefficients", "distribution", "rate"]],
  ])("a run that is %s has the charts that it can have", async (name, expected) => {
    await open(name);
    const seen = await charts();
    const drawn = Object.entries(seen).flatMap(([id, chart]) => (chart === null ? [] : [id]));
    expect(drawn.sort()).toEqual(expected);
    for (const id of drawn) expect(seen[id]!.drawn).toBeGreaterThan(500);
    expect(await overflow()).toBe(0);
    expect(await page.$$eval(".empty", (empty) => empty.every(({ textContent }) => textContent !== ""))).toBe(true);
  });

  test("20,000 steps are there at once", async () => {
    await open("long");
    const took = await page.evaluate(
      'new Promise((done) => { const begin = performance.now(); document.getElementById("theme").click();' +
        " requestAnimationFrame(() => done(performance.now() - begin)); })",
    );
    expect(Number(took)).toBeLessThan(3000);
    for (const chart of Object.values(await charts())) expect(chart!.drawn).toBeGreaterThan(1000);
  });
});
