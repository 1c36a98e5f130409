import { inModule } from "./modules.js";

describe("where the time goes", () => {
  const breakdown = (...steps: object[][]) =>
    inModule("bench/lib/breakdown.mjs", "return m.breakdown(args)", ...steps) as {
      seconds: number;
      rows: { what: string; count: number; seconds: number; share: number; rate?: number; unit?: string }[];
      matrixProducts: { seconds: number; gflops: number };
    };

  it("is summed by kind within a step, and the median is taken over steps", () => {
    const step = (scale: number) => [
      { what: "linear", seconds: 1 * scale, flops: 4e9 },
      { what: "upload", seconds: 1 * scale, bytes: 2e9 },
      { what: "linear", seconds: 3 * scale, flops: 4e9 },
    ];
    const { seconds, rows, matrixProducts } = breakdown(step(1), step(10), step(2));
    expect(rows).toMatchObject([
      { what: "linear", count: 2, seconds: 8, share: 0.8, rate: 1, unit: "GFLOP/s" },
      { what: "upload", count: 1, seconds: 2, share: 0.2, rate: 1, unit: "GB/s" },
    ]);
    expect(seconds).toBe(10);
    expect(matrixProducts).toMatchObject({ seconds: 8, gflops: 1 });
  });

  it("counts the head's products among the matrix products, and attention not", () => {
    const entries = [
      { what: "crossEntropy", seconds: 1, flops: 3e9 },
      { what: "linear", seconds: 1, flops: 1e9 },
      { what: "attention", seconds: 5, flops: 0 },
    ];
    expect(breakdown(entries).matrixProducts).toMatchObject({ seconds: 2, gflops: 2 });
  });
});
