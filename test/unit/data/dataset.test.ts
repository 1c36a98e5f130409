import { execFileSync } from "node:child_process";
import { appendFile, open, readFile, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Dataset, openDataset } from "../../../src/data/dataset.js";
import { cleanUp, failure, temporaryFolder } from "../checkpoint/support.js";

const REVIEWS = join(__dirname, "../../../docs/demo/reviews/train.jsonl");
const TEMPLATE = { prompt: "{text} How is it?", choices: [" terrible", " great"] };

async function file(content: string | Uint8Array): Promise<string> {
  const path = join(await temporaryFolder(), "t.jsonl");
  await writeFile(path, content);
  return path;
}

afterAll(cleanUp);

describe("a data set", () => {
  test("of a file gives any line, in any order, as the line stands there", async () => {
    const lines = (await readFile(REVIEWS, "utf8"))
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as { text: string; label: number });
    await using dataset = await openDataset(REVIEWS, { template: TEMPLATE });
    expect(dataset.size).toBe(lines.length);
    for (let i = lines.length - 1; i >= 0; i -= 7) {
      const { text, label } = lines[i]!;
      expect(await dataset.at(i)).toEqual({
        kind: "choices",
        place: `${REVIEWS}:${i + 1}`,
        prompt: `${text} How is it?`,
        choices: TEMPLATE.choices,
        label,
      });
    }
  });

  test("counts blank lines in its places, not in its size", async () => {
    const path = await file('\ufeff\n{"text":"ä"}\r\n\n\n{"text":"b"}');
    await using dataset = await openDataset(path);
    expect(dataset.size).toBe(2);
    expect(await dataset.at(0)).toEqual({ kind: "text", place: `${path}:2`, text: "ä" });
    expect(await dataset.at(1)).toEqual({ kind: "text", place: `${path}:5`, text: "b" });
  });

  test("of many lines, over several chunks, keeps each line's place", async () => {
    const count = 30_000;
    const path = await file(
      Array.from({ length: count }, (_, i) => `{"text":"line ${i} ${"é".repeat(i % 50)}"}\n`).join(""),
    );
    await using dataset = await openDataset(path);
    expect(dataset.size).toBe(count);
    for (let i = 0; i < count; i += 997)
      expect(await dataset.at(i)).toEqual({
        kind: "text",
        place: `${path}:${i + 1}`,
        text: `line ${i} ${"é".repeat(i % 50)}`,
      });
  });

  test("may be records themselves, from a list or as they come", async () => {
    async function* coming() {
      yield { text: "a" };
      yield { ids: [3] };
    }
    for (const source of [[{ text: "a" }, { ids: [3] }], coming()]) {
      await using dataset = await openDataset(source);
      expect([await dataset.at(0), await dataset.at(1)]).toEqual([
        { kind: "text", place: "examples[0]", text: "a" },
        { kind: "ids", place: "examples[1]", ids: [3] },
      ]);
      await expect(dataset.at(2)).rejects.toThrow(failure("ZO2_ERR_INVALID_ARGUMENT", "example 2 of 2"));
    }
    await expect(openDataset([{ text: "a" }, {}])).rejects.toThrow(
      failure("ZO2_ERR_DATA", "examples[1]: has no field"),
    );
  });

  test("finds a bad line on opening, by its number, or only when it is read if that was asked for", async () => {
    const path = await file('{"text":"a"}\n\n{"txet":"b"}\n');
    await expect(openDataset(path)).rejects.toThrow(failure("ZO2_ERR_DATA", `${path}:3: has "txet"`));
    await using dataset = await openDataset(path, { check: false });
    expect(await dataset.at(0)).toMatchObject({ text: "a" });
    await expect(dataset.at(1)).rejects.toThrow(failure("ZO2_ERR_DATA", `${path}:3: has "txet"`));
  });

  test("that is empty is refused", async () => {
    for (const content of ["", "\n \n"])
      await expect(openDataset(await file(content))).rejects.toThrow(failure("ZO2_ERR_DATA", "has no example"));
    await expect(openDataset([])).rejects.toThrow(failure("ZO2_ERR_DATA", "has no example"));
  });

  test("that is not there, is a folder or is a pipe, is refused by name", async () => {
    const dir = await temporaryFolder();
    const gone = openDataset(join(dir, "no"));
    await expect(gone).rejects.toThrow(failure("ZO2_ERR_IO", "no: cannot be read"));
    await expect(gone).rejects.toMatchObject({ cause: { code: "ENOENT" } });
    await expect(openDataset(dir)).rejects.toThrow(failure("ZO2_ERR_IO", dir));
    await expect(openDataset("-")).rejects.toThrow(failure("ZO2_ERR_IO", "standard input can be read only once"));
    execFileSync("mkfifo", [join(dir, "pipe")]);
    await using keepOpen = await open(join(dir, "pipe"), "r+");
    expect(keepOpen.fd).toBeGreaterThan(0);
    await expect(openDataset(join(dir, "pipe"))).rejects.toThrow(failure("ZO2_ERR_IO", "pipe: not a regular file"));
  });

  test("stops at its AbortSignal", async () => {
    const signal = AbortSignal.abort(new Error("enough"));
    const stopped = { code: "ZO2_ERR_ABORTED", cause: signal.reason };
    await expect(openDataset(REVIEWS, { template: TEMPLATE, signal })).rejects.toMatchObject(stopped);
    await expect(openDataset([{ text: "a" }], { signal })).rejects.toMatchObject(stopped);
  });

  test("cannot be read after it was closed, and notices when the file was cut short", async () => {
    const path = await file('{"text":"a"}\n{"text":"b"}\n');
    const dataset = await openDataset(path);
    await appendFile(path, '{"text":"c"}\n');
    expect(dataset.size).toBe(2);
    await truncate(path, 20);
    await expect(dataset.at(1)).rejects.toThrow(failure("ZO2_ERR_IO", `${path}:2: the file has become shorter`));
    await dataset.close();
    await dataset.close();
    await expect(dataset.at(0)).rejects.toThrow(failure("ZO2_ERR_DISPOSED"));
  });

  test.each([
    ["whole", '{"text":"b"}'],
    ["without its bad lines", "{"],
  ])("of a file, %s, is closed at the end of the block that uses it", async (_, line) => {
    const path = await file(`{"text":"a"}\n${line}\n`);
    let outside: Dataset;
    {
      await using dataset = await openDataset(path, { skipBadLines: true });
      outside = dataset;
      expect(await dataset.at(0)).toMatchObject({ text: "a" });
    }
    await expect(outside.at(0)).rejects.toThrow(failure("ZO2_ERR_DISPOSED"));
  });
});
