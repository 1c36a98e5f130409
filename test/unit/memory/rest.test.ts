import type { Tier } from "../../../src/memory/residence.js";
import { restLayout } from "../../../src/memory/rest.js";
import type { Unit } from "../../../src/memory/units.js";

const unitsOf = (bytes: readonly number[]) => bytes.map((wireBytes, index) => ({ index, wireBytes }) as Unit);

test("every unit has room of its own in its tier, and each tier the bytes of its own", () => {
  const bytes = Array.from({ length: 97 }, (_, u) => (u * 7919) % 5000);
  const tiers = bytes.map((_, u): Tier => (u % 3 === 0 ? "device" : "host"));
  const layout = restLayout(
    unitsOf(bytes),
    tiers.map((rest) => ({ rest })),
  );
  expect(new Set(layout.units.map(({ arena }) => arena)).size).toBe(bytes.length);
  layout.units.forEach((unit, u) => {
    const arena = layout.arenas[unit.arena];
    expect(unit).toMatchObject({ rest: tiers[u], bytes: bytes[u], offset: 0 });
    expect(arena?.tier).toBe(tiers[u]);
    expect((arena?.bytes ?? 0) - unit.bytes).toBeLessThan(256);
    expect(arena?.bytes).toBeGreaterThanOrEqual(unit.bytes);
  });
  for (const tier of ["device", "host"] as const) {
    const own = layout.arenas.filter((arena) => arena.tier === tier);
    expect(layout.bytes[tier]).toBe(own.reduce((sum, arena) => sum + arena.bytes, 0));
  }
});

test("units without tensors rest in no bytes", () => {
  const { arenas } = restLayout(unitsOf([0, 0]), [{ rest: "host" }, { rest: "device" }]);
  expect(arenas).toEqual([
    { tier: "host", bytes: 0 },
    { tier: "device", bytes: 0 },
  ]);
});
