/**
 * Imports of src/: nothing outside it but dependencies; the native side only as "zo2/native", and that in device/
 * alone; no circle of files or of rooms (folders); a page's script knows nothing but what is drawn.
 */
import path from "node:path";
import { circles } from "./circles.mjs";
import { breachAt, files, root, textOf } from "./report.mjs";

const BUILD_ONLY = ["bindings", "cmake-js", "node-addon-api", "node-api-headers"];

/** What a room must not name, comments aside, and why. */
const RULES = [
  // The style of a page has names that begin as flags do.
  {
    room: /^(?!cli\/|page\/browser\/|page\/assets\.generated)/,
    names: /["'`( ]--[a-z]/g,
    why: "flags are the command line's; the library names options",
  },
  {
    room: /^method\//,
    names: /"(?:upload|prepare|compute|offload)"|\b[Ll]anes?\b/g,
    why: "a method knows probes and coefficients, and no lane",
  },
  {
    room: /^schedule\//,
    names: /"(?:host|device|disk|fp32|fp16|bf16)"|\b(?:Tier|FloatType|dtype)\b/g,
    why: "a schedule knows what moves, and neither tiers nor dtypes",
  },
];

/** Rooms that know only some others: what they have to do with can be done without a model, a device or an addon. */
const KNOWS = { journal: ["base"], page: ["base", "journal", "report"] };

/** Runs in a browser, from one bundle: what it imports is in there. */
const BROWSER = { room: "page/browser/", packages: ["uplot"], files: ["page/data.js"] };

/** Each import of a file of src/: its position in the text and the module. */
function importsOf(text) {
  const pattern = /(?:\bfrom|\bimport|\brequire\(|\bimport\()\s*["']([^"']+)["']/g;
  return [...text.matchAll(pattern)].map((match) => ({ at: match.index, specifier: match[1] }));
}

/** What is wrong with an import; null for nothing. `own`: name of the importing file below src/. */
function faultOf(own, specifier, packages) {
  if (own.startsWith(BROWSER.room)) return browserFaultOf(own, specifier);
  if (specifier.startsWith(".")) {
    const target = path.relative(root, path.resolve(root, "src", path.dirname(own), specifier));
    if (!target.startsWith(`src${path.sep}`) && target !== "package.json") return "is outside src/";
    if (!specifier.endsWith(".js")) return "lacks its .js ending";
    if (own.startsWith("base/") && !target.startsWith(path.join("src", "base"))) return "base/ imports nothing of ours";
    const known = [room(own), ...(KNOWS[room(own)] ?? [room(path.relative("src", target))])];
    if (!known.includes(room(path.relative("src", target)))) return `${room(own)}/ knows ${known.join(", ")} alone`;
    if (path.relative("src", target).startsWith(BROWSER.room)) return "is for browsers";
    return null;
  }
  if (specifier === "zo2/native") return own.startsWith("device/") ? null : "only device/ knows the native side";
  if (specifier.startsWith("node:")) return null;
  const name = specifier.split("/", specifier.startsWith("@") ? 2 : 1).join("/");
  if (!packages.includes(name)) return "is not a dependency";
  return BUILD_ONLY.includes(name) ? "is for the native side" : null;
}

function browserFaultOf(own, specifier) {
  if (!specifier.startsWith(".")) return BROWSER.packages.includes(specifier) ? null : "is not in the page's script";
  const target = path.join(path.dirname(own), specifier);
  if (!specifier.endsWith(".js")) return "lacks its .js ending";
  if (target.startsWith(BROWSER.room) || BROWSER.files.includes(target)) return null;
  return "is not for browsers";
}

function withoutComments(text) {
  const blank = (comment) => comment.replace(/[^\n]/g, " ");
  return text.replace(/\/\*[\s\S]*?\*\//g, blank).replace(/\/\/.*$/gm, blank);
}

const room = (own) => (own.includes("/") ? own.slice(0, own.indexOf("/")) : own);

export function importBreaches() {
  const packages = Object.keys(JSON.parse(textOf("package.json")).dependencies);
  const breaches = [];
  /** By file below src/, the files that it imports. */
  const imports = new Map();
  for (const file of files("src", /\.ts$/)) {
    const own = path.relative("src", file);
    const text = textOf(file);
    imports.set(own, []);
    for (const { at, specifier } of importsOf(text)) {
      const fault = faultOf(own, specifier, packages);
      if (fault !== null) breaches.push(breachAt(file, text, at, `imports ${specifier}: ${fault}`));
      else if (specifier.startsWith("."))
        imports.get(own).push(path.join(path.dirname(own), specifier).replace(/\.js$/, ".ts"));
    }
    const code = withoutComments(text);
    for (const { room: rooms, names, why } of RULES) {
      if (!rooms.test(own)) continue;
      for (const match of code.matchAll(names)) breaches.push(breachAt(file, text, match.index, `${match[0]}: ${why}`));
    }
  }
  for (const circle of circles(imports)) breaches.push(`src/: these files import each other: ${circle.join(", ")}`);
  const rooms = new Map();
  for (const [own, list] of imports) {
    const known = rooms.get(room(own)) ?? new Set();
    rooms.set(room(own), known);
    for (const to of list) if (room(to) !== room(own)) known.add(room(to));
  }
  for (const circle of circles(rooms)) breaches.push(`src/: these rooms import each other: ${circle.join(", ")}`);
  return breaches;
}
