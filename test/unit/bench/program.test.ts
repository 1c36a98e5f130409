import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { spawnSync } from "node:child_process";
import { root } from "./modules.js";

let dir: string;
beforeEach(async () => (dir = await mkdtemp(join(tmpdir(), "zo2-bench-test-"))));
afterEach(() => rm(dir, { recursive: true, force: true }));

/**
 * Alternates programs of these sources, each given its name, a log and its summary file, and prints what came of it.
 */
async function alternate(sources: Record<string, string>, rounds: number) {
  const files = await Promise.all(
    Object.entries(sources).map(async ([name, source]) => {
      const file = join(dir, `${name}.mjs`);
      await writeFile(file, source);
      return [name, file, join(dir, `${name}.json`)];
    }),
  );
  const driver = `
    import { alternate, Program } from ${JSON.stringify(join(root, "bench/lib/program.mjs"))};
    const programs = ${JSON.stringify(files)}.map(([name, file, summary]) => {
      return new Program(name, { file: process.execPath, args: [file, name, summary] }, summary);
    });
    try {
      const seen = [];
      const steps = await alternate(programs, ${rounds}, (program, step, round) => seen.push(program.name + round));
      const summaries = [];
      for (const program of programs) summaries.push(await program.finish());
      console.log(JSON.stringify({ seen, steps, summaries }));
    } catch (error) {
      console.log(JSON.stringify({ error: error.message }));
    } finally {
      await Promise.all(programs.map((p) => p.kill()));
    }`;
  const { stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", driver], { encoding: "utf8" });
  if (stderr !== "") throw new Error(stderr);
  return JSON.parse(stdout) as {
    seen: string[];
    steps: { t: number; name: string; n: number }[][];
    summaries: object[];
    error?: string;
  };
}

const GOOD = `
  import fs from "node:fs";
  import readline from "node:readline";
  const [name, summary] = process.argv.slice(2);
  let n = 0;
  for await (const line of readline.createInterface({ input: process.stdin })) {
    console.log(JSON.stringify({ t: 1, name, n: n++ }));
  }
  fs.writeFileSync(summary, JSON.stringify({ name, steps: n }));`;

describe("alternating programs", () => {
  it("takes their steps in turn, there and back, and ends them with their summaries", async () => {
    const { seen, steps, summaries } = await alternate({ a: GOOD, b: GOOD }, 2);
    expect(seen).toEqual(["a0", "b0", "b1", "a1", "a2", "b2"]);
    expect(steps.map((own) => own.map((s) => `${s.name}${s.n}`))).toEqual([
      ["a0", "a1", "a2"],
      ["b0", "b1", "b2"],
    ]);
    expect(summaries).toEqual([
      { name: "a", steps: 3 },
      { name: "b", steps: 3 },
    ]);
  });

  it("stops with a program's own words when it dies instead of answering", async () => {
    const bad = `process.stdin.once("data", () => { console.error("no such weights"); process.exit(3); });`;
    expect((await alternate({ a: GOOD, bad }, 1)).error).toBe("bad ended with status 3: no such weights");
  });

  it("stops when a program ends badly after its last step", async () => {
    const late = `import readline from "node:readline";
      for await (const line of readline.createInterface({ input: process.stdin })) console.log('{"t": 1}');
      process.exitCode = 4;`;
    expect((await alternate({ late }, 1)).error).toMatch(/^late ended with status 4/);
  });
});
