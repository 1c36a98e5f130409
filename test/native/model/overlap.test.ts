import path from "node:path";
import { loadNative, type Device } from "zo2/native";
import { openCheckpoint } from "../../../src/checkpoint/index.js";
import { checkTensors, loadWeights } from "../../../src/checkpoint/weights.js";
import { CommandList } from "../../../src/device/words.js";
import { defineModel } from "../../../src/models/index.js";
import { numberParameters } from "../../../src/ops/parameter.js";
import { createRecorder } from "../../../src/ops/record.js";
import { capacityOf, touchedRows, writeBatch } from "../../../src/memory/batch-tables.js";
import { Executor, type PassData } from "../../../src/device/issue.js";
import { CONTROL, planMemory } from "../../../src/memory/plan.js";
import {
  doneEvent,
  schedulePass,
  START,
  type Command,
  type Pass,
  type SchedulePlan,
} from "../../../src/schedule/pass.js";
import { WeightStore } from "../../../src/device/store.js";
import { cutUnits } from "../../../src/memory/units.js";
import { fixtures, packed, readJson } from "./helpers.js";
import { DEVICE } from "../device.js";

const dir = path.join(fixtures, "trajectories/models/A");

/** A first training pass over model A, streamed through two slots, not yet submitted. */
async function firstPass(device: Device, overlap: boolean) {
  const checkpoint = await openCheckpoint(dir);
  const definition = defineModel(checkpoint.config);
  const parameters = numberParameters(definition.parameters);
  const recorder = createRecorder(parameters);
  definition.record(recorder);
  const recording = recorder.finish();
  const units = cutUnits(recording, { wire: "fp32", compute: "fp32" });
  const store = await WeightStore.create(device, units, "host");
  await loadWeights(device, store, units, checkpoint, checkTensors(checkpoint, parameters, definition.namePrefixes));
  await checkpoint.close();
  const batch = [packed(readJson("trajectories", "inputs-A.json").train[0])];
  const plan = planMemory(units, {
    tier: "host",
    slots: 2,
    branches: 2,
    capacity: capacityOf(batch, touchedRows(batch)),
    output: "logprobs",
    cache: null,
    wire: "fp32",
    compute: "fp32",
  });
  const control = await device.createBuffer("device", CONTROL.bytes);
  const executor = await Executor.create(device, store, control, plan, recording, new Set());
  const table = touchedRows(batch);
  writeBatch(batch, plan.batch, executor.staging(0), table, definition.positionRow);
  const pass: Pass = {
    kind: "train",
    microBatches: 1,
    update: false,
    ring: 0,
    gradient: "losses",
    perturbed: false,
    cache: null,
  };
  const schedulePlan: SchedulePlan = {
    tier: "host",
    slots: 2,
    cacheSlots: 0,
    overlap,
    poison: false,
    gatherSources: [units.length - 1],
    units: units.map((u) => ({ gathered: u.gathered !== null, direct: false, cached: false })),
  };
  const { commands } = schedulePass(schedulePlan, pass, START);
  const data: PassData = {
    pass,
    batch,
    table,
    perturbation: null,
    cache: null,
    pending: null,
    rounding: "nearest",
    labelled: batch[0].targets.length / 2,
    step: { seed: 1n, step: 0, noise: { kind: "gaussian" }, eps: 1e-3, state: 0 },
  };
  return { executor, commands, data };
}

/** Submits the pass with the compute lane stopped in front of the forward pass of `unit`. */
async function held(overlap: boolean, unit: number) {
  const device = await loadNative().openDevice(DEVICE, { threads: 2 });
  const { executor, commands, data } = await firstPass(device, overlap);
  const gate = device.createGate();
  const list = new CommandList();
  const stop = commands.findIndex((c: Command) => c.kind === "run" && c.unit === unit);
  commands.forEach((command, i) => {
    if (i === stop) list.hold(executor.stream("compute"), gate);
    executor.encode(list, command, data);
  });
  device.submit(list.words, list.handles);
  const fired = new Set<string>();
  const watch = (event: string) =>
    executor
      .event(event)
      .done()
      .then(() => void fired.add(event));
  return { device, gate, fired, watch };
}

it("with the computation of a unit held, the uploads of the next complete, as far as there are slots", async () => {
  const { device, gate, fired, watch } = await held(true, 1);
  try {
    // Two slots: unit 3 takes that of unit 1, which is free once unit 1 is prepared; unit 4 would need that of unit 2.
    const later = [watch("prepared:2"), watch("uploaded:4"), watch(doneEvent(0))];
    await Promise.all([watch("prepared:1"), watch("uploaded:2"), watch("uploaded:3")]);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect([...fired].sort()).toEqual(["prepared:1", "uploaded:2", "uploaded:3"]);
    gate.open();
    await Promise.all(later);
  } finally {
    gate.open();
    await device.close();
  }
});

it("without overlap the next upload does not complete before the held computation", async () => {
  const { device, gate, fired, watch } = await held(false, 1);
  try {
    const next = watch("uploaded:2");
    await watch("prepared:1");
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(fired.has("uploaded:2")).toBe(false);
    gate.open();
    await next;
  } finally {
    gate.open();
    await device.close();
  }
});
