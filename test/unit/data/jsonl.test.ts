import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { readJsonLines } from "../../../src/data/jsonl.js";
import { splitLines } from "../../../src/data/lines.js";
import { cleanUp, failure, temporaryFolder } from "../checkpoint/support.js";
import { all, lcg } from "./support.js";

afterAll(cleanUp);

async function* inChunks(bytes: Uint8Array, sizes: () => number, reuse = false): AsyncGenerator<Uint8Array> {
  const buffer = new Uint8Array(bytes.byteLength);
  for (let at = 0; at < bytes.byteLength; ) {
    const size = Math.min(sizes(), bytes.byteLength - at);
    const chunk = reuse ? buffer.subarray(0, size) : new Uint8Array(size);
    chunk.set(bytes.subarray(at, at + size));
    yield chunk;
    at += size;
  }
}

const records = async (text: string | Uint8Array, size = 7) =>
  (
    await all(
      readJsonLines(
        inChunks(typeof text === "string" ? Buffer.from(text) : text, () => size),
        { name: "t.jsonl" },
      ),
    )
  ).map(({ record, number }) => [number, record]);

describe("JSON Lines", () => {
  test("are the same however the bytes are cut into chunks, lines and multi-byte characters included", async () => {
    const text = '\ufeff{"text":"naïve 🙂"}\r\n\n  \t\r\n{"a":[1,2]}\n{"text":"漢字"}\n\n{"last":true}';
    const bytes = Buffer.from(text);
    const expected = [
      [1, { text: "naïve 🙂" }],
      [4, { a: [1, 2] }],
      [5, { text: "漢字" }],
      [7, { last: true }],
    ];
    for (let size = 1; size <= bytes.byteLength; size++) expect(await records(bytes, size)).toEqual(expected);
    const random = lcg(5);
    for (let round = 0; round < 200; round++) {
      const lines = await all(readJsonLines(inChunks(bytes, () => 1 + random(9), true)));
      expect(lines.map(({ number, record }) => [number, record])).toEqual(expected);
    }
  });

  test("carry the offset of each line's first byte", async () => {
    const bytes = Buffer.from('\ufeff{"é":1}\r\n\n{"b":2}\n{"c":3}');
    for (let size = 1; size < 12; size++) {
      for await (const line of splitLines(
        inChunks(bytes, () => size),
        "t",
      )) {
        expect(Buffer.from(line.bytes)).toEqual(bytes.subarray(line.offset, line.offset + line.bytes.byteLength));
        expect(Buffer.from(line.bytes).toString()).toMatch(/^\{.*\}$/);
      }
    }
  });

  test("come from a file, from a stream of text, and not at all from an empty one", async () => {
    const path = join(await temporaryFolder(), "t.jsonl");
    await writeFile(path, '{"a":1}\n{"a":2}\n');
    expect((await all(readJsonLines(path))).map((line) => line.place)).toEqual([`${path}:1`, `${path}:2`]);
    expect((await all(readJsonLines(Readable.from(['{"a"', ':1}\n{"a":2}'])))).map((line) => line.record)).toEqual([
      { a: 1 },
      { a: 2 },
    ]);
    expect(await records("")).toEqual([]);
    expect(await records("\n\n")).toEqual([]);
  });

  test("are read in bounded memory: a source without line ends is refused before it is through", async () => {
    let given = 0;
    async function* endless() {
      for (;;) {
        given++;
        yield new Uint8Array(1000).fill(0x61);
      }
    }
    await expect(all(readJsonLines(endless(), { name: "t.jsonl", maxLineBytes: 10_000 }))).rejects.toThrow(
      failure("ZO2_ERR_DATA", "t.jsonl:1: more than 10000 bytes without a line end"),
    );
    expect(given).toBe(11);
  });

  test("take a line of exactly the longest length", async () => {
    const line = `{"a":"${"x".repeat(92)}"}`;
    expect(line).toHaveLength(100);
    const read = (max: number) => all(readJsonLines(Readable.from([`${line}\n${line}`]), { maxLineBytes: max }));
    expect(await read(100)).toHaveLength(2);
    await expect(read(99)).rejects.toThrow(failure("ZO2_ERR_DATA", "input:1: more than 99"));
  });

  test.each([
    ["what is not JSON", '{"a":1}\n\n{"a":\n', "t.jsonl:3: not JSON"],
    ["a list", "[1]", "t.jsonl:1: a list, where each line must be a JSON object"],
    ["null", "null", "t.jsonl:1: null, where"],
    ["a number", "{}\n3", "t.jsonl:2: a number, where"],
    ["two objects in a line", "{}{}", "t.jsonl:1: not JSON"],
    [
      "bytes that are no UTF-8",
      Buffer.concat([Buffer.from('{}\n{"a":"'), Buffer.from([0xc3]), Buffer.from('"}')]),
      "t.jsonl:2: not UTF-8",
    ],
  ])("with %s are refused by the line's number", async (_, text, message) => {
    await expect(records(text)).rejects.toThrow(failure("ZO2_ERR_DATA", message));
  });

  test.each([
    ["what is not JSON", "{", "SyntaxError"],
    ["bytes that are no UTF-8", Buffer.from([0xff]), "TypeError"],
  ])("with %s are refused with what the parser or the decoder said", async (_, text, name) => {
    await expect(records(text)).rejects.toMatchObject({ kind: "syntax", cause: { name } });
  });

  test("from a file that is not there are an error of the system, by name", async () => {
    const lines = all(readJsonLines("/nowhere/t.jsonl"));
    await expect(lines).rejects.toThrow(failure("ZO2_ERR_IO", "/nowhere/t.jsonl: cannot be read"));
    await expect(lines).rejects.toMatchObject({ cause: { code: "ENOENT" } });
  });

  test("close their stream when the loop is left early", async () => {
    const stream = Readable.from(['{"a":1}\n', '{"a":2}\n', '{"a":3}\n']);
    for await (const line of readJsonLines(stream)) {
      expect(line.number).toBe(1);
      break;
    }
    expect(stream.destroyed).toBe(true);
  });
});
