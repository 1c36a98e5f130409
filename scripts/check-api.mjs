/**
 * Holds the native surface together: contract/zo2.h, the C++ of binding/, native.d.cts, native.cjs,
 * src/contract/constants.ts, src/ops/table.ts and src/base/errors.ts. Prints every difference and fails.
 */
import { readFileSync, readdirSync } from "node:fs";
import path from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const read = (...parts) => readFileSync(path.join(root, ...parts), "utf8");
const problems = [];
const withoutComments = (text) => text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/\/\/.*$/gm, "");

const header = withoutComments(read("contract", "zo2.h"));
const declarations = withoutComments(read("binding", "native.d.cts"));
const constants = withoutComments(read("src", "contract", "constants.ts"));
const table = withoutComments(read("src", "ops", "table.ts"));
const sources = Object.fromEntries(
  readdirSync(path.join(root, "binding"))
    .filter((name) => /\.(h|cc)$/.test(name))
    // However the formatter breaks its lines, a class is looked for by the beginning of one.
    .map((name) => [name, withoutComments(read("binding", name)).replace(/define_class\(\s+/g, "define_class(")]),
);
const allSources = Object.values(sources).join("\n");

/** Header constants that have no twin in TypeScript, and why. */
const NOT_IN_TYPESCRIPT = [
  [/^ZO2_OK$|^ZO2_STATUS_/, "become error codes (binding/errors.cc)"],
  [/^ZO2_BUFFER_/, 'become the strings "device", "host" and "file"'],
  [/^ZO2_SPACES$|^ZO2_SYMBOLS$/, "counts, checked below"],
  [/^ZO2_OP_CAST$/, "no model needs it"],
];

function compare(what, left, leftPlace, right, rightPlace) {
  for (const name of left)
    if (!right.includes(name)) problems.push(`${what} ${name} is in ${leftPlace} but not in ${rightPlace}`);
  for (const name of right)
    if (!left.includes(name)) problems.push(`${what} ${name} is in ${rightPlace} but not in ${leftPlace}`);
}

const camel = (snake) => snake.replace(/_([a-z0-9])/g, (_, letter) => letter.toUpperCase());
const upperSnake = (name) => name.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase();

/** Body of the braces that follow `start` in `text`. */
function bodyAfter(text, start, open = "{", close = "}") {
  const from = text.indexOf(start);
  if (from < 0) throw new Error(`"${start}" was not found`);
  const begin = text.indexOf(open, from);
  let depth = 0;
  for (let i = begin; i < text.length; i++) {
    if (text[i] === open) depth++;
    else if (text[i] === close && --depth === 0) return text.slice(begin + 1, i);
  }
  throw new Error(`"${start}" does not end`);
}

/** Fields of a struct of the header: type and name, in order. */
function structFields(name) {
  return [...bodyAfter(header, `typedef struct ${name} {`).matchAll(/([\w*]+)\s+(\w+)(?:\[[^\]]*\])?;/g)].map(
    ([, type, field]) => ({ type, field }),
  );
}

function checkConstants() {
  const inHeader = new Map();
  for (const [, body] of header.matchAll(/\benum\b[^{;]*\{([^}]*)\}/g)) {
    for (const [, name, value] of body.matchAll(/(ZO2_\w+)\s*=\s*(\d+)/g)) inHeader.set(name, Number(value));
  }
  const inTypeScript = new Map();
  for (const [, group, body] of constants.matchAll(/export const (\w+) = \{([^}]*)\} as const/g)) {
    if (group === "COMMAND") continue;
    const prefix = group === "DTYPE" ? "ZO2_" : `ZO2_${group}_`;
    for (const [, key, value] of body.matchAll(/(\w+):\s*(\d+)/g))
      inTypeScript.set(prefix + upperSnake(key), Number(value));
  }
  for (const [, name, code] of table.matchAll(/^ {2}(\w+): \{\s*code: (\d+),/gm))
    inTypeScript.set(`ZO2_OP_${upperSnake(name)}`, Number(code));
  const expected = [...inHeader.keys()].filter((name) => !NOT_IN_TYPESCRIPT.some(([pattern]) => pattern.test(name)));
  compare("constant", expected, "zo2.h", [...inTypeScript.keys()], "TypeScript");
  for (const [name, value] of inTypeScript) {
    if (inHeader.has(name) && inHeader.get(name) !== value)
      problems.push(`${name} is ${inHeader.get(name)} in zo2.h and ${value} in TypeScript`);
  }
  for (const [count, prefix] of [
    ["ZO2_SPACES", "ZO2_SPACE_"],
    ["ZO2_SYMBOLS", "ZO2_SYMBOL_"],
  ]) {
    const entries = [...inHeader.keys()].filter((name) => name.startsWith(prefix)).length;
    if (inHeader.get(count) !== entries) problems.push(`${count} is ${inHeader.get(count)}, but there are ${entries}`);
  }
}

function number(text, pattern, what) {
  const value = Number(pattern.exec(text)?.[1]);
  if (!Number.isInteger(value)) problems.push(`${what} was not found`);
  return value;
}

function checkVersionsAndSizes() {
  const version = number(header, /#define ZO2_CONTRACT_VERSION (\d+)u/, "ZO2_CONTRACT_VERSION");
  for (const [place, text] of [
    ["constants.ts", constants],
    ["native.cjs", read("binding", "native.cjs")],
  ]) {
    const other = number(text, /CONTRACT_VERSION = (\d+)/, `CONTRACT_VERSION of ${place}`);
    if (other !== version) problems.push(`the contract version is ${version} in zo2.h and ${other} in ${place}`);
  }
  const bytes = { double: 8, uint64_t: 8, float: 4, uint32_t: 4 };
  for (const [struct, constant] of [
    ["zo2_coefficient", "COEFFICIENT_BYTES"],
    ["zo2_sticky", "STICKY_BYTES"],
  ]) {
    const size = structFields(struct).reduce((sum, { type }) => sum + bytes[type], 0);
    const stated = number(constants, new RegExp(`${constant} = (\\d+)`), constant);
    if (stated !== size) problems.push(`${constant} is ${stated}; ${struct} has ${size} bytes`);
  }
  for (const constant of ["SEAL_BYTES", "SEAL_NOTE_BYTES"]) {
    const there = number(header, new RegExp(`#define ZO2_${constant} (\\d+)u`), `ZO2_${constant}`);
    const here = number(constants, new RegExp(`${constant} = (\\d+)`), constant);
    if (there !== here) problems.push(`${constant} is ${here}, and ${there} in zo2.h`);
  }
}

function checkCommands() {
  const inTypeScript = [...bodyAfter(constants, "export const COMMAND").matchAll(/(\w+):\s*(\d+)/g)]
    .sort((a, b) => Number(a[2]) - Number(b[2]))
    .map(([, name, value], i) => (Number(value) === i + 1 ? name : `${name}=${value}`));
  const inBinding = [...bodyAfter(sources["commands.h"], "kCommandNames[]").matchAll(/"(\w+)"/g)].map(
    (match) => match[1],
  );
  if (inTypeScript.join() !== inBinding.join())
    problems.push(`commands are ${inTypeScript} in constants.ts and ${inBinding} in commands.h`);
}

function checkTable() {
  const functions = [...bodyAfter(header, "typedef struct zo2_backend {").matchAll(/\(\*(\w+)\)\(/g)].map(
    (match) => match[1],
  );
  for (const name of functions) {
    const called = new RegExp(`(?:->|\\.)${name}\\(`).test(allSources);
    if (!called) problems.push(`${name} of the table is not called in binding/`);
  }
}

/** Members of an interface of native.d.cts, without inherited ones; parameters on lines of their own stand deeper. */
function interfaceMembers(name) {
  return [...bodyAfter(declarations, `interface ${name} `).matchAll(/^ {2}(?:readonly )?(\w+)\??[(:]/gm)].map(
    (match) => match[1],
  );
}

function checkClasses() {
  const registered = (text) =>
    [...text.matchAll(/(?:async_method|method|getter)<[^;{}]*?>\("(\w+)"\)/g)].map((match) => match[1]);
  const kinds = [...sources["type_tags.h"].matchAll(/\{"(\w+)", "/g)].map((match) => match[1]);
  const handles = [...declarations.matchAll(/interface (\w+) extends NativeHandle/g)].map((match) => match[1]);
  compare("handle", handles, "native.d.cts", kinds, "type_tags.h");
  for (const kind of kinds) {
    const calls = Object.values(sources).filter((text) => text.includes(`define_class(env, Kind::k${kind},`));
    const inBinding = calls.flatMap((text) => registered(bodyAfter(text, `define_class(env, Kind::k${kind},`)));
    if (handles.includes(kind)) compare(`${kind}.`, interfaceMembers(kind), "native.d.cts", inBinding, "binding/");
  }
  compare(
    "handle member",
    interfaceMembers("NativeHandle"),
    "native.d.cts",
    registered(bodyAfter(sources["handle.cc"], "KindCallbacks callbacks() ")),
    "handle.cc",
  );
  const native = [
    ...[...sources["addon.cc"].matchAll(/exports\.Set\("(\w+)"/g)].map((match) => match[1]),
    ...registered(bodyAfter(sources["addon.cc"], "define_members(")),
  ];
  compare("Native.", interfaceMembers("Native"), "native.d.cts", native, "addon.cc");
}

function checkStructs() {
  const info = structFields("zo2_device_info").map(({ field }) => camel(field));
  compare("DeviceInfo.", info, "zo2.h", interfaceMembers("DeviceInfo"), "native.d.cts");
  const setInfo = [...sources["device.cc"].matchAll(/(?:out\.Set|number)\("(\w+)",/g)].map((match) => match[1]);
  compare("DeviceInfo.", info, "zo2.h", setInfo, "device.cc");
  const options = structFields("zo2_device_options").map(({ field }) => camel(field));
  compare("DeviceOptions.", options, "zo2.h", interfaceMembers("DeviceOptions"), "native.d.cts");
  const parsed = [...sources["addon.cc"].matchAll(/_option\(given, "(\w+)"/g)].map((match) => match[1]);
  compare("DeviceOptions.", options, "zo2.h", parsed, "addon.cc");
  const segment = structFields("zo2_segment")
    .map(({ field }) => field)
    .filter((field) => field !== "reserved");
  const decoded = [...sources["layout.cc"].matchAll(/segment\.(\w+) =/g)].map((match) => match[1]);
  if (segment.join() !== decoded.join())
    problems.push(`the words of a segment are ${segment} in zo2.h and ${decoded} in layout.cc`);
}

function checkCodes() {
  const known = [...read("src", "base", "errors.ts").matchAll(/(ZO2_ERR_\w+):/g)].map((match) => match[1]);
  const used = [...(allSources + read("binding", "native.cjs")).matchAll(/"(ZO2_ERR_\w+)"/g)].map((match) => match[1]);
  for (const code of new Set(used))
    if (!known.includes(code)) problems.push(`${code} is raised in binding/ but not listed in src/base/errors.ts`);
}

for (const check of [
  checkConstants,
  checkVersionsAndSizes,
  checkCommands,
  checkTable,
  checkClasses,
  checkStructs,
  checkCodes,
])
  check();
for (const problem of problems) console.error(problem);
console.log(
  problems.length === 0
    ? "api: header, binding, declarations and constants agree"
    : `api: ${problems.length} differences`,
);
process.exit(problems.length === 0 ? 0 : 1);
