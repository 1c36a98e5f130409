import type { StepOutcome } from "../../../src/method/index.js";
import { Guards } from "../../../src/train/guards.js";
import { stepsOf } from "../journal/support.js";

const step = (g: number, losses: readonly number[] = [1, 1.5]): StepOutcome => ({ losses, coefficients: [g] });

/** What is said of each of these outcomes. */
function judge(guards: Guards, outcomes: readonly StepOutcome[]): (string | null)[] {
  return outcomes.map((outcome, index) => guards.judge(outcome, index)?.guard ?? null);
}

const quiet = (count: number) => Array.from({ length: count }, (_, i) => step(((i % 7) - 3) / 3));

test("numbers that are not finite are wrong from the first step on", () => {
  for (const outcome of [
    step(Number.NaN),
    step(1, [1, Number.NaN]),
    step(1, [Number.POSITIVE_INFINITY, 1]),
    { losses: [1, 2], coefficients: [1, Number.NEGATIVE_INFINITY] },
  ]) {
    expect(new Guards("model").judge(outcome, 3)).toMatchObject({
      ...{ guard: "not-finite", since: 3 },
      error: { code: "ZO2_ERR_NOT_FINITE", message: expect.stringContaining("step 3: ") as unknown },
    });
  }
});

test("a coefficient is far outside once there are enough to compare it with", () => {
  expect(judge(new Guards("model"), [...quiet(63), step(1000)]).filter((guard) => guard !== null)).toEqual([]);
  // The root mean square of a week is 2/3.
  for (const [g, said] of [
    [19.9, null],
    [-20.2, "outlier"],
  ] as const)
    expect(judge(new Guards("model"), [...quiet(70), step(g)]).at(-1)).toBe(said);
  // What was wrong is nothing to compare with; what grows step by step is no outlier.
  expect(judge(new Guards("model"), [...quiet(70), step(1000), step(1000)]).slice(-2)).toEqual(["outlier", "outlier"]);
  const growing = Array.from({ length: 400 }, (_, i) => step(1.05 ** i));
  expect(judge(new Guards("model"), growing).every((guard) => guard === null)).toBe(true);
});

test("all zeros are not what anything is far from", () => {
  expect(judge(new Guards("caller"), [...Array.from({ length: 100 }, () => step(0, [1, 1])), step(5)])).toEqual(
    Array.from({ length: 101 }, () => null),
  );
});

test("losses that are the same in every probe are wrong at the fiftieth step in a row, unless the caller's", () => {
  const flat = Array.from({ length: 52 }, () => step(0, [0, 0]));
  expect(judge(new Guards("model"), flat).slice(48)).toEqual([null, "collapsed", "collapsed", "collapsed"]);
  expect(judge(new Guards("caller"), flat).every((guard) => guard === null)).toBe(true);
  expect(judge(new Guards("model"), [...flat.slice(0, 49), step(1), ...flat.slice(0, 49)])).not.toContain("collapsed");
});

test("a run that is taken up judges as one that never ended", () => {
  const steps = stepsOf(300);
  const dropped = [40, 41, 150].map((at) => ({ step: at, count: 1, guard: "outlier" as const }));
  const live = new Guards("model");
  for (const { step: at, shards, coefficients } of steps) {
    const drop = dropped.find((record) => record.step === at);
    if (drop === undefined) live.judge({ losses: shards[0]?.losses ?? [], coefficients }, at);
    else live.dropped(drop);
  }
  expect(Guards.of("model", { steps, dropped })).toEqual(live);
});

test("dropping is in vain at the ninth time within 256 steps", () => {
  const guards = new Guards("model");
  for (let i = 0; i < 8; i++) {
    expect(guards.inVain(i * 10)).toBe(false);
    guards.dropped({ step: i * 10 });
  }
  expect([guards.inVain(80), guards.inVain(255), guards.inVain(256)]).toEqual([true, true, false]);
});
