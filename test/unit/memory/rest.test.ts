import type { Tier } from "../../../src/memory/residence.js";
import { LARGEST_HOST_ARENA, restLayout } from "../../../src/memory/rest.js";
import type { Unit } from "../../../src/memory/units.js";

const GIB = 2 ** 30;
const unitsOf = (bytes: readonly number[]) => bytes.map((wireBytes, index) => ({ index, wireBytes }) as Unit);

/** Units of these bytes in these tiers; each in an arena of its tier, inside it, and touching no other. */
function laidOut(bytes: readonly number[], tiers: readonly Tier[], largest?: number) {
  const layout = restLayout(
    unitsOf(bytes),
    tiers.map((rest) => ({ rest })),
    largest,
  );
  const ends = layout.arenas.map(() => 0);
  layout.units.forEach((unit, u) => {
    expect(layout.arenas[unit.arena]?.tier).toBe(tiers[u]);
    expect(unit).toMatchObject({ rest: tiers[u], bytes: bytes[u] });
    expect(unit.offset % 256).toBe(0);
    expect(unit.offset).toBeGreaterThanOrEqual(ends[unit.arena] ?? Number.NaN);
    ends[unit.arena] = unit.offset + unit.bytes;
    expect(ends[unit.arena]).toBeLessThanOrEqual(layout.arenas[unit.arena]?.bytes ?? Number.NaN);
  });
  for (const tier of ["device", "host"] as const) {
    const own = layout.arenas.filter((arena) => arena.tier === tier);
    expect(layout.bytes[tier]).toBe(own.reduce((sum, arena) => sum + arena.bytes, 0));
  }
  return layout;
}

test("what the device holds is one piece, what the host holds is cut between units", () => {
  const bytes = Array.from({ length: 97 }, (_, u) => (u * 7919) % 5000);
  const tiers = bytes.map((_, u): Tier => (u % 3 === 0 ? "device" : "host"));
  const whole = laidOut(bytes, tiers);
  expect(whole.arenas).toHaveLength(2);
  const cut = laidOut(bytes, tiers, 8192);
  expect(cut.arenas.filter(({ tier }) => tier === "device")).toHaveLength(1);
  const host = cut.arenas.filter(({ tier }) => tier === "host");
  expect(host.length).toBeGreaterThan(10);
  for (const arena of host) expect(arena.bytes).toBeLessThanOrEqual(8192);
  expect(cut.bytes).toEqual(whole.bytes);
});

test("a unit that is larger than an arena may be has one of its own", () => {
  const { arenas } = laidOut([100, 9000, 100, 100], ["host", "host", "host", "host"], 1000);
  expect(arenas.map(({ bytes }) => bytes)).toEqual([256, 9216, 512]);
});

test("units without bytes rest in an arena without bytes", () => {
  expect(laidOut([0, 0], ["host", "device"]).arenas).toEqual([
    { tier: "host", bytes: 0 },
    { tier: "device", bytes: 0 },
  ]);
});

test("OPT-175B in fp32, 698 GB, is locked in pieces of at most 64 GiB", () => {
  const bytes = [2.5 * GIB, ...Array.from({ length: 96 }, () => 6.75 * GIB), 2.5 * GIB];
  const { arenas } = laidOut(
    bytes,
    bytes.map((): Tier => "host"),
  );
  expect(LARGEST_HOST_ARENA).toBe(64 * GIB);
  expect(arenas.length).toBeGreaterThanOrEqual(11);
  for (const arena of arenas) expect(arena.bytes).toBeLessThanOrEqual(64 * GIB);
});
