import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { trainArguments, zo2 } from "./fake.js";

let dir: string;
beforeEach(async () => (dir = await mkdtemp(join(tmpdir(), "zo2-cli-"))));
afterEach(() => rm(dir, { recursive: true, force: true }));

const train = (...more: string[]) => trainArguments(dir, ...more);

describe("config files", () => {
  test("flags go over the file", async () => {
    const path = join(dir, "run.yaml");
    await writeFile(
      path,
      "model: m\ndata: d.jsonl\nsteps: 9\nlearningRate: 1e-5\nseed: 18446744073709551615\noverlap: " +
        "false\nfreeze: [a, b]\ndeviceMemory: 2GiB\n",
    );
    const { named, err, code } = await zo2([
      "train",
      "--config",
      path,
      "--steps",
      "2",
      "--out",
      join(dir, "o"),
      "--device-memory",
      "1GiB",
    ]);
    expect(err).not.toContain("ZO2_ERR");
    expect(code).toBe(0);
    expect(named("createTrainer")[0]?.[0]).toMatchObject({
      steps: 2,
      seed: 2n ** 64n - 1n,
      freeze: ["a", "b"],
      method: { learningRate: 1e-5 },
    });
    expect(named("loadModel")[0]).toEqual([
      "m",
      { workload: { training: true }, offload: { deviceMemory: 2 ** 30, overlap: false } },
    ]);
  });

  test("--no-overlap goes over `overlap: true`", async () => {
    const path = join(dir, "run.json");
    await writeFile(path, '{"overlap": true}');
    expect((await zo2(train("--config", path, "--no-overlap"))).named("loadModel")[0]?.[1]).toEqual({
      ...{ workload: { training: true }, offload: { overlap: false } },
    });
  });

  test.each([
    ["lerningRate: 1", 'run.yaml: unknown option "lerningRate"; did you mean "learningRate"?'],
    ["learning-rate: 1", 'run.yaml: unknown option "learning-rate"; did you mean "learningRate"?'],
    ["noOverlap: true", 'run.yaml: unknown option "noOverlap"; did you mean "overlap"?'],
    ["config: other.yaml", 'run.yaml: unknown option "config"'],
    ["steps: ten", 'run.yaml: option "steps" is "ten"; must be a number'],
    ["choices: [1, 2]", 'option "choices[0]" is 1; must be text'],
    ["overlap: 'no'", 'option "overlap" is "no"; must be true or false'],
    ["steps: [1", "run.yaml:1: neither JSON nor YAML"],
    ["steps: 1\nsteps: 2", "run.yaml:2: neither JSON nor YAML: Map keys must be unique"],
    ["- steps", 'run.yaml: holds a list; give options by name, such as "steps: 500"'],
  ])("%j is refused by name and place", async (text, message) => {
    const path = join(dir, "run.yaml");
    await writeFile(path, text);
    const { code, err } = await zo2(train("--config", path));
    expect(err).toContain(message);
    expect(err).toMatch(/^ZO2_ERR_CONFIG: [^\n]*\n$/);
    expect(code).toBe(2);
  });

  test("a file that is not there is an error of input, an empty one sets nothing", async () => {
    expect(await zo2(train("--config", join(dir, "none.yaml")))).toMatchObject({
      code: 1,
      err: expect.stringContaining("ZO2_ERR_IO") as unknown,
    });
    await writeFile(join(dir, "empty.yaml"), "# nothing\n");
    expect(await zo2(train("--config", join(dir, "empty.yaml")))).toMatchObject({ code: 0 });
  });
});
