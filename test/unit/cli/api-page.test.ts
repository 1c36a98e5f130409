import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import * as zo2 from "../../../src/index.js";
import { Model } from "../../../src/model.js";
import { Trainer } from "../../../src/train/trainer.js";

const page = readFileSync(join(resolve(__dirname, "../../.."), "docs/api.md"), "utf8");

/** The code of the first cells of the tables below a heading. */
function membersOf(heading: string): string[] {
  const start = page.indexOf(`\n## ${heading}\n`);
  const section = page.slice(start, page.indexOf("\n## ", start + 1));
  const cells = [...section.matchAll(/^\| (`[^|]*) \|/gm)].map(([, cell]) => cell ?? "");
  return cells.flatMap((cell) => [...cell.matchAll(/`(\[?[\w.]+\]?)/g)].map(([, name]) => name ?? ""));
}

/** What a class has for everybody: its fields, accessors and methods, by the declarations that are published. */
function publicMembers(file: string, name: string): string[] {
  const source = readFileSync(join(resolve(__dirname, "../../../src"), file), "utf8");
  const body = source.slice(source.indexOf(`export class ${name} `));
  const end = body.indexOf("\n}\n");
  const pattern = /^ {2}(?!private|constructor|return|\/|\*)(?:readonly |async |get |static |\*)*(\[?[\w.]+\]?)[(:<]/gm;
  return [...new Set([...body.slice(0, end).matchAll(pattern)].map(([, member]) => member ?? ""))];
}

test("docs/api.md has every public member of a Model, and no other", () => {
  const members = publicMembers("model.ts", "Model");
  expect(members.length).toBeGreaterThan(15);
  expect(membersOf("Model").sort()).toEqual(members.sort());
  const prototype = Object.getOwnPropertyNames(Model.prototype).filter((member) => member !== "constructor");
  for (const member of prototype) expect(members).toContain(member);
});

test("docs/api.md has every public member of a Trainer", () => {
  const members = publicMembers("train/trainer.ts", "Trainer");
  expect(members).toEqual(["options", "resume", "stepsTaken", "fit", "bestEvaluation"]);
  expect(members.filter((member) => !new RegExp(`^[tT]rainer\\.${member}\\b`, "m").test(page))).toEqual([]);
  expect(Object.getOwnPropertyNames(Trainer.prototype)).toContain("fit");
});

test("docs/api.md names everything that the package exports", () => {
  expect(Object.keys(zo2).filter((name) => !page.includes(name))).toEqual([]);
});
