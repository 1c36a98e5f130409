/**
 * Makes the tables of README.md and docs/*.md from the results in bench/results. A table stands between `<!--
 * bench:NAME -->` and `<!-- /bench:NAME -->`; one whose results are not there yet is left as it is.
 *
 *   node scripts/bench-tables.mjs [--check] [--root .] [--results bench/results]
 *
 * --check writes nothing and fails when a page says anything else than the results.
 */
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { readOptions, runMain } from "../bench/lib/options.mjs";
import { blocksOf, replaceBlock, TABLES } from "../bench/lib/tables.mjs";

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));

function readResult(file) {
  try {
    return JSON.parse(fs.readFileSync(file, "utf8"));
  } catch (error) {
    if (error.code === "ENOENT") return null;
    throw new Error(`${file}: ${error.message}`);
  }
}

/** README.md and the pages of docs/ below `folder`, as far as they are there. */
function pagesOf(folder) {
  const docs = path.join(folder, "docs");
  const names = fs.existsSync(docs)
    ? fs
        .readdirSync(docs)
        .filter((name) => name.endsWith(".md"))
        .sort()
    : [];
  return [path.join(folder, "README.md"), ...names.map((name) => path.join(docs, name))].filter((page) =>
    fs.existsSync(page),
  );
}

/** The page with its tables made anew. */
function withTables(page, text, results) {
  let made = text;
  for (const name of blocksOf(text)) {
    if (!Object.hasOwn(TABLES, name))
      throw new Error(`${page}: there is no table ${name}; there are ${Object.keys(TABLES).join(", ")}`);
    const file = path.join(results, TABLES[name].results);
    const result = readResult(file);
    if (result === null) {
      console.log(`${name}: ${file} is not there; its table stays as it is`);
      continue;
    }
    try {
      made = replaceBlock(made, name, TABLES[name].render(result));
    } catch (error) {
      throw new Error(`${page}: ${error.message}`);
    }
  }
  return made;
}

await runMain("bench-tables", () => {
  const o = readOptions(process.argv.slice(2), { check: false, root, results: path.join(root, "bench", "results") });
  const changed = pagesOf(o.root).flatMap((page) => {
    const before = fs.readFileSync(page, "utf8");
    const after = withTables(page, before, o.results);
    return after === before ? [] : [{ page, after }];
  });
  if (changed.length === 0) return 0;
  if (o.check)
    throw new Error(
      `${changed.map(({ page }) => page).join(", ")}: not what ${o.results} says; run node scripts/bench-tables.mjs`,
    );
  for (const { page, after } of changed) {
    fs.writeFileSync(page, after);
    console.log(`written: ${page}`);
  }
  return 0;
});
