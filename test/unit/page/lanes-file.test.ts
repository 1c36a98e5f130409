import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TIMELINE_STYLE } from "../../../src/page/assets.generated.js";
import { documentOf } from "../../../src/page/document.js";
import { LANES_FILE, lanesText, type RunLanes } from "../../../src/page/lanes-file.js";
import { openRuns, placeOf } from "../../../src/page/run.js";
import { makeRun } from "../../support/runs.js";

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "zo2-lanes-"));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

const cause = { what: "upload", lane: "upload", unit: "layers.<1>" };
const step = (title: string, pace: number) => ({
  ...{ title, seconds: 2 * pace },
  bars: [
    { lane: "upload", what: "upload", unit: "layers.<1>", begin: 0, end: pace, bytes: 2 ** 20, cause: null },
    { lane: "compute", what: "prepare", unit: "layers.<1>", begin: 0, end: pace / 4, draws: 1000, cause: null },
    { lane: "compute", what: "run", unit: "layers.<1>", probe: 1, begin: pace, end: 2 * pace, flops: 2e9, cause },
  ],
});
const LANES: Omit<RunLanes, "version"> = {
  ...{ step: 2, device: "a <GPU>", figures: "an H100, its data sheet", lanes: ["upload", "compute"] },
  steps: [step("predicted", 0.25), step("measured", 0.5)],
};

/** The page on runs with these texts as their lanes; null: with no such file. */
async function pageOf(...texts: (string | null)[]): Promise<string> {
  const paths = await Promise.all(
    texts.map(async (text, i) => {
      const run = await makeRun(join(dir, `${i}.run`), { steps: 4 });
      if (text !== null) await writeFile(join(run, LANES_FILE), text);
      return run;
    }),
  );
  const runs = await openRuns(await Promise.all(paths.map(placeOf)));
  return documentOf(runs, new Date("2026-11-30T12:00:00Z"));
}

test("a report draws the predicted step above the measured one, with bytes, waits and whose figures", async () => {
  const page = await pageOf(lanesText(LANES));
  expect(page.match(/<svg class="lanes"/g)).toHaveLength(1);
  expect(page).toContain(TIMELINE_STYLE);
  expect(page.indexOf("predicted: 500 ms")).toBeGreaterThan(0);
  expect(page.indexOf("measured: 1 s")).toBeGreaterThan(page.indexOf("predicted: 500 ms"));
  expect(page).toContain("Step 2, on a &lt;GPU&gt;. The prediction is made of the figures of an H100, its data sheet.");
  expect(page).toContain("1 MiB, 0.00210 GB/s");
  expect(page).toContain("waited for upload of layers.&lt;1&gt; on the upload lane");
  // Of the measured step: from where its prepare has ended to where its run begins.
  const waits = page.slice(page.lastIndexOf("waits for</th>"));
  expect(waits).toMatch(
    />compute<\/th><td>upload on the upload lane<\/td>\s*<td class="number">1<\/td><td [^>]*>375 ms/,
  );
  expect(page).not.toContain("layers.<1>");
});

test("without known figures there is the measured step alone, and the page says why", async () => {
  const page = await pageOf(lanesText({ ...LANES, figures: null, steps: [step("measured", 0.5)] }));
  expect(page).not.toContain("predicted:");
  expect(page).toContain("There is no prediction beside it");
});

test.each([
  ["is not there", null, "no step of it was traced"],
  ["is no JSON", '{"version":1,', "not JSON"],
  ["is of another version", lanesText(LANES).replace('"version":1', '"version":2'), "version"],
  ["lacks a time", lanesText(LANES).replace('"begin":0,', '"begin":null,'), "steps.0.bars.0.begin"],
  ["has what nobody knows", lanesText(LANES).replace('"step":2', '"step":2,"more":1'), "more"],
  ["has no step", lanesText({ ...LANES, steps: [] }), "steps"],
])("where the file %s the report has no picture, and says so", async (_, text, why) => {
  const page = await pageOf(text);
  expect(page).not.toContain("<svg class=");
  expect(page).not.toContain(TIMELINE_STYLE);
  expect(page).toMatch(new RegExp(`No picture: .*${why.replaceAll(".", "\\.")}`));
});

test("a folder in the place of the file is no reason to have no report", async () => {
  await mkdir(join(dir, "0.run", LANES_FILE), { recursive: true });
  expect(await pageOf(null)).toMatch(/No picture: .*cannot be read/);
});

test("several runs have one each, under their names", async () => {
  const page = await pageOf(lanesText(LANES), null, lanesText(LANES));
  expect(page.match(/<svg class="lanes"/g)).toHaveLength(2);
  for (const name of ["0.run", "1.run", "2.run"]) expect(page).toContain(`<h3>${name}</h3>`);
});
