/** What a plan has in host memory, and in a file, for units that rest on disk. */
import { deviceBytes, diskBytes, hostBytes } from "../../../src/memory/plan.js";
import { residencesOf, type Tier } from "../../../src/memory/residence.js";
import { schedulePlan } from "../../../src/memory/schedule-plan.js";
import { cutUnits, type Unit } from "../../../src/memory/units.js";
import type { Parameter } from "../../../src/ops/parameter.js";
import { recordOpt } from "../planner/support.js";
import { capacity, planOf } from "./support.js";

const { recording } = recordOpt({ layers: 4, hidden: 64, vocab: 300 });
const units = cutUnits(recording, { wire: "fp16", compute: "fp32", unitBytes: 60_000 });
const blocks = (bytes: number) => Math.ceil(bytes / 4096) * 4096;
const wireBytesOf = (some: readonly Unit[]) => some.map(({ wireBytes }) => wireBytes);
const plannedFor = (tierOf: (unit: number) => Tier, frozen: ReadonlySet<Parameter> = new Set()) =>
  planOf(units, { residences: residencesOf(units, tierOf, frozen) });

/** The units that hold the tied embedding, which the first one gathers rows of. */
const table = units.find(({ gathered }) => gathered !== null)?.gathered?.parameter;
const holders = units.filter(({ tensors }) => tensors.some(({ parameter }) => parameter === table));

test("where nothing rests on disk there is nothing for it", () => {
  for (const tier of ["host", "device"] as const) {
    const plan = plannedFor(() => tier);
    expect(plan.host.slots).toEqual([]);
    expect([plan.host.gathered.bytes, diskBytes(plan)]).toEqual([0, 0]);
    expect(plan.stagingOf).toEqual(units.map(() => null));
  }
});

test("four host slots of whole blocks, each for the largest unit on disk, are part of the host's bytes", () => {
  const largest = Math.max(...wireBytesOf(units));
  const onDisk = units.filter(({ wireBytes }) => wireBytes < largest);
  const inHost = units.filter((unit) => !onDisk.includes(unit));
  const plan = plannedFor((u) => (onDisk.some(({ index }) => index === u) ? "disk" : "host"));
  const most = blocks(Math.max(...wireBytesOf(onDisk)));
  expect(most).toBeLessThan(largest);
  expect(plan.host.slots).toEqual([0, 1, 2, 3].map((slot) => ({ offset: slot * most, bytes: most })));
  expect(plan.host.bytes).toBeGreaterThan(4 * most);
  const without = plannedFor(() => "host");
  const staging = without.host.bytes + without.options.control.bytes;
  const rested = wireBytesOf(inHost).reduce((sum, bytes) => sum + Math.ceil(bytes / 256) * 256, 0);
  expect(hostBytes(plan)).toBe(staging + 4 * most + plan.host.gathered.bytes + rested);
  // With a block in front of all, and one for the seal of each.
  expect(diskBytes(plan)).toBe(wireBytesOf(onDisk).reduce((sum, bytes) => sum + 4096 + blocks(bytes), 4096));
  // To the device all is one: what moves comes through its slots.
  expect(deviceBytes(plan)).toBe(deviceBytes(without));
  expect(plan.slotOf).toEqual(without.slotOf);
});

test("units on disk take turns in two slots of each way; those that do not change are never written", () => {
  const [first, , third] = units;
  const frozen = new Set([...(first?.tensors ?? []), ...(third?.tensors ?? [])].map(({ parameter }) => parameter));
  const tierOf = (unit: number): Tier => (unit % 4 === 1 ? "device" : "disk");
  const plan = plannedFor(tierOf, frozen);
  const staged = plan.stagingOf.flatMap((staging, u) => (staging === null ? [] : [{ ...staging, u }]));
  expect(staged.map(({ u }) => u)).toEqual(units.flatMap(({ index }) => (tierOf(index) === "disk" ? [index] : [])));
  expect(staged.map(({ read }) => read)).toEqual(staged.map((_, i) => i % 2));
  const changing = staged.filter(({ u }) => plan.options.residences[u]?.changes === true);
  expect(changing.length).toBeLessThan(staged.length);
  expect(changing.map(({ write }) => write)).toEqual(changing.map((_, i) => 2 + (i % 2)));
  for (const other of staged.filter((unit) => !changing.includes(unit))) expect(other.write).toBeNull();
  expect(schedulePlan(plan, frozen, false).units.map(({ staging }) => staging)).toEqual(plan.stagingOf);
});

test("one unit on disk has one slot each way, and where nothing changes none to be written from", () => {
  const one = plannedFor((unit) => (unit === 2 ? "disk" : "device"));
  expect(one.host.slots).toHaveLength(2);
  expect(one.stagingOf[2]).toEqual({ read: 0, write: 1 });
  const all = new Set(units.flatMap(({ tensors }) => tensors.map(({ parameter }) => parameter)));
  const still = plannedFor(() => "disk", all);
  expect(still.host.slots).toHaveLength(2);
  expect(new Set(still.stagingOf.map((staging) => staging?.write))).toEqual(new Set([null]));
});

test("there is room for gathered rows where units on disk hold any of the table", () => {
  expect(holders.length).toBeGreaterThan(0);
  const isHolder = (unit: number) => holders.some(({ index }) => index === unit);
  const without = plannedFor((unit) => (isHolder(unit) ? "host" : "disk"));
  expect(without.host.gathered.bytes).toBe(0);
  const plan = plannedFor((unit) => (unit === holders[0]?.index ? "disk" : "host"));
  expect(plan.host.gathered.bytes).toBe(capacity.tableRows * 64 * 2);
  const { gathered, slots } = plan.host;
  expect(gathered.offset).toBeGreaterThanOrEqual(
    slots.reduce((end, { offset, bytes }) => Math.max(end, offset + bytes), 0),
  );
});
