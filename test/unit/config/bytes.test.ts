import { formatBytes, parseBytes } from "../../../src/base/bytes.js";

test.each([
  ["4GiB", 4294967296],
  ["512MiB", 536870912],
  ["1.5GB", 1500000000],
  ["1.5 gib", 1610612736],
  ["64 KiB", 65536],
  ["2TiB", 2199023255552],
  ["100", 100],
  ["100B", 100],
  [100, 100],
])("%p is %p bytes", (value, bytes) => {
  expect(parseBytes(value)).toBe(bytes);
});

test.each([
  "",
  "GiB",
  "4G",
  "4 elephants",
  "-4GiB",
  "0",
  0,
  -1,
  1.5,
  NaN,
  Infinity,
  "0.1B",
  "1e3",
  "9999999TiB",
  null,
  undefined,
  true,
  [4],
])("%p is not an amount of memory", (value) => {
  expect(parseBytes(value)).toBeUndefined();
});

test.each([
  [0, "0 B"],
  [1023, "1023 B"],
  [1024, "1 KiB"],
  [1536, "1.5 KiB"],
  [1048575, "1 MiB"],
  [24.1 * 2 ** 30, "24.1 GiB"],
  [-2048, "-2 KiB"],
  [NaN, "? B"],
])("%p bytes read as %p", (bytes, text) => {
  expect(formatBytes(bytes)).toBe(text);
});

test("what formatBytes prints, parseBytes reads back to within its one decimal", () => {
  for (let bytes = 1; bytes < 2 ** 50; bytes = Math.ceil(bytes * 1.37)) {
    const back = parseBytes(formatBytes(bytes)) ?? NaN;
    expect(Math.abs(back - bytes)).toBeLessThanOrEqual(
      0.06 * 2 ** (10 * Math.floor(Math.log2(Math.max(back, bytes)) / 10)),
    );
  }
});
