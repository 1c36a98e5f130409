import { execFile } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { openDataset, readDataset } from "../../../src/data/dataset.js";
import { DataError, type DataIssueKind } from "../../../src/data/issue.js";
import { EncodedSource } from "../../../src/infer/encoded-source.js";
import { ExampleSizes } from "../../../src/infer/example-sizes.js";
import { KeptExamples } from "../../../src/infer/kept-examples.js";
import { encodeExample, exampleParser, packBatch } from "../../../src/data/index.js";
import { microSizes } from "../../../src/memory/batch-tables.js";
import type { Tokenizer } from "../../../src/tokenizer/index.js";
import { cleanUp, failure, temporaryFolder } from "../checkpoint/support.js";
import { lcg, spellingTokenizer } from "./support.js";

afterAll(cleanUp);

async function file(lines: readonly string[]): Promise<string> {
  const path = join(await temporaryFolder(), "t.jsonl");
  await writeFile(path, lines.map((line) => `${line}\n`).join(""));
  return path;
}

const ENCODING = { vocabSize: 2000, head: { kind: "causal" }, maxLength: 40, reduction: "mean" } as const;

const open = (
  data: Parameters<typeof EncodedSource.open>[1],
  more: Partial<Parameters<typeof EncodedSource.open>[2]> = {},
  tokenizer: Tokenizer | null = spellingTokenizer(),
) => EncodedSource.open(tokenizer, data, { encoding: { ...ENCODING, truncation: "error" }, checkData: true, ...more });

async function errorOf(work: Promise<unknown>): Promise<DataError> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof DataError)) throw new Error(`expected a DataError, not ${String(error)}`);
  return error;
}

const good = (i: number) => JSON.stringify({ prompt: `q${i % 97}`, choices: [" yes", " no"], label: i % 2 });
const choice = (more: object) => JSON.stringify({ prompt: "q", choices: [" yes", " no"], label: 0, ...more });

/** Lines of each kind, none of which can be used among lines with choices, with a part of what is said of each. */
const BAD: Readonly<Record<DataIssueKind, readonly (readonly [string, string])[]>> = {
  syntax: [
    ["{", "not JSON"],
    ["[1, 2]", "a list, where each line must be a JSON object"],
    ["null", "null, where"],
    ["3", "a number, where"],
    ['"text"', "a string, where"],
    ["true", "a boolean, where"],
    ["{'text': 1}", "not JSON"],
    ['{"text": "a",}', "not JSON"],
    ["prompt,choices,label", "not JSON"],
    ["{}{}", "not JSON"],
    ['{"text": NaN}', "not JSON"],
  ],
  shape: [
    ["{}", "has no field"],
    ['{"body": "a"}', 'has "body"'],
    ['{"text": 3}', '"text" is not a text'],
    ['{"prompt": "a"}', 'has "prompt"'],
    ['{"prompt": "a", "completion": ""}', "the completion is empty"],
    [choice({ choices: " yes" }), '"choices" is not a list'],
    [choice({ choices: [" yes"] }), "has 1 choices"],
    [choice({ choices: [" yes", ""] }), "choices[1] is empty"],
    [choice({ choices: [" yes", 4] }), '"choices[1]" is not a text'],
    [choice({ prompt: null }), '"prompt" is not a text'],
    ['{"messages": []}', 'none of the messages has the role "assistant"'],
    ['{"text": "all else makes choices"}', "makes tokens, and lines before it choices"],
  ],
  label: [
    [choice({ label: 2 }), "label 2"],
    [choice({ label: -1 }), "label -1"],
    [choice({ label: 0.5 }), "label 0.5"],
    [choice({ label: null }), "neither an index nor one of"],
    [choice({ label: "maybe" }), 'label "maybe"'],
    [choice({ label: "Yes" }), 'label "Yes"'],
    [choice({ label: [] }), "neither an index"],
    [choice({ label: {} }), "neither an index"],
    [choice({ label: "1" }), 'label "1"'],
    [choice({ label: true, choices: ["yes", "true"] }), "label true"],
    [choice({ label: "a", choices: [" a", "a "] }), "names the choices 0 and 1"],
  ],
  choices: [
    ...[
      [["b", "b"], 0],
      [["b", "b"], 1],
      [["c", "b", "c"], 0],
      [["c", "b", "c"], 2],
      [[" yes", " no", " yes"], 2],
      [["x", "y", "z", "y"], 1],
      [["x", "y", "z", "y"], 3],
      [["b", "b", "b"], 1],
      [["é", "é"], 0],
      [[" ", " "], 1],
    ].map(([choices, label]) => [choice({ choices, label }), "are the same tokens"] as const),
  ],
  length: [
    ...Array.from(
      { length: 10 },
      (_, i) => [choice({ prompt: "q".repeat(36 + i) }), `${41 + i} tokens, and the limit is 40`] as const,
    ),
    [choice({ choices: [" no", ` ${"y".repeat(40)}`] }), "43 tokens"],
  ],
  tokens: Array.from(
    { length: 10 },
    (_, i) => [choice({ prompt: `q${String.fromCharCode(3000 + i)}` }), `gives id ${3000 + i}`] as const,
  ),
};

describe.each(Object.entries(BAD) as [DataIssueKind, (readonly [string, string])[]][])(
  "bad lines of the kind %s",
  (kind, list) => {
    test("are found, each by its line, and said together", async () => {
      expect(list.length).toBeGreaterThanOrEqual(10);
      const path = await file([good(0), ...list.flatMap(([line], i) => [line, "", good(i)])]);
      const error = await errorOf(open(path));
      expect(error.counts).toEqual({ [kind]: list.length });
      expect(error.count).toBe(list.length);
      expect(error.issues.map(({ line }) => line)).toEqual(list.map((_, i) => 2 + 3 * i));
      for (const [i, issue] of error.issues.entries()) {
        expect(issue.kind).toBe(kind);
        expect(issue.place).toBe(`${path}:${issue.line}`);
        expect(issue.message).toContain(`${path}:${issue.line}: `);
        expect(issue.message).toContain(list[i]![1]);
        expect(error.message).toContain(issue.message);
      }
      expect(error.message).toContain(`${path}: ${list.length} of ${2 * list.length + 1} lines cannot be used`);
      expect(error.message).toContain('option "skipBadLines"');
      expect(error.code).toBe(
        kind === "length" ? "ZO2_ERR_LENGTH" : kind === "tokens" ? "ZO2_ERR_TOKENIZER" : "ZO2_ERR_DATA",
      );
    });

    test("alone are an error as it stands at the line", async () => {
      for (const [line, what] of list) {
        const path = await file([good(0), line]);
        const error = await errorOf(open(path));
        expect(error.message).toContain(what);
        expect(error.message.startsWith(`${path}:2: `)).toBe(true);
        expect(error.issues).toHaveLength(1);
      }
    });

    test("are left out where that is asked for", async () => {
      const path = await file([good(0), ...list.flatMap(([line], i) => [line, good(i)])]);
      const clean = await file([good(0), ...list.map((_, i) => good(i))]);
      await using some = await open(path, { skipBadLines: true });
      await using all = await open(clean);
      expect(some.report?.skipped.counts).toEqual({ [kind]: list.length });
      expect(some.size).toBe(all.size);
      for (let i = 0; i < all.size; i++) expect(await some.at(i)).toEqual(await all.at(i));
    });
  },
);

describe("a file of 5,000 lines with 37 bad ones", () => {
  const every = Object.values(BAD).flat();
  const random = lcg(11);
  const lines = Array.from({ length: 5000 }, (_, i) => good(i));
  const places = new Set<number>();
  while (places.size < 37) places.add(1 + random(4999));
  const sorted = [...places].sort((a, b) => a - b);
  for (const [i, place] of sorted.entries()) lines[place] = every[(i * 7) % every.length]![0];

  test("reports the first 20 with their lines, and how many there are", async () => {
    const path = await file(lines);
    const error = await errorOf(open(path));
    expect(error.count).toBe(37);
    expect(Object.values(error.counts).reduce((a, b) => a + b)).toBe(37);
    expect(error.issues.map(({ line }) => line)).toEqual(sorted.slice(0, 20).map((place) => place + 1));
    expect(error.message).toMatch(/t\.jsonl: 37 of 5000 lines cannot be used \(.*\. The first 20:\n/);
    expect(error.message.split("\n")).toHaveLength(21);
  });

  test("without them is what a clean file is, and says how many were left out", async () => {
    const path = await file(lines);
    const clean = await file(lines.filter((_, i) => !places.has(i)));
    await using some = await open(path, { skipBadLines: true });
    await using all = await open(clean);
    expect(some.size).toBe(4963);
    expect(some.report).toMatchObject({ lines: 5000, skipped: { count: 37 }, longest: { tokens: 8 } });
    expect(some.report?.skipped.issues).toHaveLength(20);
    for (let i = 0; i < all.size; i += 31) expect(await some.at(i)).toEqual(await all.at(i));
  });

  test("of which none is left is refused all the same", async () => {
    const path = await file(every.map(([line]) => line).filter((line) => !line.includes("all else")));
    const error = await errorOf(open(path, { skipBadLines: true }));
    expect(error.message).toContain("none is left");
  });
});

describe("a check", () => {
  test("does not hold the event loop, tells how far it is, and ends at once when it is aborted", async () => {
    const slow = spellingTokenizer();
    let encoded = 0;
    const busy: Tokenizer = {
      ...slow,
      encode(text, options) {
        encoded++;
        const until = performance.now() + 1;
        while (performance.now() < until);
        return slow.encode(text, options);
      },
    };
    const path = await file(Array.from({ length: 200 }, (_, i) => JSON.stringify({ text: `line ${i}` })));
    let turns = 0;
    let going = true;
    const tick = () => {
      turns++;
      if (going) setImmediate(tick);
    };
    setImmediate(tick);
    const told: number[] = [];
    await using source = await open(path, { onCheck: ({ share, lines }) => told.push(share ?? -lines) }, busy);
    going = false;
    // 200 ms of work, in pieces of about 8.
    expect(turns).toBeGreaterThan(10);
    expect(told.length).toBeGreaterThan(10);
    expect([...told].sort((a, b) => a - b)).toEqual(told);
    expect(told.at(-1)).toBe(1);
    expect(source.size).toBe(200);
    expect(encoded).toBe(200);

    const controller = new AbortController();
    setTimeout(() => controller.abort(), 20);
    encoded = 0;
    await expect(open(path, { signal: controller.signal }, busy)).rejects.toThrow(failure("ZO2_ERR_ABORTED", path));
    expect(encoded).toBeLessThan(200);
  });

  test("ends while a source of examples gives nothing", async () => {
    async function* silent() {
      yield { text: "one" };
      await new Promise(() => undefined);
    }
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 20);
    await expect(open(silent(), { signal: controller.signal })).rejects.toThrow(failure("ZO2_ERR_ABORTED"));
  });

  test("of records names them by their place among all, and leaves out the bad ones", async () => {
    const records = [{ text: "a" }, { txt: "b" }, { text: "c" }, { ids: [] }];
    const error = await errorOf(open(records));
    expect(error.issues.map(({ place }) => place)).toEqual(["examples[1]", "examples[3]"]);
    await using some = await open(records, { skipBadLines: true });
    expect(some.size).toBe(2);
  });

  test("of a data set that is open already leaves it open, and takes its good examples", async () => {
    const path = await file([good(0), BAD.label[0]![0], good(1), BAD.length[0]![0], good(2)]);
    await using dataset = await openDataset(path, { check: false });
    const error = await errorOf(open(dataset));
    expect(error.counts).toEqual({ label: 1, length: 1 });
    expect(error.code).toBe("ZO2_ERR_DATA");
    const some = await open(dataset, { skipBadLines: true });
    expect(some.size).toBe(3);
    await some[Symbol.asyncDispose]();
    expect(await dataset.at(0)).toMatchObject({ kind: "choices" });
  });

  test("that is turned off reads no line", async () => {
    const path = await file([good(0), "{", good(1)]);
    await using source = await open(path, { checkData: false });
    expect(source.report).toBeNull();
    expect(source.size).toBe(3);
    await expect(source.at(1)).rejects.toThrow(failure("ZO2_ERR_DATA", `${path}:2: not JSON`));
    await source[Symbol.asyncDispose]();
    await expect(source.at(0)).rejects.toThrow(failure("ZO2_ERR_DISPOSED"));
  });

  test("says of which lines something is cut, and of choices that cannot win as a sum", async () => {
    const path = await file([
      JSON.stringify({ prompt: "q".repeat(50), choices: [" yes", " no"], label: 0 }),
      JSON.stringify({ prompt: "q", choices: [" yes", " yes indeed"], label: 1 }),
      JSON.stringify({ prompt: "q", choices: [" yes", " yes indeed"], label: 0 }),
    ]);
    const encoding = { ...ENCODING, truncation: "left" } as const;
    await using mean = await open(path, { encoding });
    expect(mean.report?.remarks).toMatchObject({ count: 1, counts: { length: 1 } });
    expect(mean.report?.remarks.issues).toEqual([
      {
        ...{ kind: "length", code: "ZO2_ERR_LENGTH", place: `${path}:1`, line: null },
        message: `${path}:1: 55 tokens, cut to 40`,
      },
    ]);
    expect(mean.report?.longest).toEqual({ tokens: 40, place: `${path}:1` });
    await using sum = await open(path, { encoding: { ...encoding, reduction: "sum" } });
    expect(sum.report?.remarks.counts).toEqual({ length: 1, choices: 1 });
    expect(sum.report?.remarks.issues[1]).toMatchObject({ kind: "choices", code: "ZO2_ERR_DATA" });
    expect(sum.report?.remarks.issues[1]?.message).toContain(
      `${path}:2: choice 1 (the right one) goes on where choice 0`,
    );
  });

  test("reads a file once for parsing alone, too", async () => {
    const path = await file(['{"text": "a"}', "{", '{"txt": 1}', '{"text": "b"}']);
    const error = await errorOf(openDataset(path));
    expect(error.counts).toEqual({ syntax: 1, shape: 1 });
    const { dataset, check } = await readDataset(path, { skipBadLines: true });
    expect(check).toMatchObject({ lines: 4, skipped: { count: 2 } });
    expect(await dataset.at(1)).toEqual({ kind: "text", place: `${path}:4`, text: "b" });
    await dataset.close();
  });
});

describe("what a check keeps", () => {
  test("is bounded, without gaps, and what is not kept is read anew", () => {
    const example = (length: number) => ({
      kind: "tokens" as const,
      ids: new Int32Array(length),
      labels: new Int32Array(length),
    });
    const kept = new KeptExamples(3000);
    for (const length of [100, 100, 200, 1, 1]) kept.add(example(length));
    expect(kept.count).toBe(2);
    expect(kept.get(1)?.kind).toBe("tokens");
    expect(kept.get(2)).toBeUndefined();
    expect(kept.get(3)).toBeUndefined();
  });

  test("are sizes that add up to those of any batch", () => {
    const random = lcg(5);
    const tokenizer = spellingTokenizer(["es"]);
    const parse = exampleParser();
    const word = () => " abcdes".slice(0, 1 + random(7)).repeat(1 + random(3));
    const encode = (record: unknown) =>
      encodeExample(tokenizer, parse(record, "p"), { maxLength: 500, vocabSize: 2000 });
    const kinds = {
      text: () => ({ text: `a${word()}` }),
      completion: () => ({ prompt: `a${word()}`, completion: word() }),
      choices: () => ({ prompt: `a${word()}`, choices: Array.from({ length: 2 + random(3) }, word), label: 0 }),
    };
    for (const make of Object.values(kinds)) {
      const examples = Array.from({ length: 40 }, () => encode(make()));
      const sizes = new ExampleSizes();
      for (const example of examples) sizes.add(example);
      for (let i = 0; i < 30; i++) {
        const picked = Array.from({ length: 1 + random(9) }, () => random(examples.length));
        const packed = packBatch(picked.map((index) => examples[index]!));
        expect(sizes.together(picked)).toEqual(microSizes(packed));
        const distinct = picked.reduce((sum, index) => sum + sizes.get(index, "distinct"), 0);
        expect(distinct).toBeGreaterThanOrEqual(new Set(packed.tokens).size);
      }
    }
  });

  test("does not grow with the lines themselves", async () => {
    // In a process of its own, so that nothing else is on its heap.
    const script = `
      import { openDataset } from ${JSON.stringify(join(__dirname, "../../../dist/esm/data/dataset.js"))};
      const used = () => { gc(); gc(); const m = process.memoryUsage(); return m.heapUsed + m.arrayBuffers; };
      await (await openDataset(process.argv[1])).close();
      const before = used();
      const dataset = await openDataset(process.argv[2]);
      console.log(JSON.stringify({ size: dataset.size, grown: used() - before }));`;
    const text = "many words ".repeat(200);
    const lines = (count: number) => file(Array.from({ length: count }, (_, i) => JSON.stringify({ text: text + i })));
    const args = [await lines(100), await lines(20_000)];
    const { stdout } = await promisify(execFile)(process.execPath, [
      ...["--expose-gc", "--input-type=module", "-e", script, ...args],
    ]);
    const { size, grown } = JSON.parse(stdout) as { size: number; grown: number };
    expect(size).toBe(20_000);
    // The file has 44 MB; its index 16 bytes a line, in arrays that double.
    expect(grown).toBeLessThan(4 * 2 ** 20);
  });
});
