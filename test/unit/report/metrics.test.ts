import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MetricsWriter } from "../../../src/report/metrics.js";

let dir: string;
beforeEach(async () => (dir = await mkdtemp(join(tmpdir(), "zo2-metrics-"))));
afterEach(() => rm(dir, { recursive: true, force: true }));

test("a record is in the file as soon as its write has resolved", async () => {
  const path = join(dir, "m.jsonl");
  const writer = await MetricsWriter.create(path);
  await writer.write({ step: 1, loss: 0.5 });
  expect(await readFile(path, "utf8")).toBe('{"step":1,"loss":0.5}\n');
  await writer.write({ step: 2, loss: NaN, seed: 2n ** 63n });
  expect(await readFile(path, "utf8")).toBe(
    '{"step":1,"loss":0.5}\n{"step":2,"loss":null,"seed":"9223372036854775808"}\n',
  );
  await writer.close();
});

test("writes that are not awaited keep their order, and close waits for them", async () => {
  const path = join(dir, "m.jsonl");
  const writer = await MetricsWriter.create(path);
  for (let step = 0; step < 200; step++) void writer.write({ step, pad: "x".repeat(step * 37) });
  await writer[Symbol.asyncDispose]();
  const steps = (await readFile(path, "utf8"))
    .trimEnd()
    .split("\n")
    .map((line) => (JSON.parse(line) as { step: number }).step);
  expect(steps).toEqual(Array.from({ length: 200 }, (_, i) => i));
});

test("a new run starts a new file; writing after close, or where one cannot, is a coded error", async () => {
  const path = join(dir, "m.jsonl");
  const first = await MetricsWriter.create(path);
  await first.write({ step: 1 });
  await first.close();
  await first.close();
  await expect(first.write({ step: 2 })).rejects.toMatchObject({ code: "ZO2_ERR_DISPOSED" });
  await (await MetricsWriter.create(path)).close();
  expect(await readFile(path, "utf8")).toBe("");
  await expect(MetricsWriter.create(join(dir, "none", "m.jsonl"))).rejects.toMatchObject({
    code: "ZO2_ERR_IO",
    message: expect.stringContaining("none") as unknown,
  });
});
