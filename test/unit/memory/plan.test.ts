import fs from "node:fs";
import path from "node:path";
import { packBatch } from "../../../src/data/index.js";
import { defineModel } from "../../../src/models/index.js";
import { CANONICAL_ALIGNMENT, canonicalLength, numberParameters } from "../../../src/ops/parameter.js";
import { createRecorder, parametersOf, valuesOf } from "../../../src/ops/record.js";
import type { Output } from "../../../src/ops/value.js";
import type { Region } from "../../../src/memory/arena.js";
import { controlLayout } from "../../../src/memory/control.js";
import { storageTypes } from "../../../src/memory/storage.js";
import { spaceBytes, unitProgram } from "../../../src/memory/operands.js";
import { capacityOf, touchedRows } from "../../../src/memory/batch-tables.js";
import { type Carries, placeValues } from "../../../src/memory/places.js";
import {
  activationsOf,
  CARRIED_SLOTS,
  deviceBytes,
  deviceParts,
  hostBytes,
  type Plan,
} from "../../../src/memory/plan.js";
import { cutUnits, type UnitOptions } from "../../../src/memory/units.js";
import { optionalValue, parameterOf, operandValue } from "./ops.js";
import { lostValues, touchedValues } from "./shadow.js";
import { capacity, type Changed, planOf } from "./support.js";

const opt = {
  model_type: "opt",
  vocab_size: 1000,
  hidden_size: 64,
  num_hidden_layers: 3,
  num_attention_heads: 4,
  ffn_dim: 256,
  max_position_embeddings: 128,
};
const fixture = (name: string): object =>
  JSON.parse(fs.readFileSync(path.join(__dirname, "../../fixtures/models", name, "config.json"), "utf8"));

function recorded(config: object) {
  const definition = defineModel(config);
  const parameters = numberParameters(definition.parameters);
  const recorder = createRecorder(parameters);
  definition.record(recorder);
  return { parameters, recording: recorder.finish(), causal: definition.head.kind === "causal" };
}

function model(options: Partial<UnitOptions> = {}, config: object = opt) {
  const { recording, ...rest } = recorded(config);
  return { ...rest, recording, units: cutUnits(recording, { wire: "fp16", compute: "fp32", ...options }) };
}

/** Regions that share no byte, and lie whole in another one. */
function expectApart(regions: readonly Region[], whole: Region): void {
  let end = whole.offset;
  for (const { offset, bytes } of [...regions].sort((a, b) => a.offset - b.offset || a.bytes - b.bytes)) {
    expect(offset).toBeGreaterThanOrEqual(end);
    end = offset + bytes;
  }
  expect(end).toBeLessThanOrEqual(whole.offset + whole.bytes);
}

describe("the canonical order", () => {
  it("is the order of named_parameters() that the reference trajectories recorded", () => {
    for (const name of ["A", "B"]) {
      const recorded = JSON.parse(
        fs.readFileSync(path.join(__dirname, `../../fixtures/trajectories/mezo-ones-${name}.json`), "utf8"),
      );
      const raw = JSON.parse(
        fs.readFileSync(path.join(__dirname, `../../fixtures/trajectories/models/${name}/config.json`), "utf8"),
      );
      expect(defineModel(raw).parameters.map((p) => [p.name, p.shape])).toEqual(recorded.parameter_order);
    }
  });

  it("starts each tensor at a multiple of 128 elements, without overlap", () => {
    const { parameters } = model();
    let end = 0;
    for (const p of parameters) {
      expect(p.canonical % CANONICAL_ALIGNMENT).toBe(0);
      expect(p.canonical - end).toBeLessThan(CANONICAL_ALIGNMENT);
      expect(p.canonical).toBeGreaterThanOrEqual(end);
      end = p.canonical + p.count;
    }
    expect(canonicalLength(parameters)).toBeGreaterThanOrEqual(end);
  });
});

const CUTS: Record<string, Partial<UnitOptions>> = {
  "whole blocks": {},
  "units of 20 kB": { unitBytes: 20_000 },
  "units of 3 kB": { unitBytes: 3_000 },
  "units of one row": { unitBytes: 1 },
  "units of 20 kB, fp32 on the wire": { wire: "fp32", unitBytes: 20_000 },
};
const CONFIGS: Record<string, object> = {
  OPT: opt,
  "OPT, untied": { ...opt, tie_word_embeddings: false },
  "OPT-350M's shape": fixture("opt-350m-style-bin"),
  "OPT for answers": fixture("opt-qa"),
  "OPT for classes": fixture("opt-classify"),
  "GPT-2": fixture("gpt2"),
  "Llama, untied": fixture("llama"),
  "Llama 3, tied": fixture("llama3-scaled-bf16"),
  Mistral: fixture("mistral-window"),
  Qwen2: fixture("qwen2-bf16"),
  Qwen3: fixture("qwen3-bf16"),
};
// The finest cuts take a second each; families that differ elsewhere need them once.
const FINE = new Set(["OPT", "GPT-2", "Llama 3, tied"]);
// Mutants meet every family and every cut once, not their product: each of them runs this file anew.
const FEW = process.env["ZO2_TEST_FEW"] !== undefined;
const cases = Object.entries(CONFIGS).flatMap(([name, config], f) =>
  Object.entries(CUTS).flatMap(([cut, options], c) =>
    (FEW ? f % 5 === c : cut !== "units of one row" || FINE.has(name)) ? [{ name, cut, config, options }] : [],
  ),
);

describe.each(cases)("$name cut into $cut", ({ config, options }) => {
  const { recording, parameters, units, causal } = model(options, config);
  const outputs: Output[] = causal ? ["logprobs", "logits"] : ["logits"];

  it("every element of every parameter is in exactly one unit", () => {
    for (const p of parameters) {
      const slices = units
        .flatMap((u) => u.tensors.filter((t) => t.parameter === p))
        .sort((a, b) => a.rowStart - b.rowStart);
      let at = p.canonical;
      for (const s of slices) {
        expect(s.canonical).toBe(at);
        at += s.count;
      }
      expect(at).toBe(p.canonical + p.count);
    }
  });

  it("ops keep their order, and each is whole or cut into all its rows", () => {
    const order = recording.blocks.flatMap((b) => b.ops);
    const cut = units.flatMap((u) => u.ops);
    expect([...new Set(cut.map((c) => c.op))]).toEqual(order);
    for (const op of order) {
      const parts = cut.filter((c) => c.op === op);
      if (parts.length === 1 && parts[0].slice === null) continue;
      const rows = parametersOf(op)[0].shape[0];
      expect(parts.map((p) => p.slice?.start)).toEqual(parts.map((_, i) => i * (parts[0].slice?.count ?? 0)));
      expect(parts.reduce((sum, p) => sum + (p.slice?.count ?? 0), 0)).toBe(rows);
      expect([parts[0].slice?.first, parts.at(-1)?.slice?.last]).toEqual([true, true]);
    }
  });

  it("tensors do not overlap on the wire or in scratch", () => {
    for (const u of units) {
      for (const [offset, bytes, end] of [
        ["wireOffset", (t: { wire: string }) => (t.wire === "fp32" ? 4 : 2), u.wireBytes],
        ["scratchOffset", () => 4, u.scratchBytes],
      ] as const) {
        let at = 0;
        for (const t of [...u.tensors].sort((a, b) => a[offset] - b[offset])) {
          expect(t[offset]).toBeGreaterThanOrEqual(at);
          at = t[offset] + t.count * bytes(t);
        }
        expect(at).toBeLessThanOrEqual(end);
      }
    }
  });

  it.each(["fp32", "bf16"] as const)(
    "every op finds what was written for it, and destroys none of its operands (%s)",
    (compute) => {
      const small = { ...capacity, rows: 5, headRows: 3, targets: 4 };
      for (const output of outputs) {
        const places = placeValues(units, small, compute, output);
        expect(lostValues(units, places, small, output)).toEqual([]);
        const types = storageTypes(
          units.flatMap((u) => u.ops.map((o) => o.op)),
          compute,
        );
        const placed = new Set(units.flatMap((u) => u.ops.flatMap((o) => [...touchedValues(o, output)])));
        expect([...placed].filter((id) => places.of.get(id)?.type !== types.get(id))).toEqual([]);
      }
    },
  );

  it("no op reads or writes a value that it does not name", () => {
    for (const output of outputs) {
      for (const op of recording.blocks.flatMap((b) => b.ops)) {
        const named = valuesOf(op, output)
          .filter((v) => v.kind !== "input")
          .map((v) => v.id);
        expect(new Set(named)).toEqual(touchedValues({ op, slice: null }, output));
      }
    }
  });

  it.each([null, { tier: "host" as const, rows: 70 }])("every operand lies in its space (cache: %o)", (cache) => {
    for (const output of outputs) {
      const plan = planOf(units, { output, cache });
      const sizes = spaceBytes(plan);
      expect(Array.from(sizes)).toEqual([
        plan.device.scratch[0].bytes,
        plan.places.carriedBytes,
        plan.places.workspaceBytes,
        plan.batch.microBatch.bytes,
        plan.places.resultBytes,
        cache === null ? 0 : Math.max(...(plan.cache?.units ?? []).map((u) => u?.bytes ?? 0)),
      ]);
      for (const unit of units) {
        const piece = plan.cache?.units[unit.index]?.bytes ?? 0;
        const operands = operandsOf(unitProgram(plan, unit, recording.inputs));
        expect(operands.filter(({ space, end }) => end > (space === CACHE ? piece : sizes[space]))).toEqual([]);
      }
    }
  });

  it("a unit whose wire bytes are in the compute dtype reads them as they lie", () => {
    const direct = cutUnits(recording, { ...options, wire: "fp32", compute: "fp32" });
    const plan = planOf(direct, { output: outputs[0] });
    for (const unit of direct.filter((u) => u.gathered === null)) {
      expect(unit.tensors.map((t) => [t.scratchOffset, t.scratch])).toEqual(
        unit.tensors.map((t) => [t.wireOffset, t.wire]),
      );
      const operands = operandsOf(unitProgram(plan, unit, recording.inputs));
      expect(operands.filter(({ space, end }) => space === WEIGHTS && end > unit.wireBytes)).toEqual([]);
    }
  });
});

// To look for what could stay where it rests takes a pass for each value that moves.
describe.each(cases.filter(({ cut }) => cut === "whole blocks"))(
  "$name with activations that rest elsewhere",
  (one) => {
    const { units, causal } = model(one.options, one.config);
    const outputs: Output[] = causal ? ["logprobs", "logits"] : ["logits"];

    it("units bring and take what passes between them, and no value that could stay where it rests", () => {
      const small = { ...capacity, rows: 5, headRows: 3, targets: 4 };
      for (const output of outputs) {
        const places = placeValues(units, small, "fp32", output);
        expect(lostValues(units, places, small, output, true)).toEqual([]);
        const without = (unit: number, way: keyof Carries, index: number) =>
          places.carries.map((carries, u) =>
            u === unit ? { ...carries, [way]: carries[way].filter((_, i) => i !== index) } : carries,
          );
        // What is added onto rows that are there has the same tags as they.
        const adds = (unit: number) => unit > 0 && units[unit].ops.every(({ op }) => op.name === "embed");
        const spare = places.carries.flatMap((carries, unit) =>
          (["brings", "takes"] as const).flatMap((way) =>
            carries[way].flatMap((_, index) => {
              const lost = lostValues(units, { ...places, carries: without(unit, way, index) }, small, output, true);
              return lost.length > 0 || (way === "takes" && adds(unit)) ? [] : [`unit ${unit} ${way} ${index}`];
            }),
          ),
        );
        expect(spare).toEqual([]);
      }
    });
  },
);

it.each(["OPT", "GPT-2", "Llama 3, tied"])(
  "%s in small units brings and takes all that passes between them",
  (name) => {
    const small = { ...capacity, rows: 5, headRows: 3, targets: 4 };
    for (const unitBytes of [20_000, 3_000]) {
      const { units } = model({ unitBytes }, CONFIGS[name]);
      const places = placeValues(units, small, "bf16", "logprobs");
      expect(lostValues(units, places, small, "logprobs", true)).toEqual([]);
      expect(Math.max(...places.carries.map(({ brings }) => brings.length))).toBeGreaterThan(1);
    }
  },
);

const WEIGHTS = 0;
const CACHE = 5;

/** The space of every operand of a program, and where it ends there at the largest batch. */
function operandsOf(words: Float64Array): { space: number; end: number }[] {
  const [, operands, , symbols] = words;
  const maxima = words.subarray(4, 4 + symbols);
  return Array.from({ length: operands }, (_, o) => {
    const [space, offset, dtype, rows, columns, stride] = words.subarray(4 + symbols + o * 6);
    const count = rows < 0 ? maxima[-1 - rows] : rows;
    return { space, end: offset + ((count - 1) * stride + columns) * (dtype === 1 || dtype === 2 ? 2 : 4) };
  });
}

describe("memory in place", () => {
  const places = (config: object, compute: "fp32" | "bf16" = "fp32") => {
    const { units, recording } = model({}, config);
    const { of } = placeValues(units, capacity, compute, "logprobs");
    return { ops: recording.blocks.flatMap((b) => b.ops), of };
  };

  it("a sum takes the place of the residual that ends in it", () => {
    for (const name of ["OPT", "GPT-2", "Llama 3, tied"]) {
      const { ops, of } = places(CONFIGS[name]);
      const sums = ops.flatMap((op) =>
        op.name === "linear" && op.operands["residual"] !== null
          ? [[operandValue(op, "out").id, operandValue(op, "residual").id]]
          : [],
      );
      expect(sums.length).toBeGreaterThan(3);
      for (const [out, residual] of sums) expect([name, of.get(out)]).toEqual([name, of.get(residual)]);
    }
  });

  it(
    "rotated queries and gated activations take the place of what they are made from, and a norm does not where " +
      "its operand is added later",
    () => {
      const { ops, of } = places(CONFIGS["Qwen3"]);
      const pairs = ops.flatMap((op) =>
        op.name === "rope"
          ? [[operandValue(op, "out"), operandValue(op, "x")]]
          : op.name === "gatedActivation"
            ? [[operandValue(op, "out"), operandValue(op, "gate")]]
            : [],
      );
      expect(pairs.length).toBeGreaterThanOrEqual(6);
      for (const [out, over] of pairs) expect(of.get(out.id)).toEqual(of.get(over.id));
      const residuals = new Set(
        ops.flatMap((op) => (op.name === "linear" ? (optionalValue(op, "residual") ?? []) : [])),
      );
      const norms = ops.filter((op) => op.name === "rmsNorm" && residuals.has(operandValue(op, "x")));
      expect(norms.length).toBeGreaterThanOrEqual(4);
      for (const op of norms) expect(of.get(operandValue(op, "out").id)).not.toEqual(of.get(operandValue(op, "x").id));
    },
  );
});

it("a block is cut where few activations are carried: between attention and feed-forward, not inside", () => {
  // One layer is 98 kB on the wire; two units of 65 kB hold it, cut after out_proj (64 columns) or after fc1 (320).
  const names = model({ unitBytes: 70_000 })
    .units.filter((u) => u.name.startsWith("layers.0"))
    .map((u) =>
      u.ops.map((o) => (o.op.name === "linear" ? parameterOf(o.op, "weight").name.split(".").at(-2) : o.op.name)),
    );
  expect(names.map((n) => n.at(-1))).toEqual(["out_proj", "fc2"]);
});

it("a tied embedding is held once, by the head, and gathered at the front", () => {
  const { units } = model();
  const holders = units.filter((u) => u.tensors.some((t) => t.parameter.name.endsWith("embed_tokens.weight")));
  expect(holders.map((u) => u.name.replace(/\[.*/, ""))).toEqual(holders.map(() => "head"));
  expect(units.map((u) => u.gathered?.parameter.name ?? null)).toEqual([
    "model.decoder.embed_tokens.weight",
    ...units.slice(1).map(() => null),
  ]);
});

describe("a memory plan", () => {
  it("gives every region its own bytes within the arena", () => {
    const plan = planOf(model().units, { cache: { tier: "host", rows: 100 }, prepareAhead: true });
    const d = plan.device;
    expect(d.cacheSlots).toHaveLength(3);
    expect(d.scratch).toHaveLength(4);
    const regions = [
      ...d.slots,
      ...d.cacheSlots,
      ...d.scratch,
      d.gathered,
      ...d.carried,
      d.workspace,
      ...d.results,
      ...d.inputs.map((r) => r.whole),
    ];
    regions.sort((a, b) => a.offset - b.offset);
    let end = 0;
    for (const r of regions) {
      expect(r.offset).toBeGreaterThanOrEqual(end);
      end = r.offset + r.bytes;
    }
    expect(end).toBeLessThanOrEqual(d.bytes);
  });

  it("that prepares ahead takes the perturbed weights of a second unit, says so, and can be told not to", () => {
    const { units } = model();
    for (const sides of [1, 2]) {
      const [off, on] = [false, true].map((prepareAhead) => planOf(units, { sides, prepareAhead }));
      const more = on.device.scratch.slice(sides).reduce((sum, { bytes }) => sum + Math.ceil(bytes / 256) * 256, 0);
      expect(on.device.scratch.map(({ bytes }) => bytes)).toEqual(Array(2 * sides).fill(off.device.scratch[0].bytes));
      expect([more > 0, deviceBytes(on)]).toEqual([true, deviceBytes(off) + more]);
    }
    const [off, on] = [false, true].map((prepareAhead) => planOf(units, { prepareAhead }));
    const partOf = (plan: Plan, name: string) => deviceParts(plan).find((part) => part.name === name)?.bytes;
    expect(partOf(on, "W+ and W- of two units")).toBe(2 * (partOf(off, "W+ and W-") ?? 0));
    expect(() => planOf(units, { prepareAhead: true, deviceMemory: deviceBytes(off) })).toThrow(
      expect.objectContaining({
        code: "ZO2_ERR_MEMORY_BUDGET",
        message: expect.stringContaining('set option "offload.prepareAhead" = "off", set option '),
      }),
    );
  });

  it.each([
    ["streamed", {}],
    ["at rest on the device", { tier: "device" }],
    ["with a cache in host memory", { cache: { tier: "host", rows: 100 } }],
    ["with a cache on the device", { cache: { tier: "device", rows: 100 } }],
  ] as [string, Changed][])("says what all of its device memory is for, the largest first: %s", (_, options) => {
    const plan = planOf(model().units, options);
    const { slots, cacheSlots, scratch, gathered, carried, workspace, results, inputs } = plan.device;
    const batches = inputs.map(({ whole }) => whole);
    const regions = [...slots, ...cacheSlots, ...scratch, gathered, ...carried, workspace, ...results, ...batches];
    // Regions begin at multiples of 256.
    const between = regions.reduce((sum, { bytes }) => sum + (-bytes & 255), 0);
    const parts = deviceParts(plan);
    const bytes = parts.map((part) => part.bytes);
    expect(bytes.reduce((a, b) => a + b, between)).toBe(deviceBytes(plan));
    expect(bytes).toEqual([...bytes].sort((a, b) => b - a));
    const weights = options.tier === "device" ? "resident weights" : "3 slots";
    expect(parts.map(({ name }) => name).sort()).toEqual(
      [
        ...[weights, "W+ and W-", "gathered embedding rows", "activations between units", "activations within a unit"],
        ...["results", "batches and losses", ...(options.cache === undefined ? [] : ["key/value cache"])],
      ].sort(),
    );
  });

  describe("with activations in host memory", () => {
    const { units } = model({ unitBytes: 20_000 });
    const many = (microBatches: number, o: Changed = {}) =>
      planOf(units, { capacity: { ...capacity, microBatches }, ...o });
    const round = (bytes: number) => Math.ceil(bytes / 256) * 256;

    it("has an area for each probe and micro-batch there, and a few slots on the device, to the byte", () => {
      for (const microBatches of [1, 2, 7]) {
        const [device, host] = [many(microBatches), many(microBatches, { activations: "host" })];
        const [areas, area] = [2 * microBatches, round(device.places.carriedBytes)];
        const slots = Math.min(CARRIED_SLOTS, areas);
        expect([device.device.carried, device.device.carriedSlots].map((of) => of.length)).toEqual([areas, 0]);
        expect([host.device.carried, host.device.carriedSlots].map((of) => of.length)).toEqual([0, slots]);
        expect(deviceBytes(device) - deviceBytes(host)).toBe((areas - slots) * area);
        expect(hostBytes(host) - hostBytes(device)).toBe(areas * area);
        expect(activationsOf(host)).toEqual({ tier: "host", bytes: areas * host.places.carriedBytes });
        expect(activationsOf(device)).toEqual({ tier: "device", bytes: areas * host.places.carriedBytes });
        const { carried, staging, readback } = host.host;
        const others = [...staging, ...readback].map(({ whole }) => whole);
        expectApart([...carried, ...others], { offset: 0, bytes: host.host.bytes });
        const { slots: weights, scratch, workspace, carriedSlots, results } = host.device;
        const regions = [...weights, ...scratch, workspace, ...carriedSlots, ...results];
        expectApart(regions, { offset: 0, bytes: host.device.bytes });
        const part = deviceParts(host).find(({ name }) => name === "activations between units");
        expect(part?.bytes).toBe(slots * host.places.carriedBytes);
      }
    });

    it("is what a budget of device memory advises where there are many areas, and leaves out for a host's", () => {
      const needed = deviceBytes(many(7));
      const message = (o: Changed, microBatches = 7): string => {
        try {
          many(microBatches, o);
        } catch (error) {
          expect(error).toMatchObject({ code: "ZO2_ERR_MEMORY_BUDGET" });
          return String(error);
        }
        return "it fits";
      };
      expect(message({ deviceMemory: needed - 1 })).toContain('set option "offload.activations" = "host"');
      expect(message({ deviceMemory: needed - 1, activations: "host" })).toBe("it fits");
      expect(message({ deviceMemory: deviceBytes(many(1)) - 1 }, 1)).not.toContain("offload.activations");
      const inHost = many(7, { activations: "host" });
      expect(message({ hostMemory: hostBytes(inHost) - 1, activations: "host" })).toMatch(
        /activations between units [\d.]+ KiB, staging [\d.]+ KiB\); set option "offload.activations" = "device", /,
      );
      expect(message({ hostMemory: hostBytes(many(7)) - 1 })).not.toContain("offload.activations");
    });
  });

  it("shrinks with the units, below the size of the model", () => {
    const sizes = [100_000, 20_000, 3_000].map((unitBytes) => {
      const plan = planOf(model({ unitBytes }).units);
      return plan.device.slots.reduce((a, r) => a + r.bytes, 0) + plan.device.scratch[0].bytes * 2;
    });
    expect(sizes[0]).toBeGreaterThan(sizes[1]);
    expect(sizes[1]).toBeGreaterThan(sizes[2]);
  });

  it("of resident weights that are too large advises to stream them", () => {
    expect(() => planOf(model().units, { tier: "device", deviceMemory: 1000 })).toThrow(
      expect.objectContaining({
        code: "ZO2_ERR_MEMORY_BUDGET",
        message: expect.stringMatching(/resident weights.*"offload.to" = "host"/),
      }),
    );
  });

  it("refuses a budget one byte too small, with the number and what to change", () => {
    const { units } = model();
    const needed = deviceBytes(planOf(units));
    expect(deviceBytes(planOf(units, { deviceMemory: needed }))).toBe(needed);
    expect(() => planOf(units, { deviceMemory: needed - 1 })).toThrow(
      expect.objectContaining({
        code: "ZO2_ERR_MEMORY_BUDGET",
        message: expect.stringMatching(new RegExp(`${needed} bytes.*offload.unitBytes.*offload.deviceMemory`)),
      }),
    );
  });
});

describe("what comes back from a pass", () => {
  // Neither fp32 values of 33 targets nor of 33 rows fill memory to a multiple of anything.
  const odd = { ...capacity, headRows: 33, targets: 33, microBatches: 3 };
  it.each(["logprobs", "logits"] as const)("has room of its own for every probe and micro-batch: %s", (output) => {
    const { units } = model();
    const plan = planOf(units, { capacity: odd, output });
    const columns = output === "logits" ? opt.vocab_size : 1;
    expect(plan.host.readback.length).toBeGreaterThan(1);
    const wholes = plan.host.readback.map(({ whole }) => whole);
    expectApart([...wholes, ...plan.host.staging.map(({ whole }) => whole)], { offset: 0, bytes: plan.host.bytes });
    for (const { whole, sticky, losses, coefficients, results } of plan.host.readback) {
      expect(results).toHaveLength(2 * 3);
      for (const { offset, bytes } of results) {
        expect(bytes).toBeGreaterThanOrEqual(33 * columns * 4);
        // What JavaScript reads as fp32 numbers, and a copy brings at full speed.
        expect(offset % 256).toBe(0);
      }
      expect([losses.bytes, coefficients.bytes, sticky.bytes]).toEqual([128 * 8, 64 * 8, 8]);
      expectApart([sticky, losses, coefficients, ...results], whole);
    }
    expectApart(plan.device.results, { offset: 0, bytes: plan.device.bytes });
  });
});

describe("a key/value cache", () => {
  const ROWS = 100;
  const CONTROL_BYTES = controlLayout(4).bytes;
  const cached = (tier: "host" | "device", o: Changed = {}, config = CONFIGS["Llama 3, tied"]) =>
    planOf(model({ unitBytes: 30_000 }, config).units, {
      probes: 1,
      sides: 1,
      output: "logits",
      cache: { tier, rows: ROWS },
      ...o,
    });

  it.each([
    ["Llama 3, tied", 2, 2 * 64],
    ["GPT-2", 2, 128],
    ["OPT", 3, 64],
    ["Mistral", 2, 64],
  ] as const)(
    "of %s has a row of keys and one of values for every token and layer, in the compute dtype",
    (name, layers, keyColumns) => {
      for (const [compute, bytes] of [
        ["fp32", 4],
        ["fp16", 2],
      ] as const) {
        const { cache } = cached("host", { compute }, CONFIGS[name]);
        const attentions = cache?.units.flatMap((u) => u?.attentions ?? []) ?? [];
        expect(attentions.map((a) => a.rowBytes)).toEqual(Array.from({ length: layers }, () => 2 * keyColumns * bytes));
        expect(new Set(attentions.map((a) => a.op)).size).toBe(layers);
      }
    },
  );

  it("gives every attention its own rows, in the unit that has it", () => {
    for (const name of Object.keys(CONFIGS)) {
      const { units, cache } = cached("host", {}, CONFIGS[name]);
      let end = 0;
      for (const [u, piece] of (cache?.units ?? []).entries()) {
        if (piece === null) continue;
        expect(piece.offset).toBeGreaterThanOrEqual(end);
        end = piece.offset + piece.bytes;
        let used = 0;
        for (const { op, offset, rowBytes } of piece.attentions) {
          expect(units[u].ops.map((o) => o.op)).toContain(op);
          expect(offset).toBeGreaterThanOrEqual(used);
          used = offset + ROWS * rowBytes;
        }
        expect(used).toBeLessThanOrEqual(piece.bytes);
      }
      expect(cache?.bytes).toBe(end);
    }
  });

  it("counts as device memory whole where it rests there, else in slots that each hold the largest piece", () => {
    const [device, host] = [cached("device"), cached("host")];
    const pieces = device.cache?.units.flatMap((u) => u?.bytes ?? []) ?? [];
    expect(pieces).toHaveLength(2);
    expect(deviceBytes(device)).toBe(device.device.bytes + pieces[0] + pieces[1] + CONTROL_BYTES);
    expect(deviceBytes(host)).toBe(host.device.bytes + CONTROL_BYTES);
    expect(device.device.cacheSlots).toEqual([]);
    expect(host.device.cacheSlots.map((r) => r.bytes)).toEqual([Math.max(...pieces), Math.max(...pieces)]);
    expect(deviceParts(device).find((p) => p.name === "key/value cache")?.bytes).toBe(pieces[0] + pieces[1]);
  });

  it("that is too large for the budget on the device is refused, with its share", () => {
    const { cache, ...plan } = cached("device");
    const needed = deviceBytes({ cache, ...plan });
    expect(() => cached("device", { deviceMemory: needed })).not.toThrow();
    expect(() => cached("device", { deviceMemory: needed - 1 })).toThrow(
      expect.objectContaining({
        code: "ZO2_ERR_MEMORY_BUDGET",
        message: expect.stringMatching(new RegExp(`${needed} bytes.*key/value cache`)),
      }),
    );
  });
});

it("OPT-175B's shapes fit in 6 GiB of device memory, one sequence of 2048 tokens, all in fp16", () => {
  const definition = defineModel({
    model_type: "opt",
    vocab_size: 50272,
    hidden_size: 12288,
    num_hidden_layers: 96,
    num_attention_heads: 96,
    ffn_dim: 49152,
    max_position_embeddings: 2048,
  });
  const parameters = numberParameters(definition.parameters);
  expect(parameters.reduce((sum, p) => sum + p.count, 0)).toBeGreaterThan(174e9);
  const recorder = createRecorder(parameters);
  definition.record(recorder);
  const units = cutUnits(recorder.finish(), { wire: "fp16", compute: "fp16", unitBytes: 256 * 2 ** 20 });
  const ids = Int32Array.from({ length: 2048 }, (_, i) => i);
  const batch = [packBatch([{ kind: "tokens", ids, labels: ids }])];
  const plan = planOf(units, { capacity: capacityOf(batch, touchedRows(batch)), compute: "fp16" });
  expect(deviceBytes(plan)).toBeLessThan(6 * 2 ** 30);
});
