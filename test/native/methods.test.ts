/** The coefficients that a device makes of losses are, to the bit, those that the host makes of a caller's. */
import { COEFFICIENT_BYTES, LOSS_BYTES, SHAPING, STICKY_BYTES } from "../../src/contract/constants.js";
import { type CoefficientRule, coefficientsOf, type Shaping } from "../../src/method/index.js";
import { contents, hostBytes, submitted, withDevice } from "./support.js";

const span = <T>(buffer: T, offset = 0) => ({ buffer, offset });

/** Numbers in [0, 1) that look random. */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

const COUNTS = [1, 2, 3, 5, 8, 31, 64];

/** Two-sided, one-sided against the first loss, one-sided against nothing. */
const DIFFERENCES: Record<string, (directions: number) => CoefficientRule["differences"]> = {
  "to both sides": (n) => Array.from({ length: n }, (_, d) => ({ minuend: 2 * d, subtrahend: 2 * d + 1 })),
  "from a base": (n) => Array.from({ length: n }, (_, d) => ({ minuend: d + 1, subtrahend: 0 })),
  alone: (n) => Array.from({ length: n }, (_, d) => ({ minuend: d, subtrahend: null })),
};

/** Losses of a training, some of few values, equal ones, and one that is no number. */
const LOSSES: Record<string, (next: () => number) => (_: unknown, p: number) => number> = {
  close: (next) => () => 2 + 1e-3 * next(),
  "far apart": (next) => () => (next() - 0.5) * 10 ** (12 * next() - 6),
  tied: (next) => () => Math.floor(4 * next()),
  equal: () => () => 0.1,
  "not a number": (next) => (_, p) => (p === 1 ? Number.NaN : next()),
  infinite: (next) => (_, p) => (p === 1 ? Number.POSITIVE_INFINITY : next()),
};

const bitsOf = (values: readonly number[]) =>
  values.map((v) => (Number.isNaN(v) ? "NaN" : new Uint32Array(Float32Array.of(v).buffer)[0]));

test.each(Object.keys(SHAPING) as Shaping[])("shaping %s", (shaping) =>
  withDevice({}, async (device) => {
    const stream = device.createStream("gradient");
    const next = generator(7);
    let finite = 0;
    const cases = COUNTS.flatMap((n) =>
      Object.entries(DIFFERENCES).flatMap(([way, differences]) =>
        Object.entries(LOSSES).flatMap(([kind, losses]) =>
          [false, true].map((normalised) => {
            const rule = { shaping, differences: differences(n), divisor: 1e-3 * (1 + next()), normalised };
            const probes = Math.max(2, ...rule.differences.flatMap((d) => [d.minuend + 1, (d.subtrahend ?? 0) + 1]));
            const name = `${n} directions ${way}, ${kind}, normalised ${normalised}`;
            return { name, rule, losses: Array.from({ length: probes }, losses(next)) };
          }),
        ),
      ),
    );
    for (const { name, rule, losses } of cases) {
      const directions = rule.differences.length;
      const bytes = directions * COEFFICIENT_BYTES;
      const given = await hostBytes(device, new Uint8Array(Float64Array.from(losses).buffer));
      const onDevice = await device.createBuffer("device", losses.length * LOSS_BYTES);
      const coefficients = await device.createBuffer("device", bytes);
      const sticky = await device.createBuffer("device", STICKY_BYTES);
      const back = await device.createBuffer("host", bytes);
      await submitted(device, stream, (list) => {
        list.fill(stream, span(sticky), 0, STICKY_BYTES);
        list.copy(stream, span(onDevice), span(given), losses.length * LOSS_BYTES);
        list.gradient(stream, {
          ...{ losses: span(onDevice), probes: losses.length, total: 1, step: 0, sticky: span(sticky) },
          ...{ ...rule, shaping: SHAPING[shaping], coefficients: span(coefficients) },
        });
        list.copy(stream, span(back), span(coefficients), bytes);
      });
      const { buffer } = contents(back);
      const found = Array.from({ length: directions }, (_, d) => new Float32Array(buffer)[2 * d]);
      expect([name, ...bitsOf(found)]).toEqual([name, ...bitsOf(coefficientsOf(rule, losses))]);
      if (found.every((c) => Number.isFinite(c) && c !== 0)) finite++;
      for (const used of [given, onDevice, coefficients, sticky, back]) used.dispose();
    }
    expect(finite).toBeGreaterThan(cases.length / 4);
  }),
);
