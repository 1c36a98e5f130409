import { drawBar, renderBars, renderComparison } from "../../../src/report/bars.js";
import { lookOf } from "../../../src/report/terminal.js";

const look = (width: number, unicode = true) => ({ width, unicode, color: false });
const before = { accuracy: 0.513, loss: 0.927 };
const after = { accuracy: 0.716, loss: 0.546 };

test("two bars at 60 columns look like this", () => {
  expect(renderComparison("Held out", before, after, look(60))).toEqual([
    "Held out",
    `  before  ${"█".repeat(14)}${"░".repeat(14)}   51.3 %  loss 0.9270`,
    `  after   ${"█".repeat(20)}${"░".repeat(8)}   71.6 %  loss 0.5460`,
    "  +20.3 points of accuracy, -0.3810 loss",
  ]);
});

test("without Unicode the same picture is ASCII", () => {
  const text = renderComparison("Held out", before, after, look(60, false)).join("\n");
  expect(text).toMatch(/^[\x20-\x7e\n]*$/);
  expect(text).toContain("#".repeat(14) + ".".repeat(14));
});

test("no line is wider than the terminal, and no number is ever cut in two, from 20 columns on", () => {
  for (let width = 20; width <= 200; width++) {
    for (const line of renderComparison("Held out", before, after, look(width))) {
      expect(line.length).toBeLessThanOrEqual(width);
      // Every number that stands there is one of the whole ones.
      for (const number of line.match(/[-+]?\d[\d.]*/g) ?? [])
        expect(["51.3", "71.6", "0.9270", "0.5460", "+20.3", "-0.3810"]).toContain(number);
    }
  }
});

test("a narrower terminal first loses the losses, then the bars, and never the accuracies", () => {
  const kinds = [80, 30, 22].map((width) => {
    const text = renderComparison("Held out", before, after, look(width)).join("\n");
    expect(text).toContain("51.3 %");
    expect(text).toContain("71.6 %");
    return `${text.includes("loss") ? "loss " : ""}${text.includes("█") ? "bar" : ""}`;
  });
  expect(kinds).toEqual(["loss bar", "bar", ""]);
});

test("a bar grows with its share, is empty only at 0 and full only at 1", () => {
  const filled = (share: number) => drawBar(share, 10, true).split("█").length - 1;
  expect([0, 0.001, 0.5, 0.999, 1].map(filled)).toEqual([0, 1, 5, 9, 10]);
  expect([-1, 2, NaN].map(filled)).toEqual([0, 10, 0]);
  for (let share = 0; share < 1; share += 0.01) expect(filled(share + 0.01)).toBeGreaterThanOrEqual(filled(share));
  for (const share of [0, 0.3, 1]) expect(drawBar(share, 17, false)).toHaveLength(17);
});

test("colour says better or worse, and only where colour is wanted", () => {
  const colored = (a: typeof before, b: typeof before) =>
    renderComparison("t", a, b, { width: 60, unicode: true, color: true })[2] ?? "";
  expect(colored(before, after)).toContain("\u001b[32m");
  expect(colored(after, before)).toContain("\u001b[31m");
  expect(renderComparison("t", before, after, look(60)).join("")).not.toContain("\u001b");
});

test("without choices the losses are compared, and no accuracy is made up", () => {
  const lines = renderComparison("t", { accuracy: null, loss: 2 }, { accuracy: null, loss: 1.5 }, look(60));
  expect(lines).toEqual(["t", "  before  loss 2.0000", "  after   loss 1.5000", "  -0.5000 loss"]);
});

test("bars with labels of different lengths start in one column", () => {
  const lines = renderBars(
    [
      { label: "a", share: 1, notes: ["x"] },
      { label: "longer", share: 0.5, notes: ["y"] },
    ],
    look(40, false),
  );
  expect(new Set(lines.map((line) => line.indexOf("#"))).size).toBe(1);
});

describe("what a stream can show", () => {
  const tty = { write: () => true, isTTY: true, columns: 120 };
  test.each([
    [tty, { LANG: "en_US.UTF-8", TERM: "xterm" }, { width: 120, unicode: true, color: true }],
    [tty, { LC_ALL: "C", LANG: "en_US.UTF-8" }, { width: 120, unicode: false, color: true }],
    [tty, { LANG: "C.utf8", NO_COLOR: "1" }, { width: 120, unicode: true, color: false }],
    [tty, { LANG: "C.utf8", TERM: "dumb" }, { width: 120, unicode: false, color: false }],
    [{ write: () => true }, { LANG: "C.utf8" }, { width: 80, unicode: true, color: false }],
    [tty, {}, { width: 120, unicode: false, color: true }],
  ])("follows the locale, the terminal and NO_COLOR (%#)", (stream, env, expected) => {
    expect(lookOf(stream, env)).toEqual(expected);
  });
});
