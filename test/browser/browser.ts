/** The browser that pages are looked at with. */
import { execFileSync } from "node:child_process";

/** `ZO2_BROWSER`, or the first that is on the path. */
function findBrowser(): string | undefined {
  if (process.env["ZO2_BROWSER"]) return process.env["ZO2_BROWSER"];
  for (const name of ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]) {
    try {
      return execFileSync("/bin/sh", ["-c", `command -v ${name}`], { encoding: "utf8" }).trim();
    } catch {
      // Not this one.
    }
  }
  return undefined;
}

/** Undefined where there is no Chromium. */
export const executablePath = findBrowser();
if (executablePath === undefined) console.warn("no Chromium was found: pages are not looked at in a browser");
/** Skips where there is none. */
export const inBrowser = executablePath === undefined ? describe.skip : describe;
