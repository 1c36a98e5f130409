import { spawnSync } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MetricsWriter } from "../../../src/report/metrics.js";
import { compiledPackage } from "../compiled.js";

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

test("an old file stays until the first line of the new one stands, and keeps its mode", async () => {
  const path = join(dir, "m.jsonl");
  await writeFile(path, "old\n", { mode: 0o600 });
  const writer = await MetricsWriter.create(path);
  expect(await readFile(path, "utf8")).toBe("old\n");
  await writer.write({ step: 1 });
  expect(await readFile(path, "utf8")).toBe('{"step":1}\n');
  await writer.write({ step: 2 });
  await writer.close();
  expect(await readFile(path, "utf8")).toBe('{"step":1}\n{"step":2}\n');
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  expect(await readdir(dir)).toEqual(["m.jsonl"]);
});

test.each(["/dev/full", "a link to it"])(
  "%s: each line fails with its reason, and so does none in silence",
  async (to) => {
    const path = to === "/dev/full" ? to : join(dir, "link");
    if (path !== to) await symlink("/dev/full", path);
    const writer = await MetricsWriter.create(path);
    for (let step = 0; step < 3; step++)
      await expect(writer.write({ step })).rejects.toMatchObject({
        code: "ZO2_ERR_IO",
        message: expect.stringContaining("ENOSPC") as unknown,
      });
    await writer.close();
  },
);

test.each([
  ["1100", "the first does not fit: the old file stays", "old\n"],
  ["700", "one fits: no half line is left", undefined],
])("room for 1024 bytes, lines of %s: %s", async (bytes, _what, left) => {
  const pkg = await compiledPackage();
  const path = join(dir, "m.jsonl");
  await writeFile(path, "old\n");
  const script = join(pkg, "dist/esm/metrics.mjs");
  await writeFile(
    script,
    `import { MetricsWriter } from "./report/metrics.js";
     const writer = await MetricsWriter.create(process.argv[2]);
     const said = [];
     for (let step = 0; step < 30; step++)
       await writer.write({ pad: "x".repeat(${bytes}) }).then(
         () => said.push("ok"), (error) => said.push(error.cause.code));
     await writer.close();
     console.log(said.join(" "));`,
  );
  const { stdout } = spawnSync("bash", ["-c", 'ulimit -f 1; exec "$0" "$1" "$2"', process.execPath, script, path], {
    encoding: "utf8",
  });
  await rm(pkg, { recursive: true, force: true });
  const fits = left === undefined ? 1 : 0;
  expect(stdout.trim().split(" ")).toEqual([...Array(fits).fill("ok"), ...Array(30 - fits).fill("EFBIG")]);
  expect(await readFile(path, "utf8")).toBe(left ?? `${JSON.stringify({ pad: "x".repeat(700) })}\n`);
  expect(await readdir(dir)).toEqual(["m.jsonl"]);
});
