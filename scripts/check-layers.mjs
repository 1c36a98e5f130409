/** Includes and imports go one way, and rooms name only what they know. Prints every breach and fails. */
import process from "node:process";
import { importBreaches } from "./layers/imports.mjs";
import { includeBreaches } from "./layers/includes.mjs";

const breaches = [...includeBreaches(), ...importBreaches()];
for (const line of breaches) console.error(line);
console.log(
  breaches.length === 0 ? "layers: every include and import goes the right way" : `layers: ${breaches.length} breaches`,
);
process.exit(breaches.length === 0 ? 0 : 1);
