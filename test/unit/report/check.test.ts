import { checkedLines, CheckView } from "../../../src/report/check.js";

function stream(isTTY: boolean) {
  const written: string[] = [];
  return { isTTY, columns: 80, write: (text: string) => written.push(text), written, cursorTo() {}, clearLine() {} };
}

describe("the view of a check", () => {
  test("is a plain line every ten seconds where there is no terminal, and nothing for a short one", () => {
    const out = stream(false);
    let seconds = 0;
    using view = new CheckView(out, { now: () => seconds });
    for (; seconds < 34; seconds++) view.show({ name: "d.jsonl", lines: seconds * 1000, share: seconds / 40 });
    view.show({ name: "d.jsonl", lines: 40_000, share: 1 });
    expect(out.written).toEqual([
      "checking d.jsonl: 25.0 %, 10,000 lines\n",
      "checking d.jsonl: 50.0 %, 20,000 lines\n",
      "checking d.jsonl: 75.0 %, 30,000 lines\n",
    ]);
    const brief = stream(false);
    new CheckView(brief).show({ name: "d", lines: 3, share: 1 });
    expect(brief.written).toEqual([]);
  });

  test("does not name a share where the end is not known", () => {
    const out = stream(false);
    let seconds = 0;
    const view = new CheckView(out, { now: () => seconds });
    seconds = 11;
    view.show({ name: "examples", lines: 5, share: null });
    expect(out.written).toEqual(["checking examples: 5 lines\n"]);
  });
});

describe("what is said of data that was checked", () => {
  const none = { count: 0, counts: {}, issues: [] };
  const report = { name: "d.jsonl", lines: 5000, skipped: none, remarks: none };

  test("is one line where nothing is to be said", () => {
    expect(checkedLines({ ...report, longest: { tokens: 1312, place: "d.jsonl:7" } })).toEqual([
      "d.jsonl: 5,000 lines, the longest sequence has 1,312 tokens (d.jsonl:7)",
    ]);
  });

  test("lists what was left out, and one line of those to be noted", () => {
    const longest = { tokens: 40, place: "d.jsonl:7" };
    const skipped = { count: 3000, counts: { label: 3000 }, issues: [{ message: "d:1: a" }, { message: "d:2: b" }] };
    const remarks = { count: 2, counts: { length: 2 }, issues: [{ message: "d:9: 50 tokens, cut to 40" }] };
    expect(checkedLines({ ...report, skipped, remarks, longest }).slice(1)).toEqual([
      "left out: 3,000 (3,000 label); the first 2",
      "  d:1: a",
      "  d:2: b",
      "d.jsonl: to be noted: 2 length, such as d:9: 50 tokens, cut to 40",
    ]);
  });
});
