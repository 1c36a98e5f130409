import { inModule } from "./modules.js";

interface Step {
  readonly t: number;
  readonly foreign: number | null;
}
const call = (name: string, ...args: unknown[]) =>
  inModule("bench/lib/summary.mjs", `return m.${name}(...args)`, ...args);
const step = (t: number, foreign: number | null = 0): Step => ({ t, foreign });

describe("a row of results", () => {
  it("stands on the quiet steps, and says how many there were", () => {
    const steps = [step(9, 0.5), step(2, 0.01), step(4, 0.049), step(3), step(1, 0.05)];
    expect(call("summarise", steps, 12)).toMatchObject({
      seconds: 3,
      best: 2,
      tokensPerSecond: 4,
      steps: 5,
      quiet: 3,
      used: 3,
    });
  });

  it("stands on all steps when none was quiet, or when nobody knows", () => {
    expect(call("summarise", [step(2, 1), step(4, 1)], 6)).toMatchObject({
      seconds: 3,
      tokensPerSecond: 2,
      quiet: 0,
      used: 2,
    });
    expect(call("summarise", [step(2, null), step(4, null)], 6)).toMatchObject({ seconds: 3, quiet: 0, used: 2 });
  });

  it("keeps every step that was measured", () => {
    expect(call("summarise", [step(9, 0.5), step(2)], 1)).toMatchObject({
      all: [
        { seconds: 9, foreign: 0.5 },
        { seconds: 2, foreign: 0 },
      ],
    });
  });
});

describe("a comparison of speeds", () => {
  it("is the median over rounds, so that a machine that slows down for both changes nothing", () => {
    expect(call("compareSpeed", [step(1), step(2), step(5)], [step(3), step(6), step(10)])).toEqual({
      ratio: 3,
      least: 2,
      most: 3,
      rounds: 3,
      quiet: 3,
    });
  });

  it("leaves out a round in which either of the two was disturbed", () => {
    const own = [step(1), step(4, 1), step(1)];
    const other = [step(2), step(2), step(40, 1)];
    expect(call("compareSpeed", own, other)).toEqual({ ratio: 2, least: 2, most: 2, rounds: 3, quiet: 1 });
    expect(call("compareSpeed", own.slice(1), other.slice(1))).toMatchObject({ least: 0.5, most: 40, quiet: 0 });
  });
});

describe("the agreement of losses", () => {
  it("is the largest relative difference", () => {
    expect(call("largestDifference", [10, 4], [10.5, 5])).toBeCloseTo(0.2, 12);
    expect(call("largestDifference", [10, 4], [10, 4])).toBe(0);
  });

  it("never holds for a loss that is not a number, wherever it stands", () => {
    for (const losses of ["[NaN, 1]", "[1, NaN]"]) {
      expect(
        inModule("bench/lib/summary.mjs", `const d = m.largestDifference(${losses}, [1, 1]); return d <= 1e-5`),
      ).toBe(false);
    }
  });

  it("is refused for lists of different lengths", () => {
    expect(() => call("largestDifference", [1], [1, 2])).toThrow("1 losses and 2 losses");
  });
});

describe("the CPU time of others", () => {
  const machine = (name: string, text: string) => inModule("bench/lib/machine.mjs", `return m.${name}(args[0])`, text);

  it("counts user, nice, system and interrupts of the machine, and neither idling nor what other guests took", () => {
    expect(machine("busyTicks", "cpu  100 20 30 4000 500 6 7 800 0 0\ncpu0 1 1 1 1 1 1 1 1\n")).toBe(163);
  });

  it("reads a program's time past any name it may have", () => {
    expect(
      machine("processTicks", "42 (a) b (c) S 1 42 42 0 -1 4194304 10 0 0 0 310 25 0 0 20 0 3 0 100 1000 10"),
    ).toBe(335);
  });

  it("is what the machine worked and the program did not, and unknown where the kernel does not say", () => {
    const foreign = (before: object, after: object) =>
      inModule("bench/lib/program.mjs", "return m.foreignCores(...args)", before, after);
    expect(foreign({ at: 10, machine: 100, own: 5 }, { at: 12, machine: 104, own: 8 })).toBe(0.5);
    expect(foreign({ at: 10, machine: 100, own: 5 }, { at: 12, machine: 104, own: 9.01 })).toBe(0);
    expect(foreign({ at: 10, machine: null, own: 5 }, { at: 12, machine: 104, own: 8 })).toBeNull();
  });
});

describe("the order of the programs", () => {
  it("turns round every other round", () => {
    expect(inModule("bench/lib/program.mjs", "return [0, 1, 2].map((round) => m.orderOf(round, 3))")).toEqual([
      [0, 1, 2],
      [2, 1, 0],
      [0, 1, 2],
    ]);
  });
});
