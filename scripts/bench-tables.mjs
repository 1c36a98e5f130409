/**
 * Makes the README's tables from the results in bench/results. A table stands between `<!-- bench:NAME -->` and `<!-- /bench:NAME -->`; one
 * whose results are not there yet is left as it is.
 *
 *   node scripts/bench-tables.mjs [--check] [--readme README.md] [--results bench/results]
 *
 * --check writes nothing and fails when the README says anything else than the results.
 */
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { readOptions, runMain } from "../bench/lib/options.mjs";
import { hasBlock, replaceBlock, TABLES } from "../bench/lib/tables.mjs";

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));

function readResult(file) {
  try {
    return JSON.parse(fs.readFileSync(file, "utf8"));
  } catch (error) {
    if (error.code === "ENOENT") return null;
    throw new Error(`${file}: ${error.message}`);
  }
}

await runMain("bench-tables", () => {
  const o = readOptions(process.argv.slice(2), { check: false, readme: path.join(root, "README.md"), results: path.join(root, "bench", "results") });
  const before = fs.readFileSync(o.readme, "utf8");
  let after = before;
  for (const [name, { results, render }] of Object.entries(TABLES)) {
    if (!hasBlock(before, name)) continue;
    const file = path.join(o.results, results);
    const result = readResult(file);
    if (result === null) {
      console.log(`${name}: ${file} is not there; its table stays as it is`);
      continue;
    }
    try {
      after = replaceBlock(after, name, render(result));
    } catch (error) {
      throw new Error(`${o.readme}: ${error.message}`);
    }
  }
  if (after === before) return 0;
  if (o.check) throw new Error(`${o.readme} does not say what ${o.results} says; run node scripts/bench-tables.mjs`);
  fs.writeFileSync(o.readme, after);
  console.log(`written: ${o.readme}`);
  return 0;
});
