import { mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makeRun } from "../../support/runs.js";
import { zo2 } from "./fake.js";

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "zo2-report-"));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

describe("report", () => {
  test("writes a page into the run's folder, and says what is in it", async () => {
    const run = await makeRun(join(dir, "tuned.run"), { steps: 12, every: 4 });
    const { code, out, calls } = await zo2(["report", run, "--json"]);
    expect(code).toBe(0);
    const file = join(run, "report.html");
    const { size } = await stat(file);
    expect(JSON.parse(out)).toEqual({ out: file, bytes: size, runs: 1, steps: 12, evaluations: 3 });
    expect(await readFile(file, "utf8")).toContain("<title>tuned.run - zo2 report</title>");
    expect(calls).toEqual([]);
  });

  test("of a journal alone is written beside it", async () => {
    const run = await makeRun(join(dir, "tuned.run"), { steps: 2 });
    const { code, out } = await zo2(["report", join(run, "run.zo2")]);
    expect(code).toBe(0);
    expect(out).toMatch(/^2 steps are in .*run\.zo2\.html \(\d+(\.\d)? KiB\)\n$/);
  });

  test("lays several runs over one another, into a file that was named", async () => {
    const a = await makeRun(join(dir, "a.run"), { steps: 5 });
    const b = await makeRun(join(dir, "b.run"), { steps: 7 });
    const unnamed = await zo2(["report", a, b]);
    expect(unnamed.code).toBe(2);
    expect(unnamed.err).toBe("ZO2_ERR_CONFIG: --out is missing; give the file for the report of 2 runs\n");
    const file = join(dir, "both.html");
    const { code, out } = await zo2(["report", a, b, "--out", file]);
    expect(code).toBe(0);
    expect(out).toMatch(/^12 steps of 2 runs are in /);
    expect(await readFile(file, "utf8")).toContain('aria-pressed="true"');
  });

  test("refuses what is no run, and what would cost one", async () => {
    const run = await makeRun(join(dir, "a.run"), { steps: 5 });
    const journal = join(run, "run.zo2");
    const before = await readFile(journal);
    const onItself = await zo2(["report", run, "--out", journal]);
    expect(onItself.code).toBe(2);
    expect(onItself.err).toMatch(/^ZO2_ERR_CONFIG: --out: .* is the journal itself; give another file\n$/);
    expect(await readFile(journal)).toEqual(before);
    expect((await zo2(["report", dir])).err).toMatch(/^ZO2_ERR_IO: /);
    expect((await zo2(["report", run, "--out", dir])).err).toMatch(/^ZO2_ERR_IO: .*it is a folder; give a file\n$/);
    expect((await zo2(["report"])).code).toBe(2);
  });
});
