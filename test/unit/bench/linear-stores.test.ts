import fs from "node:fs";
import path from "node:path";
import { inModule, root } from "./modules.js";

/** "dtype:offset:stride" as an operand of two rows; of a bias, one row. */
function operand(text: string, rows = 2): object | null {
  if (text === "-") return null;
  const [dtype, offset, stride] = text.split(":");
  return { dtype, offset: Number(offset), stride: Number(stride), rows };
}

it("the bench's mirror of how Hopper's product stores says what the kernel's own table says", () => {
  const lines = fs
    .readFileSync(path.join(root, "test/fixtures/linear-stores.txt"), "utf8")
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"));
  const rows = lines.map((line) => line.split(/\s+/));
  const linears = rows.map(([x, out, bias, residual, activation, scale, inner]) => ({
    ...{ x: { dtype: x }, out: operand(out), bias: operand(bias, 1), residual: operand(residual), activation },
    ...{ scale: Number(scale), inner: inner === "1" },
  }));
  const ways = inModule("bench/lib/linear-store.mjs", "return args[0].map(m.linearStore)", linears) as string[];
  expect(lines.map((line, i) => `${line}: ${ways[i]}`)).toEqual(lines.map((line, i) => `${line}: ${rows[i].at(-1)}`));
  expect([...new Set(ways)].sort()).toEqual(["chunks", "general", "pairs"]);
});
