import { inModule } from "./modules.js";

const splitmix = (x: bigint) =>
  inModule("bench/lib/tokens.mjs", "return String(m.splitmix64(BigInt(args[0])))", String(x));
const ids = (options: object) =>
  inModule("bench/lib/tokens.mjs", "return m.idsFor(args[0]).map((row) => Array.from(row))", options) as number[][];

describe("the tokens of a step", () => {
  it("come from SplitMix64 as its authors published it", () => {
    expect(splitmix(0n)).toBe("16294208416658607535");
    expect(splitmix(1234567n)).toBe("6457827717110365317");
    // Second output: the state has moved on by the golden ratio, and wraps.
    expect(splitmix((1234567n + 0x9e3779b97f4a7c15n) % 2n ** 64n)).toBe("3203168211198807973");
  });

  it("are those of the peer, row after row", () => {
    // Recorded from ids_for of the peer.
    expect(ids({ seed: 0, step: 0, batch: 2, seq: 4, vocab: 50272 })).toEqual([
      [18223, 18529, 42318, 47117],
      [47658, 20218, 17856, 32215],
    ]);
    expect(ids({ seed: 3, step: 2, batch: 1, seq: 6, vocab: 4096 })).toEqual([[447, 1810, 3881, 418, 4005, 3902]]);
  });
});
