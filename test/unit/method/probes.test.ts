import { AT_WEIGHTS, drawsOf, type Probe, UpdateLog } from "../../../src/method/index.js";

const probe = (direction: number, sign: 1 | -1): Probe => ({ direction, sign });

describe("probes are drawn for", () => {
  it("once for both sides of a direction", () => {
    expect(drawsOf([probe(0, 1), probe(0, -1)])).toEqual([{ direction: 0, probes: [0, 1], signs: [1, -1] }]);
  });

  it("once for each direction, and not at all at the weights", () => {
    expect(drawsOf([AT_WEIGHTS, probe(0, 1), probe(1, 1)])).toEqual([
      { direction: null, probes: [0], signs: [0] },
      { direction: 0, probes: [1], signs: [1] },
      { direction: 1, probes: [2], signs: [1] },
    ]);
  });

  it("two sides at a time, as many as there are scratches", () => {
    const sides = [probe(0, 1), probe(0, -1), probe(0, 1)];
    expect(drawsOf(sides).map(({ probes }) => probes)).toEqual([[0, 1], [2]]);
  });

  it("anew where a direction comes again behind another", () => {
    const draws = drawsOf([probe(0, 1), probe(1, 1), probe(0, -1)]);
    expect(draws.map(({ direction, probes }) => [direction, probes])).toEqual([
      [0, [0]],
      [1, [1]],
      [0, [2]],
    ]);
  });
});

describe("the log of what is pending", () => {
  const update = (step: number) => ({
    ...{ step, seed: 1n, noise: "gaussian", state: step % 4, directions: 1, learningRate: 1, weightDecay: 0 },
  });

  it("holds a step's update back from what counts until the step is committed", () => {
    const log = new UpdateLog<string>(1);
    log.add(update(3));
    expect([log.all, log.taken]).toEqual([[update(3)], []]);
    log.commit();
    expect([log.all, log.taken]).toEqual([[update(3)], [update(3)]]);
  });

  it("forgets a step that was discarded, and none that was committed", () => {
    const log = new UpdateLog<string>(1);
    log.add(update(0));
    log.discard();
    expect(log.all).toEqual([]);
    log.add(update(1));
    log.commit();
    log.discard();
    expect(log.taken).toEqual([update(1)]);
  });

  it("is empty when a pass has stored what was pending, and a commit without a step changes nothing", () => {
    const log = new UpdateLog<string>(1);
    log.add(update(0));
    log.commit();
    log.stored(1);
    log.commit();
    expect([log.all, log.taken, log.full]).toEqual([[], [], false]);
  });

  it("holds as many as it may, and no more: only the last can be held back or forgotten", () => {
    const log = new UpdateLog<string>(3);
    for (const step of [0, 1, 2]) {
      expect(log.full).toBe(false);
      log.add(update(step));
    }
    expect(log.full).toBe(true);
    expect(log.all).toEqual([0, 1, 2].map(update));
    expect(log.taken).toEqual([0, 1].map(update));
    expect(() => log.add(update(3))).toThrow("3 updates are pending");
    log.discard();
    expect([log.all, log.full]).toEqual([[0, 1].map(update), false]);
    log.discard();
    expect(log.all).toEqual([0, 1].map(update));
  });

  it("keeps a step that is not committed when those before it are stored", () => {
    const log = new UpdateLog<string>(3);
    log.add(update(0));
    log.add(update(1));
    log.stored(log.taken.length);
    expect([log.all, log.taken]).toEqual([[update(1)], []]);
    log.commit();
    expect(log.taken).toEqual([update(1)]);
  });
});
