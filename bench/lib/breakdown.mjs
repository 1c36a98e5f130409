import { median } from "./summary.mjs";

const PRODUCTS = ["linear", "crossEntropy"];

/**
 * Sums the timed commands of several steps by kind: for each kind the median over the steps of its seconds in a step,
 * largest first, with its share of a step and its rate.
 *
 * @param steps each a list of `{what, seconds, bytes?, flops?, values?}`
 */
export function breakdown(steps) {
  const kinds = [...new Set(steps.flatMap((entries) => entries.map((e) => e.what)))];
  const rows = kinds.map((what) => {
    const own = steps.map((entries) => entries.filter((e) => e.what === what));
    const sum = (field) => median(own.map((entries) => entries.reduce((total, e) => total + (e[field] ?? 0), 0)));
    const row = { what, count: median(own.map((entries) => entries.length)), seconds: sum("seconds") };
    const per = { bytes: ["GB/s", 1e9], flops: ["GFLOP/s", 1e9], values: ["M values/s", 1e6] };
    for (const [field, [unit, scale]] of Object.entries(per)) {
      const amount = sum(field);
      if (amount > 0) Object.assign(row, { amount, rate: amount / row.seconds / scale, unit });
    }
    return row;
  });
  rows.sort((a, b) => b.seconds - a.seconds);
  const seconds = rows.reduce((sum, r) => sum + r.seconds, 0);
  const products = rows.filter((r) => PRODUCTS.includes(r.what));
  const flops = products.reduce((sum, r) => sum + r.amount, 0);
  const productSeconds = products.reduce((sum, r) => sum + r.seconds, 0);
  return {
    seconds,
    rows: rows.map((r) => ({ ...r, share: r.seconds / seconds })),
    matrixProducts: { seconds: productSeconds, flops, gflops: productSeconds === 0 ? 0 : flops / productSeconds / 1e9 },
  };
}
