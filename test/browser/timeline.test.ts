/** Timelines in a real browser: what is drawn is where it belongs, in both schemes and on paper. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import puppeteer, { type Browser, type Page } from "puppeteer-core";
import type { LaneBar, LaneStep } from "../../src/page/lanes.js";
import { timelineDocument } from "../../src/page/timeline.js";
import { executablePath, inBrowser } from "./browser.js";

const LANES = ["upload", "prepare", "compute", "offload"];
const KIND: Readonly<Record<string, string>> = { compute: "run" };

/** A step of many units: each lane works on one after the other, a little behind the lane before. */
function stepOf(title: string, units: number, pace: number): LaneStep {
  const bars = Array.from({ length: units }, (_, unit) =>
    LANES.map(
      (lane, i): LaneBar => ({
        ...{ lane, what: KIND[lane] ?? lane, unit: `decoder.layers.${unit}`, bytes: 2 ** 20 },
        ...{ begin: (unit + i - 1) * pace, end: (unit + i - 0.2) * pace },
        cause: { what: "upload", lane: "upload", unit: `decoder.layers.${unit}` },
      }),
    ),
  );
  return { title, seconds: (units + 2) * pace, bars: bars.flat() };
}

/** In the page: the places of its bars, the lightness of the background, and how far it is wider than its window. */
const LOOK = `(() => {
  const boxes = [...document.querySelectorAll("svg.lanes rect:not(.bar-wait)")].map((r) => r.getBoundingClientRect());
  const svg = document.querySelector("svg.lanes").getBoundingClientRect();
  const root = document.documentElement;
  return {
    bars: boxes.length,
    within: boxes.every((b) => b.left >= svg.left && b.right <= svg.right + 0.5 && b.width > 0),
    background: getComputedStyle(document.body).backgroundColor,
    upload: getComputedStyle(document.querySelector(".bar-upload")).fill,
    overflow: root.scrollWidth - root.clientWidth,
    svgWidth: svg.width,
  };
})()`;

interface Seen {
  readonly bars: number;
  readonly within: boolean;
  readonly background: string;
  readonly upload: string;
  readonly overflow: number;
  readonly svgWidth: number;
}

inBrowser("a timeline in a browser", () => {
  let dir: string;
  let browser: Browser;
  let page: Page;
  const complaints: string[] = [];
  const UNITS = 200;

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), "zo2-timeline-"));
    const steps = [stepOf("predicted", UNITS, 1e-3), stepOf("measured", UNITS, 1.2e-3)];
    const shown = { title: "</title><script>throw 1</script>", lead: "l", lanes: LANES, steps, facts: [] };
    await writeFile(join(dir, "step.html"), timelineDocument(shown, new Date(0)));
    browser = await puppeteer.launch({
      ...(executablePath === undefined ? {} : { executablePath }),
      args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
    });
    page = await browser.newPage();
    page.on("console", (message) => complaints.push(message.text()));
    page.on("pageerror", (error) => complaints.push(String(error)));
    page.on("request", (request) => {
      if (!request.url().startsWith("file:")) complaints.push(request.url());
    });
  });
  afterAll(async () => {
    await browser?.close();
    await rm(dir, { recursive: true, force: true });
  });

  const look = async (scheme: "light" | "dark", width: number): Promise<Seen> => {
    await page.setViewport({ width, height: 900 });
    await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
    await page.goto(pathToFileURL(join(dir, "step.html")).href);
    return (await page.evaluate(LOOK)) as Seen;
  };

  test.each([1200, 500])("all bars are in the picture, which scrolls in a window of %d pixels", async (width) => {
    const [light, dark] = [await look("light", width), await look("dark", width)];
    for (const seen of [light, dark]) expect(seen).toMatchObject({ bars: 2 * 4 * UNITS, within: true, overflow: 0 });
    expect(light.background).toBe("rgb(255, 255, 255)");
    expect(dark.background).toBe("rgb(20, 23, 28)");
    expect(light.upload).not.toBe(dark.upload);
    expect(complaints).toEqual([]);
  });

  test("paper is light, and has room for all of it", async () => {
    const light = await look("light", 700);
    await look("dark", 700);
    await page.emulateMediaType("print");
    const printed = (await page.evaluate(LOOK)) as Seen;
    await page.emulateMediaType();
    expect(printed).toMatchObject({ background: light.background, upload: light.upload, within: true, overflow: 0 });
    expect(printed.svgWidth).toBeLessThanOrEqual(700);
  });
});
