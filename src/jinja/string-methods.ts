/** Methods of `str` that templates call. */
import { bind, flag, needed, needInt, needText } from "./arguments.js";
import { spend, spendItems, spendText } from "./budget.js";
import { TemplateError } from "./errors.js";
import { BLANKS, pointsOf, textLength, textSlice } from "./text.js";
import { iterate, type Named, Tuple, typeOf, type Value } from "./values.js";

type Method = (self: string, args: readonly Value[], named: Named) => Value;

const BLANK_LEFT = new RegExp(`^[${BLANKS}]+`, "u");
const BLANK = new RegExp(`^[${BLANKS}]+$`, "u");
const BLANK_RUN = new RegExp(`[${BLANKS}]+`, "gu");
const BLANK_SET = new RegExp(`[${BLANKS}]`, "u");
const LINE_MARKS = "\\n\\r\\v\\f\\x1c-\\x1e\\x85\\u2028\\u2029";
const LINE_ENDS = new RegExp(`\\r\\n|[${LINE_MARKS}]`, "g");

export type Side = "strip" | "lstrip" | "rstrip";

/** `strip`, `lstrip` and `rstrip`, of blanks where `chars` is null. */
export function stripped(side: Side, text: string, chars: Value): string {
  spendText(text.length);
  if (chars === null) {
    const left = side === "rstrip" ? text : text.replace(BLANK_LEFT, "");
    return side === "lstrip" ? left : left.slice(0, blankEnd(left));
  }
  const set = new Set(needText(side, chars));
  const points = Array.from(text);
  let begin = 0;
  let end = points.length;
  if (side !== "rstrip") while (begin < end && set.has(points[begin] as string)) begin++;
  if (side !== "lstrip") while (end > begin && set.has(points[end - 1] as string)) end--;
  return points.slice(begin, end).join("");
}

/** Where the blanks at the end begin. A pattern with `$` would try every run of blanks in the text. */
function blankEnd(text: string): number {
  let end = text.length;
  while (end > 0 && BLANK_SET.test(text[end - 1] as string)) end--;
  return end;
}

export function splitLines(text: string, keepEnds = false): string[] {
  spendText(text.length);
  const lines: string[] = [];
  let from = 0;
  for (const match of text.matchAll(LINE_ENDS)) {
    const end = match.index + match[0].length;
    lines.push(text.slice(from, keepEnds ? end : match.index));
    from = end;
  }
  if (from < text.length) lines.push(text.slice(from));
  spendItems(lines.length);
  return lines;
}

/** `text.replace(old, by, count)`, of every place where `count` is negative. */
export function replaced(text: string, old: string, by: string, count: number): string {
  spendText(text.length);
  const parts = old === "" ? ["", ...Array.from(text), ""] : text.split(old);
  const places = count < 0 ? parts.length - 1 : Math.min(count, parts.length - 1);
  if (places < 1) return text;
  spendText(text.length + places * by.length);
  return (
    parts.slice(0, places + 1).join(by) +
    parts
      .slice(places + 1)
      .map((part) => old + part)
      .join("")
  );
}

function split(text: string, separator: Value, most: number): string[] {
  spendText(text.length);
  if (separator === null) return splitBlanks(text, most);
  const by = needText("split", separator);
  if (by === "") throw new TemplateError("empty separator");
  const parts = text.split(by);
  spendItems(parts.length);
  if (most < 0 || parts.length <= most + 1) return parts;
  return [...parts.slice(0, most), parts.slice(most).join(by)];
}

function rsplit(text: string, separator: Value, most: number): string[] {
  if (separator === null) {
    if (most < 0) return splitBlanks(text, most);
    // Runs of blanks are the same from both ends.
    const reverse = (one: string) => Array.from(one).reverse().join("");
    return splitBlanks(reverse(text), most).map(reverse).reverse();
  }
  const parts = split(text, separator, -1);
  if (most < 0 || parts.length <= most + 1) return parts;
  const by = needText("rsplit", separator);
  const cut = parts.length - most;
  return [parts.slice(0, cut).join(by), ...parts.slice(cut)];
}

function splitBlanks(text: string, most: number): string[] {
  const parts: string[] = [];
  let rest = stripped("lstrip", text, null);
  if (most < 0) {
    const all = stripped("strip", rest, null);
    const words = all === "" ? [] : all.split(BLANK_RUN);
    spendItems(words.length);
    return words;
  }
  while (rest !== "" && parts.length < most) {
    spendText(rest.length);
    const at = rest.search(BLANK_SET);
    if (at < 0) break;
    parts.push(rest.slice(0, at));
    rest = rest.slice(at).replace(BLANK_LEFT, "");
  }
  if (rest !== "") parts.push(rest);
  return parts;
}

/** `find` and `rfind`, in code points; -1 where there is none. */
function find(name: "find" | "rfind", self: string, args: readonly Value[]): number {
  const part = needText(name, args[0]);
  const { begin, window } = windowOf(name, self, args.slice(1));
  const at = window === undefined ? -1 : name === "find" ? window.indexOf(part) : window.lastIndexOf(part);
  return at < 0 || window === undefined ? -1 : begin + textLength(window.slice(0, at));
}

/** The part of a text between two places, as `startswith` and `find` take them. */
function windowOf(name: string, self: string, bounds: readonly Value[]): { begin: number; window: string | undefined } {
  if (bounds.length === 0) return { begin: 0, window: self };
  const points = pointsOf(self);
  const place = (value: Value | undefined, otherwise: number) => {
    const at = value === null ? otherwise : needInt(name, value, otherwise);
    return at < 0 ? Math.max(0, at + points.length) : at;
  };
  const begin = place(bounds[0], 0);
  const end = Math.min(place(bounds[1], points.length), points.length);
  return { begin, window: begin > end ? undefined : textSlice(points, begin, end) };
}

function affix(name: "startswith" | "endswith"): Method {
  return (self, args) => {
    const [wanted, ...bounds] = args;
    const { window } = windowOf(name, self, bounds);
    const any = wanted instanceof Tuple ? wanted.items : [wanted];
    return any.some((one) => {
      const part = needText(name, one);
      return window !== undefined && (name === "startswith" ? window.startsWith(part) : window.endsWith(part));
    });
  };
}

function index(name: "index" | "rindex"): Method {
  return (self, args) => {
    const at = find(name === "index" ? "find" : "rfind", self, args);
    if (at < 0) throw new TemplateError("substring not found");
    return BigInt(at);
  };
}

function padded(name: "center" | "ljust" | "rjust"): Method {
  return (self, args) =>
    pad(name, self, needInt(name, args[0], 0), args[1] === undefined ? " " : needText(name, args[1]));
}

export function pad(name: "center" | "ljust" | "rjust", text: string, width: number, fill: string): string {
  const missing = width - textLength(text);
  if (missing <= 0) return text;
  spendText(width * fill.length);
  // Python puts the odd blank to the left where the width is odd.
  const left = name === "ljust" ? 0 : name === "rjust" ? missing : (missing >> 1) + (missing & width & 1);
  return fill.repeat(left) + text + fill.repeat(missing - left);
}

function partition(name: "partition" | "rpartition"): Method {
  return (self, args) => {
    const by = needText(name, args[0]);
    if (by === "") throw new TemplateError("empty separator");
    const at = name === "partition" ? self.indexOf(by) : self.lastIndexOf(by);
    if (at < 0) return new Tuple(name === "partition" ? [self, "", ""] : ["", "", self]);
    return new Tuple([self.slice(0, at), by, self.slice(at + by.length)]);
  };
}

/** Whether a text has characters, and each is of a kind. */
function all(pattern: RegExp): Method {
  return (self) => pattern.test(self);
}

const CASED = /[\p{Lu}\p{Ll}\p{Lt}]/u;

export function capitalized(text: string): string {
  const [first = ""] = text;
  return titleCase(first) + text.slice(first.length).toLowerCase();
}

function titleCase(char: string): string {
  const upper = char.toUpperCase();
  // A letter whose capital is two letters keeps the second one small: "ß" gives "Ss".
  return upper.length > char.length ? upper.slice(0, 1) + upper.slice(1).toLowerCase() : upper;
}

function title(text: string): string {
  let inWord = false;
  let result = "";
  for (const char of text) {
    const cased = CASED.test(char);
    result += cased ? (inWord ? char.toLowerCase() : titleCase(char)) : char;
    inWord = cased;
  }
  return result;
}

export function joined(by: string, items: Value): string {
  const parts: string[] = [];
  let length = 0;
  for (const item of iterate(items)) {
    if (typeof item !== "string")
      throw new TemplateError(`sequence item ${parts.length}: expected str instance, ${typeOf(item)} found`);
    length += item.length + by.length;
    spendText(length);
    parts.push(item);
  }
  return parts.join(by);
}

function expandTabs(text: string, size: number): string {
  let column = 0;
  let result = "";
  for (const char of text) {
    if (char === "\t") {
      const blanks = size > 0 ? size - (column % size) : 0;
      spendText(blanks);
      result += " ".repeat(blanks);
      column += blanks;
    } else {
      result += char;
      column = char === "\n" || char === "\r" ? 0 : column + 1;
    }
  }
  return result;
}

const mapped =
  (change: (text: string) => string): Method =>
  (self) => {
    spendText(self.length);
    return change(self);
  };

const splitting =
  (name: "split" | "rsplit"): Method =>
  (self, args, named) => {
    const { sep, maxsplit } = bind(name, ["sep", "maxsplit"], args, named);
    return (name === "split" ? split : rsplit)(self, sep ?? null, needInt(name, maxsplit, -1));
  };

const stripping =
  (side: Side): Method =>
  (self, args) =>
    stripped(side, self, args[0] ?? null);

export const STRING_METHODS: ReadonlyMap<string, Method> = new Map<string, Method>([
  ["strip", stripping("strip")],
  ["lstrip", stripping("lstrip")],
  ["rstrip", stripping("rstrip")],
  ["split", splitting("split")],
  ["rsplit", splitting("rsplit")],
  ["splitlines", (self, args, named) => splitLines(self, flag(bind("splitlines", ["keepends"], args, named).keepends))],
  ["startswith", affix("startswith")],
  ["endswith", affix("endswith")],
  ["upper", mapped((text) => text.toUpperCase())],
  ["lower", mapped((text) => text.toLowerCase())],
  ["casefold", mapped((text) => text.toLowerCase().replaceAll("ß", "ss").replaceAll("ς", "σ"))],
  [
    "swapcase",
    mapped((text) => Array.from(text, (c) => (c === c.toUpperCase() ? c.toLowerCase() : c.toUpperCase())).join("")),
  ],
  ["title", mapped(title)],
  ["capitalize", mapped(capitalized)],
  [
    "replace",
    (self, args, named) => {
      const { old, new: by, count } = bind("replace", ["old", "new", "count"], args, named);
      return replaced(self, needText("replace", old), needText("replace", by), needInt("replace", count, -1));
    },
  ],
  ["find", (self, args) => BigInt(find("find", self, args))],
  ["rfind", (self, args) => BigInt(find("rfind", self, args))],
  ["index", index("index")],
  ["rindex", index("rindex")],
  [
    "count",
    (self, args) => {
      const part = needText("count", args[0]);
      const { window } = windowOf("count", self, args.slice(1));
      if (window === undefined) return 0n;
      spendText(window.length);
      return BigInt(part === "" ? textLength(window) + 1 : window.split(part).length - 1);
    },
  ],
  ["join", (self, args) => joined(self, needed("join", "iterable", args[0]))],
  ["center", padded("center")],
  ["ljust", padded("ljust")],
  ["rjust", padded("rjust")],
  [
    "zfill",
    (self, args) => {
      const [, sign = "", body = ""] = /^([+-]?)([\s\S]*)$/.exec(self) ?? [];
      return sign + pad("rjust", body, needInt("zfill", args[0], 0) - sign.length, "0");
    },
  ],
  ["partition", partition("partition")],
  ["rpartition", partition("rpartition")],
  [
    "removeprefix",
    (self, args) => {
      const part = needText("removeprefix", args[0]);
      return self.startsWith(part) ? self.slice(part.length) : self;
    },
  ],
  [
    "removesuffix",
    (self, args) => {
      const part = needText("removesuffix", args[0]);
      return part !== "" && self.endsWith(part) ? self.slice(0, -part.length) : self;
    },
  ],
  [
    "expandtabs",
    (self, args, named) =>
      expandTabs(self, needInt("expandtabs", bind("expandtabs", ["tabsize"], args, named).tabsize, 8)),
  ],
  ["isdigit", all(/^[\p{Nd}\u00b2\u00b3\u00b9\u2070-\u2089]+$/u)],
  ["isdecimal", all(/^\p{Nd}+$/u)],
  ["isnumeric", all(/^\p{N}+$/u)],
  ["isalpha", all(/^\p{L}+$/u)],
  ["isalnum", all(/^[\p{L}\p{N}]+$/u)],
  ["isspace", all(BLANK)],
  ["isascii", all(/^\p{ASCII}*$/u)],
  ["isidentifier", all(/^[\p{L}\p{Nl}_][\p{L}\p{Nl}\p{Nd}\p{Mn}\p{Mc}\p{Pc}]*$/u)],
  ["isprintable", all(/^[^\p{C}\p{Zl}\p{Zp}\p{Zs}]*$|^(?:[^\p{C}\p{Zl}\p{Zp}\p{Zs}]| )*$/u)],
  ["islower", (self) => isLower(self)],
  ["isupper", (self) => isUpper(self)],
  ["istitle", (self) => CASED.test(self) && title(self) === self],
]);

export function isLower(text: string): boolean {
  spend(text.length >> 3);
  return CASED.test(text) && !/[\p{Lu}\p{Lt}]/u.test(text);
}

export function isUpper(text: string): boolean {
  spend(text.length >> 3);
  return CASED.test(text) && !/[\p{Ll}\p{Lt}]/u.test(text);
}

/** jinja2's filter `title`: a word begins behind blanks, "-" and opening brackets. */
export function titleWords(text: string): string {
  return text
    .split(/([-\s({[<]+)/)
    .map((part) => {
      const [first = ""] = part;
      return first.toUpperCase() + part.slice(first.length).toLowerCase();
    })
    .join("");
}
