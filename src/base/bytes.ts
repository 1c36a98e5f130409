const UNITS: ReadonlyMap<string, number> = new Map([
  ["", 1],
  ["b", 1],
  ["kb", 1e3],
  ["mb", 1e6],
  ["gb", 1e9],
  ["tb", 1e12],
  ["kib", 2 ** 10],
  ["mib", 2 ** 20],
  ["gib", 2 ** 30],
  ["tib", 2 ** 40],
]);

/** What an amount of memory may look like; used in messages. */
export const BYTE_SIZE_FORMS = 'bytes as a whole number, or text such as "4GiB", "512MiB" or "1.5GB"';

/**
 * Bytes from a number of them or from text: `"4GiB"` (2^30 each), `"1.5GB"` (10^9 each), `"4096"`. Fractions of a byte
 * are dropped. Undefined when it is not an amount of at least one byte that a double holds exactly.
 */
export function parseBytes(value: unknown): number | undefined {
  const bytes = typeof value === "string" ? bytesOfText(value) : value;
  if (typeof bytes !== "number" || !Number.isSafeInteger(bytes) || bytes < 1) return undefined;
  return bytes;
}

function bytesOfText(text: string): number | undefined {
  const match = /^\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*$/i.exec(text);
  const unit = UNITS.get((match?.[2] ?? "").toLowerCase());
  if (match?.[1] === undefined || unit === undefined) return undefined;
  return Math.floor(Number(match[1]) * unit);
}

/** Bytes for people, in powers of 1024 with one decimal at most: `"24.1 GiB"`, `"512 MiB"`, `"12 B"`. */
export function formatBytes(bytes: number): string {
  if (!Number.isFinite(bytes)) return "? B";
  const names = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let amount = Math.abs(bytes);
  let unit = 0;
  // 1023.95 would print as "1024".
  while (unit < names.length - 1 && amount >= (unit === 0 ? 1024 : 1023.95)) {
    amount /= 1024;
    unit++;
  }
  const digits = unit === 0 ? String(Math.round(amount)) : amount.toFixed(1).replace(/\.0$/, "");
  return `${bytes < 0 ? "-" : ""}${digits} ${names[unit] ?? "B"}`;
}
