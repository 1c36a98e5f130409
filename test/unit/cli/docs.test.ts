import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { FLAGS, longFlag, type FlagName } from "../../../src/cli/flags.js";
import { COMMANDS } from "../../../src/cli/program.js";
import { knownPaths } from "../../../src/config/describe.js";
import { generateOptionsSchema } from "../../../src/config/generate.js";
import { modelOptionsSchema } from "../../../src/config/model.js";
import { planOptionsSchema } from "../../../src/config/plan.js";
import { trainerOptionsSchema } from "../../../src/config/trainer.js";
import { ERROR_CODES } from "../../../src/base/errors.js";
import { WARNING_CODES } from "../../../src/base/warnings.js";
import { defineModel } from "../../../src/models/index.js";

const root = resolve(__dirname, "../../..");
const read = (path: string) => readFileSync(join(root, path), "utf8");
const pages = [
  "README.md",
  "CHANGELOG.md",
  "THIRD_PARTY_NOTICES.md",
  ...readdirSync(join(root, "docs"))
    .filter((name) => name.endsWith(".md"))
    .map((name) => join("docs", name)),
];

test("docs/errors.md lists every error code with its meaning, and no other", () => {
  const rows = [...read("docs/errors.md").matchAll(/^\| `(ZO2_ERR_\w+)` \| ([^|]+) \|/gm)].map((row) => [
    row[1],
    row[2]?.trim(),
  ]);
  expect(Object.fromEntries(rows)).toEqual(ERROR_CODES);
  expect(rows).toHaveLength(Object.keys(ERROR_CODES).length);
});

test("docs/errors.md lists every warning with its meaning, and no other", () => {
  const rows = [...read("docs/errors.md").matchAll(/^\| `(ZO2_WARN_\w+)` \| ([^|]+) \|/gm)];
  expect(Object.fromEntries(rows.map((row) => [row[1], row[2]?.trim()]))).toEqual(WARNING_CODES);
});

test("no page names an error code that does not exist", () => {
  for (const page of pages) {
    for (const code of read(page).match(/ZO2_ERR_[A-Z]+(?:_[A-Z]+)*/g) ?? []) expect(ERROR_CODES).toHaveProperty(code);
  }
});

test("docs/cli.md lists every flag, and no other", () => {
  const listed = [...read("docs/cli.md").matchAll(/^\| `(--[a-z0-9-]+)/gm)].map((row) => row[1]);
  expect([...listed].sort()).toEqual((Object.keys(FLAGS) as FlagName[]).map(longFlag).sort());
});

test("every flag that a page uses after `zo2 COMMAND` is one of that command", () => {
  for (const page of pages) {
    const shell = [...read(page).matchAll(/^```sh\n([\s\S]*?)^```/gm)]
      .map((block) => (block[1] ?? "").replace(/\\\n/g, " "))
      .join("\n");
    for (const [line, name, rest] of shell.matchAll(/^zo2 +(\w+) +(.*)$/gm)) {
      const command = COMMANDS.find((c) => c.name === name);
      if (command === undefined) throw new Error(`${page}: ${line}`);
      for (const flag of (rest ?? "").match(/--[a-z][a-z-]*/g) ?? [])
        expect(command.flags.map(longFlag)).toContain(flag);
    }
  }
});

test("docs/api.md lists every option of loadModel, Trainer and planModel", () => {
  const text = read("docs/api.md");
  const leaf = (path: string, all: readonly string[]) => !all.some((other) => other.startsWith(`${path}.`));
  for (const schema of [modelOptionsSchema, trainerOptionsSchema, planOptionsSchema]) {
    const all = knownPaths(schema);
    for (const path of all.filter(
      (p) =>
        leaf(p, all) &&
        !p.startsWith("test.") &&
        !p.startsWith("template.") &&
        !/^(method\.schedule|objective\.generate)\./.test(p),
    )) {
      expect(text).toContain(path.startsWith("evaluation.") ? path.slice("evaluation.".length) : `\`${path}\``);
    }
  }
});

test("docs/generation.md lists every option of generate, with its default", () => {
  const text = read("docs/generation.md");
  const defaults: Readonly<Record<string, unknown>> = { ...generateOptionsSchema.parse({}) };
  const rows = new Map([...text.matchAll(/^\| `(\w+)` \| ([^|]+) \|/gm)].map((row) => [row[1], row[2]?.trim()]));
  for (const path of knownPaths(generateOptionsSchema)) {
    const value = defaults[path];
    expect(rows.get(path)).toBe(
      value === undefined
        ? "all"
        : typeof value === "string"
          ? `\`"${value}"\``
          : Array.isArray(value)
            ? "[]"
            : String(value),
    );
  }
});

test("docs/cli.md lists every command, and no other", () => {
  const [, block = ""] = /^```\n([\s\S]*?)^```/m.exec(read("docs/cli.md")) ?? [];
  expect([...block.matchAll(/^zo2 (\w+)/gm)].map((row) => row[1]).sort()).toEqual(
    COMMANDS.map(({ name }) => name as string).sort(),
  );
});

test("docs/models.md lists every family, and no other", () => {
  const [, table = ""] = /^## Families\n([\s\S]*?)^## /m.exec(read("docs/models.md")) ?? [];
  const listed = [...table.matchAll(/^\| `(\w+)` \|/gm)].map((row) => row[1]);
  // The refusal of an unknown one names them all.
  expect(() => defineModel({ model_type: "zo2-unknown" })).toThrow(`use one of ${listed.join(", ")}`);
});

test("links between pages lead somewhere", () => {
  for (const page of pages) {
    for (const [, target = ""] of read(page).matchAll(/\]\(([^)\s]+)\)/g)) {
      const [path = ""] = target.split("#");
      if (path === "" || /^https?:/.test(path)) continue;
      const file = join(root, dirname(page), path);
      if (!existsSync(file)) throw new Error(`${page} links to ${target}, which is not there`);
    }
  }
});

test("docs/develop.md has a reason for every dependency", () => {
  const { dependencies, devDependencies } = JSON.parse(read("package.json")) as Record<string, Record<string, string>>;
  const text = read("docs/develop.md");
  for (const name of Object.keys({ ...dependencies, ...devDependencies }).filter((n) => !n.startsWith("@types/")))
    expect(text).toContain(name);
  for (const name of Object.keys(dependencies ?? {})) expect(read("THIRD_PARTY_NOTICES.md")).toContain(name);
});
