/** Python's ways with text, in which the original's templates and metrics are written. */

/** What `str.strip()` and `str.split()` take for blank: other than JavaScript's in a few characters. */
const BLANK = "[\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]";
const LEADING = new RegExp(`^${BLANK}+`);
const TRAILING = new RegExp(`${BLANK}+$`);
const BLANKS = new RegExp(`${BLANK}+`);

/** `text.strip()` */
export function strip(text: string): string {
  return stripEnd(stripStart(text));
}

/** `text.lstrip()` */
export function stripStart(text: string): string {
  return text.replace(LEADING, "");
}

/** `text.rstrip()` */
export function stripEnd(text: string): string {
  return text.replace(TRAILING, "");
}

/** `text.strip(" ")` */
export function stripSpaces(text: string): string {
  return text.replace(/^ +/, "").replace(/ +$/, "");
}

/** `text.split()` */
export function words(text: string): string[] {
  return text.split(BLANKS).filter((word) => word !== "");
}
