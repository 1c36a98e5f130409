/**
 * Do the unit tests notice? Stryker puts mutants into the sources, one at a time; a seeded sample of them is run
 * against the unit tests that cover each. Writes the figures, by room, and every survivor with its place.
 *
 *   npm run test:mutants                               the rooms below, a twentieth of their mutants
 *   npm run test:mutants -- --share 1 --rooms schedule    all of one room
 *   npm run test:mutants -- --seed 2                   another sample
 *   options: --concurrency 2, --out bench/results/mutants.json (or "none")
 */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { Stryker } from "@stryker-mutator/core";
import { describeCommit, describeMachine } from "../bench/lib/machine.mjs";
import { readOptions, runMain } from "../bench/lib/options.mjs";

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const ROOMS = ["schedule", "memory", "method", "data", "checkpoint", "models", "infer", "train", "config"];

/** What became of the mutants of a sample. One that no test runs is a survivor as well. */
function countsOf(mutants) {
  const is = (...states) => mutants.filter(({ status }) => states.includes(status)).length;
  const [killed, timedOut, survived, uncovered] = [is("Killed"), is("Timeout"), is("Survived"), is("NoCoverage")];
  const sampled = killed + timedOut + survived + uncovered;
  return {
    ...{ mutants: mutants.length, static: is("Ignored"), sampled, killed, timedOut, survived, uncovered },
    score: sampled === 0 ? null : (killed + timedOut) / sampled,
  };
}

const roomOf = ({ fileName }) => /src\/([^/]+)\//.exec(fileName)?.[1] ?? "src";
const nameOf = ({ fileName }) => fileName.slice(fileName.lastIndexOf("src/"));

await runMain("mutants", async () => {
  const o = readOptions(process.argv.slice(2), {
    rooms: ROOMS.join(","),
    share: 0.05,
    seed: 1,
    concurrency: 1,
    out: path.join(root, "bench", "results", "mutants.json"),
  });
  const rooms = o.rooms.split(",");
  const begun = performance.now();
  const commit = describeCommit(root);
  process.env.ZO2_MUTANTS_SAMPLE = JSON.stringify({ seed: o.seed, share: o.share });
  process.env.ZO2_TEST_FEW = "1";
  process.chdir(root);
  const stryker = new Stryker({
    mutate: rooms.map((room) => `src/${room}/**/*.ts`),
    plugins: ["@stryker-mutator/jest-runner", path.join(root, "scripts/mutants/sample.mjs")],
    testRunner: "jest",
    jest: { projectType: "custom", configFile: "scripts/mutants/jest.config.cjs", enableFindRelatedTests: true },
    checkers: ["sample"],
    coverageAnalysis: "perTest",
    concurrency: o.concurrency,
    // What a module makes when it is loaded belongs to no test in particular, and each such mutant costs them all.
    ignoreStatic: true,
    ignorePatterns: ["/build*", "/cuda", "/cpu", "/emulator", "/gpu-out", "/bench/results", "*.log"],
    tempDirName: path.join(os.tmpdir(), `zo2-mutants-${process.pid}`),
    cleanTempDir: "always",
    reporters: ["dots"],
    allowConsoleColors: false,
    dryRunTimeoutMinutes: 30,
    timeoutFactor: 3,
    timeoutMS: 20000,
  });
  const mutants = await stryker.runMutationTest();
  const survivors = mutants
    .filter(({ status }) => status === "Survived" || status === "NoCoverage")
    .map((mutant) => ({
      at: `${nameOf(mutant)}:${mutant.location.start.line}:${mutant.location.start.column}`,
      ...{ mutator: mutant.mutatorName, replacement: mutant.replacement, covered: mutant.status === "Survived" },
    }));
  const byRoom = Object.fromEntries(rooms.map((room) => [room, countsOf(mutants.filter((m) => roomOf(m) === room))]));
  const result = {
    bench: "mutants",
    date: new Date().toISOString(),
    node: process.version,
    ...commit,
    device: describeMachine(),
    tests: "unit",
    ...{ seed: o.seed, share: o.share, seconds: Math.round((performance.now() - begun) / 1000) },
    all: countsOf(mutants),
    rooms: byRoom,
    survivors,
  };
  console.table(byRoom);
  for (const { at, mutator, replacement } of survivors) console.log(`${at}  ${mutator}: ${replacement}`);
  if (o.out !== "none") fs.writeFileSync(o.out, `${JSON.stringify(result, null, 2)}\n`);
  return 0;
});
