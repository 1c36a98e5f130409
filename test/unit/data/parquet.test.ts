import { open, readdir, readFile, writeFile, type FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { isZo2Error } from "../../../src/base/errors.js";
import { openDataset } from "../../../src/data/dataset.js";
import { ParquetFile } from "../../../src/data/parquet-file.js";
import { openRecordFile } from "../../../src/data/record-file.js";
import { cleanUp, failure, temporaryFolder } from "../checkpoint/support.js";
import { lcg } from "./support.js";

const FIXTURES = join(__dirname, "../../fixtures/parquet");
const path = (name: string) => join(FIXTURES, `${name}.parquet`);

async function expectedRows(name: string): Promise<unknown[]> {
  const text = await readFile(join(FIXTURES, `${name}.expected.jsonl`), "utf8");
  return text.split("\n").flatMap((line) => (line === "" ? [] : [JSON.parse(line) as unknown]));
}

/** Reads a file through and then every row by its index, from the last to the first. */
async function rowsOf(file: string): Promise<{ scanned: unknown[]; kept: unknown[] }> {
  await using rows = await openRecordFile(file);
  const scanned: unknown[] = [];
  for await (const row of rows.scan(undefined)) {
    scanned.push(row.record());
    row.keep();
  }
  const kept: unknown[] = [];
  for (let i = rows.size - 1; i >= 0; i--) kept.unshift((await rows.at(i)).record);
  return { scanned, kept };
}

afterAll(cleanUp);

describe("a Parquet file", () => {
  const names = [
    ...["boolq", "copa", "empty", "messages", "squad", "sst2-brotli", "sst2-delta", "sst2-gzip-v2", "sst2-lz4"],
    ...["sst2-plain", "sst2-snappy", "sst2-zstd", "types"],
  ];

  test("every file of the fixtures is tried", async () => {
    const there = (await readdir(FIXTURES)).flatMap((name) => (name.endsWith(".parquet") ? [name.slice(0, -8)] : []));
    expect(names).toEqual(there.sort());
  });

  test.each(names)("%s has the rows that its writer put in, in order and by index", async (name) => {
    const rows = await expectedRows(name);
    const { scanned, kept } = await rowsOf(path(name));
    expect(scanned).toEqual(rows);
    expect(kept).toEqual(rows);
  });

  test("is a data set like lines are, told by its first bytes where its name does not say so", async () => {
    const unnamed = join(await temporaryFolder(), "reviews");
    await writeFile(unnamed, await readFile(path("sst2-snappy")));
    const template = { prompt: "{sentence}It was", choices: [" terrible", " great"] };
    await using dataset = await openDataset(unnamed, { template });
    expect(dataset.size).toBe(300);
    expect(await dataset.at(299)).toEqual({
      kind: "choices",
      place: `${unnamed}, row 299`,
      prompt: " 299 It was",
      ...{ choices: template.choices, label: 1 },
    });
    await using chats = await openDataset(path("messages"), { skipBadLines: true });
    expect(chats.size).toBe(30);
  });

  test("names the rows that cannot be used", async () => {
    await expect(openDataset(path("messages"))).rejects.toEqual(
      failure(
        "ZO2_ERR_DATA",
        "2 of 32 rows cannot be used",
        "messages.parquet, row 30: ",
        "messages.parquet, row 31: ",
      ),
    );
    await expect(openDataset(path("empty"))).rejects.toEqual(failure("ZO2_ERR_DATA", "empty.parquet: has no example"));
  });

  test("cannot be read when it was closed, and reading stops when it is to stop", async () => {
    const dataset = await openDataset(path("sst2-plain"), {
      template: { prompt: "{sentence}", completion: "{label}" },
    });
    await dataset.close();
    await expect(dataset.at(0)).rejects.toEqual(failure("ZO2_ERR_DISPOSED"));
    const stopped = openDataset(path("sst2-plain"), { signal: AbortSignal.abort() });
    await expect(stopped).rejects.toEqual(failure("ZO2_ERR_ABORTED"));
  });

  test("is read a row group at a time", async () => {
    const file = await open(path("sst2-snappy"));
    const { size } = await file.stat();
    let bytes = 0;
    const counting = {
      read: (...given: Parameters<FileHandle["read"]>) => {
        bytes += (given as unknown[])[2] as number;
        return file.read(...given);
      },
      close: () => file.close(),
    } as unknown as FileHandle;
    await using rows = await ParquetFile.open("x.parquet", counting, size);
    bytes = 0;
    const seen: number[] = [];
    for await (const _ of rows.scan(undefined)) if (seen.at(-1) !== bytes) seen.push(bytes);
    // 300 rows in groups of 64.
    expect(seen).toHaveLength(5);
    expect(seen[0]).toBeLessThan(size / 3);
  });
});

describe("a damaged Parquet file", () => {
  async function damaged(bytes: Uint8Array): Promise<string> {
    const file = join(await temporaryFolder(), "x.parquet");
    await writeFile(file, bytes);
    return file;
  }

  test("is an error that names it", async () => {
    const whole = await readFile(path("sst2-snappy"));
    for (const bytes of [whole.subarray(0, whole.length - 10), whole.subarray(0, 40), Buffer.alloc(0)])
      await expect(rowsOf(await damaged(bytes))).rejects.toEqual(
        failure("ZO2_ERR_DATA", "x.parquet: cannot be read as Parquet: "),
      );
    await expect(rowsOf(await damaged(Buffer.from('{"text":"a"}\n{"text":"b"}\n')))).rejects.toEqual(
      failure("ZO2_ERR_DATA", "x.parquet: cannot be read as Parquet: "),
    );
    // Inside the first row group's data.
    const torn = Buffer.from(whole);
    torn.fill(0xff, 4, 64);
    await expect(rowsOf(await damaged(torn))).rejects.toEqual(
      failure("ZO2_ERR_DATA", "x.parquet, row group 0: cannot be read as Parquet: "),
    );
  });

  test("is rows or a coded error, whichever byte was changed", async () => {
    const random = lcg(7);
    for (const name of ["sst2-snappy", "squad", "sst2-zstd", "sst2-delta", "sst2-gzip-v2"]) {
      const whole = await readFile(path(name));
      for (let i = 0; i < 24; i++) {
        const bytes = Buffer.from(whole);
        // Half of the changes are in the footer, where the numbers are.
        const from = i % 2 === 0 ? whole.length - Math.min(whole.length, 1200) : 0;
        const place = from + random(whole.length - from);
        bytes[place] = random(256);
        try {
          await rowsOf(await damaged(bytes));
        } catch (error) {
          if (!isZo2Error(error) || error.code !== "ZO2_ERR_DATA") throw error;
        }
      }
    }
  });
});
