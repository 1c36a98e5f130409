import { type LaneBar, type LaneStep, lanePicture, secondsText, waitsOf } from "../../../src/page/lanes.js";
import { timelineDocument } from "../../../src/page/timeline.js";

const bar = (lane: string, what: string, begin: number, end: number, more: Partial<LaneBar> = {}): LaneBar => ({
  ...{ lane, what, begin, end, unit: `layers.${Math.abs(Math.round(begin * 10))}`, cause: null },
  ...more,
});
const cause = { what: "upload", lane: "upload", unit: 'layers.<"3">' };
const step: LaneStep = {
  ...{ title: "predicted", seconds: 1 },
  bars: [
    bar("upload", "upload", -0.25, 0, { bytes: 2 ** 20 }),
    bar("upload", "upload", 0.125, 0.5, { bytes: 3 * 2 ** 20 }),
    bar("compute", "prepare", 0, 0.25, { draws: 1000 }),
    bar("compute", "run", 0.5, 1, { flops: 2e9, probe: 1, cause }),
    bar("compute", "loss", 1, 1, { unit: null }),
  ],
};
const LANES = ["upload", "compute"];
const slower: LaneStep = { ...step, title: "measured", seconds: 2, bars: [...step.bars, bar("compute", "run", 1, 2)] };

const numbers = (text: string, pattern: RegExp) =>
  [...text.matchAll(pattern)].map((match) => match.slice(1).map(Number));
/** Left edges and widths of the bars, in pixels. */
const rects = (svg: string) => numbers(svg, /<rect class="bar-(?!wait)\w+" x="([\d.]+)" y="\d+"\s+width="([\d.]+)"/g);

test("every command has a bar within the axis, as wide as it is long, and each row is one lane", () => {
  const { text } = lanePicture([step, slower], LANES);
  const found = rects(text);
  expect(found).toHaveLength(step.bars.length + slower.bars.length);
  const [[width = 0] = []] = numbers(text, /<svg class="lanes" viewBox="0 0 (\d+) \d+"/g);
  for (const [left = -1, wide = -1] of found) {
    expect(left).toBeGreaterThanOrEqual(84);
    expect(left + wide).toBeLessThanOrEqual(width);
  }
  // -0.25 .. 2 s fill the axis; both steps have the same one.
  const pixels = (width - 84 - 16) / 2.25;
  for (const [i, { begin, end }] of [...step.bars, ...slower.bars].entries()) {
    // Bars stand lane by lane.
    const sorted = [step, slower].flatMap(({ bars }) => LANES.flatMap((lane) => bars.filter((b) => b.lane === lane)));
    const [left = 0, wide = 0] = found[i] ?? [];
    const { begin: from, end: to } = sorted[i] ?? { begin, end };
    expect(left).toBeCloseTo(84 + (from + 0.25) * pixels, 0);
    expect(wide).toBeCloseTo(Math.max(0.5, (to - from) * pixels), 0);
  }
  const rows = new Set([...text.matchAll(/<rect class="bar-(?!wait)\w+" x="[\d.]+" y="(\d+)"/g)].map(([, y]) => y));
  expect(rows.size).toBe(2 * LANES.length);
});

test("hovering says what a command is, what it moved and computed at which rate, and what it waited for", () => {
  const { text } = lanePicture([step], LANES);
  expect(text).toContain("<title>upload layers.1\n125 ms to 500 ms: 375 ms\n3 MiB, 0.00839 GB/s</title>");
  expect(text).toContain("<title>prepare layers.0\n0 µs to 250 ms: 250 ms\n1,000 values of noise, 0.00400 M/s</title>");
  expect(text).toContain("run layers.5, probe 1\n500 ms to 1 s: 500 ms\n2.00 GFLOP of products, 4.00 GFLOP/s\n");
  // Names come from a checkpoint.
  expect(text).toContain("waited for upload of layers.&lt;&quot;3&quot;&gt; on the upload lane");
  expect(text).not.toContain('<"3">');
});

test("a wait is where a lane does nothing between two commands", () => {
  const compute = step.bars.filter(({ lane }) => lane === "compute");
  expect(waitsOf(compute)).toEqual([{ lane: "compute", begin: 0.25, end: 0.5, cause }]);
  expect(waitsOf([...compute].reverse())).toEqual(waitsOf(compute));
  expect(waitsOf([])).toEqual([]);
});

test("a page has both steps, the sums of each lane, waits together by what they were for, and asks for nothing", () => {
  const facts = [["model", "<script>"]] as const;
  const page = timelineDocument(
    { ...{ title: "m", lead: "l", lanes: LANES, facts }, steps: [step, slower] },
    new Date(0),
  );
  expect(page).toMatch(/predicted: 1 s[\s\S]*measured: 2 s/);
  // Bytes of the upload lane: 4 MiB in either step.
  expect(page.match(/<td class="number">4 MiB<\/td>/g)).toHaveLength(2);
  expect(page).toMatch(/upload on the upload lane<\/td>\s*<td class="number">1<\/td><td class="number">250 ms<\/td>/);
  expect(page).toContain("1970-01-01 00:00:00 UTC");
  expect(page).toContain("&lt;script&gt;");
  expect(page).not.toMatch(/<script|https?:\/\/(?!www\.w3\.org)/);
});

test("a step without a command is a picture too", () => {
  expect(() => lanePicture([{ title: "nothing", seconds: 0, bars: [] }], ["compute"])).not.toThrow();
});

test("times are in units that one reads", () => {
  expect([0, 2e-6, 0.0123, 1.23456, -0.5].map(secondsText)).toEqual(["0 µs", "2 µs", "12.3 ms", "1.235 s", "-500 ms"]);
});
