/**
 * Bundles the script and the style of reports (src/page/browser, with uPlot) into src/page/assets.generated.ts, which
 * git does not track. Without esbuild, as where only the tests were brought, it stays as it is.
 */
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import path from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const browser = path.join(root, "src", "page", "browser");
const target = path.join(root, "src", "page", "assets.generated.ts");

async function bundled(esbuild, file) {
  const result = await esbuild.build({
    entryPoints: [path.join(browser, file)],
    ...{ bundle: true, minify: true, write: false, format: "iife", target: "es2022", legalComments: "none" },
    logLevel: "warning",
  });
  return result.outputFiles[0].text.trim();
}

export async function buildPage() {
  const esbuild = await import("esbuild").catch(() => undefined);
  if (esbuild === undefined) return;
  const script = await bundled(esbuild, "main.ts");
  const style = await bundled(esbuild, "page.css");
  const timeline = await bundled(esbuild, "timeline.css");
  if (/<\/script|<!--/i.test(script) || /<\/style/i.test(style + timeline))
    throw new Error("the bundle would end its element");
  const licence = readFileSync(path.join(root, "node_modules", "uplot", "LICENSE"), "utf8").trim();
  const constants = {
    SCRIPT: script,
    STYLE: style,
    TIMELINE_STYLE: timeline,
    LICENCES: `uPlot, in the script and the style below:\n\n${licence}\n`,
  };
  const lines = Object.entries(constants).map(
    ([name, text]) => `export const ${name}: string = ${JSON.stringify(text)};\n`,
  );
  const text = `// Made by scripts/build-page.mjs.\n${lines.join("")}`;
  if (existsSync(target) && readFileSync(target, "utf8") === text) return;
  const temporary = `${target}.${process.pid}`;
  writeFileSync(temporary, text);
  renameSync(temporary, target);
}

/** For jest's globalSetup. */
export default buildPage;

if (process.argv[1] === fileURLToPath(import.meta.url)) await buildPage();
