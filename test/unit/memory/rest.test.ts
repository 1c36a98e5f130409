import type { Tier } from "../../../src/memory/residence.js";
import { restLayout } from "../../../src/memory/rest.js";
import type { Unit } from "../../../src/memory/units.js";

const GIB = 2 ** 30;
const unitsOf = (bytes: readonly number[]) => bytes.map((wireBytes, index) => ({ index, wireBytes }) as Unit);

/** Units of these bytes in these tiers; each in an arena of its tier, inside it, and touching no other. */
function laidOut(bytes: readonly number[], tiers: readonly Tier[]) {
  const layout = restLayout(
    unitsOf(bytes),
    tiers.map((rest) => ({ rest, scratch: false })),
  );
  const ends = layout.arenas.map(() => 0);
  const units = layout.units.map((unit) => ({ ...unit, arena: unit.arena ?? Number.NaN }));
  units.forEach((unit, u) => {
    expect(layout.arenas[unit.arena]?.tier).toBe(tiers[u]);
    expect(unit).toMatchObject({ rest: tiers[u], bytes: bytes[u] });
    expect(unit.offset % (unit.rest === "disk" ? 4096 : 256)).toBe(0);
    // In front of all units of a file, and of each, there is a block.
    expect(unit.seal).toBe(unit.rest === "disk" ? unit.offset - 4096 : null);
    const before = ends[unit.arena] || (unit.rest === "disk" ? 4096 : 0);
    expect(unit.seal ?? unit.offset).toBeGreaterThanOrEqual(before);
    ends[unit.arena] = unit.offset + unit.bytes;
    expect(ends[unit.arena]).toBeLessThanOrEqual(layout.arenas[unit.arena]?.bytes ?? Number.NaN);
  });
  for (const tier of ["device", "host", "disk"] as const) {
    const own = layout.arenas.filter((arena) => arena.tier === tier);
    expect(layout.bytes[tier]).toBe(own.reduce((sum, arena) => sum + arena.bytes, 0));
  }
  return { arenas: layout.arenas, units };
}

test("every unit in memory has room of its own, which it leaves to no other", () => {
  const bytes = Array.from({ length: 97 }, (_, u) => (u * 7919) % 5000);
  const { arenas, units } = laidOut(
    bytes,
    bytes.map((_, u): Tier => (u % 3 === 0 ? "device" : "host")),
  );
  expect(new Set(units.map(({ arena }) => arena)).size).toBe(bytes.length);
  units.forEach(({ arena }, u) => expect((arenas[arena]?.bytes ?? 0) - (bytes[u] ?? 0)).toBeLessThan(256));
});

test("what rests on disk is one file of whole blocks, none of which two units share", () => {
  const bytes = [1, 4096, 4097, 0, 70 * GIB, 5000];
  const { arenas, units } = laidOut(
    bytes,
    bytes.map((_, u): Tier => (u === 1 ? "host" : "disk")),
  );
  expect(arenas).toEqual([
    { tier: "disk", bytes: 6 * 4096 + 4096 + 8192 + 70 * GIB + 8192 },
    { tier: "host", bytes: 4096 },
  ]);
  const onDisk = units.filter(({ rest }) => rest === "disk");
  expect(onDisk.map(({ offset }) => offset)).toEqual([8192, 16384, 28672, 32768, 70 * GIB + 36864]);
});

test("units without tensors rest in no bytes", () => {
  expect(laidOut([0, 0], ["host", "device"]).arenas).toEqual([
    { tier: "host", bytes: 0 },
    { tier: "device", bytes: 0 },
  ]);
});

test("what its checkpoint's files have rests there, vectors beside it in host memory, and room is counted", () => {
  const units = [
    { wireBytes: 5000, inFiles: true, asideBytes: 320 },
    { wireBytes: 4096, inFiles: true, asideBytes: 0 },
    { wireBytes: 700, inFiles: false, asideBytes: 700 },
    { wireBytes: 900, inFiles: true, asideBytes: 64 },
    { wireBytes: 300, inFiles: true, asideBytes: 128 },
  ].map((unit, index) => ({ index, ...unit }) as Unit);
  const tiers: readonly Tier[] = ["disk", "disk", "disk", "host", "disk"];
  const bytesOf = (scratch: readonly boolean[]) =>
    restLayout(
      units,
      tiers.map((rest, u) => ({ rest, scratch: scratch[u] === true })),
    );
  const { arenas, units: places, bytes } = bytesOf([]);
  expect(arenas).toEqual([
    { tier: "disk", bytes: 3 * 4096 },
    { tier: "host", bytes: 1024 },
    { tier: "host", bytes: 768 },
  ]);
  expect(places.map(({ arena }) => arena)).toEqual([null, null, 0, 1, null]);
  expect(places.map(({ aside }) => aside)).toEqual([
    { arena: 2, offset: 0, bytes: 320 },
    ...[null, null, null],
    { arena: 2, offset: 512, bytes: 128 },
  ]);
  const [head, seal] = [4096, 4096];
  const first = head + seal + 4096;
  expect(bytes).toEqual({ device: 0, host: 1792, disk: first });
  // What is to be written needs a file with blocks of its own; what has some is not counted twice.
  const later = head + (seal + 8192) + (seal + 4096);
  expect(bytesOf([true, true, true, false, false]).bytes.disk).toBe(first + later);
  expect(bytesOf([true, true, true, false, true]).bytes.disk).toBe(first + later + seal + 4096);
});
