import { packBatch } from "../../../src/data/index.js";
import { defineModel } from "../../../src/models/index.js";
import { CANONICAL_ALIGNMENT, canonicalLength, numberParameters } from "../../../src/models/parameter.js";
import { parametersOf, Recorder, valuesOf } from "../../../src/models/recorder.js";
import type { Head } from "../../../src/models/family.js";
import { capacityOf, touchedRows } from "../../../src/schedule/batch-tables.js";
import { placeValues } from "../../../src/schedule/places.js";
import { deviceBytes, planMemory, type PlanOptions } from "../../../src/schedule/plan.js";
import { encodeProgram } from "../../../src/schedule/program.js";
import { cutUnits, type UnitOptions } from "../../../src/schedule/units.js";
import fs from "node:fs";
import path from "node:path";

const config = {
  model_type: "opt", vocab_size: 1000, hidden_size: 64, num_hidden_layers: 3, num_attention_heads: 4, ffn_dim: 256, max_position_embeddings: 128,
};
const capacity = { rows: 40, sequences: 3, headRows: 30, targets: 30, tableRows: 40, microBatches: 2, objectiveWords: 1 };

function model(options: Partial<UnitOptions> & { tied?: boolean; head?: Head } = {}) {
  const definition = defineModel({ ...config, tie_word_embeddings: options.tied ?? true });
  const parameters = numberParameters(definition.parameters);
  const recorder = new Recorder(parameters);
  const recording = recorder.finish(definition.record(recorder, options.head ?? "logprobs"));
  return { parameters, recording, units: cutUnits(recording, { wire: "fp16", compute: "fp32", ...options }) };
}

describe("the canonical order", () => {
  it("is the order of named_parameters() that the reference trajectories recorded", () => {
    for (const name of ["A", "B"]) {
      const recorded = JSON.parse(fs.readFileSync(path.join(__dirname, `../../fixtures/trajectories/mezo-ones-${name}.json`), "utf8"));
      const raw = JSON.parse(fs.readFileSync(path.join(__dirname, `../../fixtures/trajectories/models/${name}/config.json`), "utf8"));
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

describe.each([
  ["whole blocks", {}],
  ["units of 20 kB", { unitBytes: 20_000 }],
  ["units of 3 kB", { unitBytes: 3_000 }],
  ["units of one row", { unitBytes: 1 }],
  ["an untied head in units of 20 kB", { unitBytes: 20_000, tied: false }],
  ["fp32 on the wire", { wire: "fp32" as const, unitBytes: 20_000 }],
])("cut into %s", (_, options) => {
  const { recording, parameters, units } = model(options);

  it("every element of every parameter is in exactly one unit", () => {
    for (const p of parameters) {
      const slices = units.flatMap((u) => u.tensors.filter((t) => t.parameter === p)).sort((a, b) => a.rowStart - b.rowStart);
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
      if (parts.length === 1 && parts[0].rows === null) continue;
      const rows = parametersOf(op)[0].shape[0];
      expect(parts.map((p) => p.rows?.start)).toEqual(parts.map((_, i) => i * (parts[0].rows?.count ?? 0)));
      expect(parts.reduce((sum, p) => sum + (p.rows?.count ?? 0), 0)).toBe(rows);
      expect([parts[0].rows?.first, parts.at(-1)?.rows?.last]).toEqual([true, true]);
    }
  });

  it("tensors do not overlap on the wire or in scratch", () => {
    for (const u of units) {
      for (const [offset, bytes, end] of [["wireOffset", (t: { wire: string }) => (t.wire === "fp32" ? 4 : 2), u.wireBytes], ["scratchOffset", () => 4, u.scratchBytes]] as const) {
        let at = 0;
        for (const t of [...u.tensors].sort((a, b) => a[offset] - b[offset])) {
          expect(t[offset]).toBeGreaterThanOrEqual(at);
          at = t[offset] + t.count * bytes(t);
        }
        expect(at).toBeLessThanOrEqual(end);
      }
    }
  });

  it.each(["fp32", "bf16"] as const)("no two values that are alive together share memory, but for a sum and the residual that ends in it (%s)", (compute) => {
    const places = placeValues(units, capacity, compute);
    const uses = units.flatMap((u) => u.ops.map((o) => ({ unit: u.index, values: valuesOf(o.op) })));
    const life = new Map<number, { value: (typeof uses)[0]["values"][0]; first: number; last: number; units: Set<number> }>();
    uses.forEach(({ unit, values }, i) => values.forEach((value) => {
      const l = life.get(value.id) ?? { value, first: i, last: i, units: new Set<number>() };
      l.last = i;
      l.units.add(unit);
      life.set(value.id, l);
    }));
    const lives = [...life.values()].filter((l) => l.value.kind === "activation");
    const sums = new Map(recording.blocks.flatMap((b) => b.ops).flatMap((op) => (op.kind === "linear" && op.residual !== null ? [[op.out, op.residual] as const] : [])));
    for (const a of lives) {
      const pa = places.of.get(a.value.id);
      if (a.units.size > 1) expect(pa?.space).toBe("carried");
      for (const b of lives) {
        if (sums.get(a.value) === b.value || sums.get(b.value) === a.value) continue;
        const pb = places.of.get(b.value.id);
        if (a === b || pa === undefined || pb === undefined || pa.space !== pb.space || a.last < b.first || b.last < a.first) continue;
        expect(pa.offset + pa.bytes <= pb.offset || pb.offset + pb.bytes <= pa.offset).toBe(true);
        expect(pa.bytes).toBeGreaterThanOrEqual(capacity[a.value.rows] * a.value.columns * (pa.type === "fp32" ? 4 : 2));
      }
    }
  });

  it("every operand lies in its space", () => {
    const plan = planMemory(units, planOptions());
    const sizes = [plan.device.plus.bytes, plan.places.carriedBytes, plan.places.workspaceBytes, plan.batch.microBatch.bytes, plan.places.resultBytes];
    for (const unit of units) {
      const words = encodeProgram(plan, unit, recording.inputs);
      const [, operands, , symbols] = words;
      const maxima = words.subarray(4, 4 + symbols);
      for (let o = 0; o < operands; o++) {
        const [space, offset, dtype, rows, columns, stride] = words.subarray(4 + symbols + o * 6);
        const count = rows < 0 ? maxima[-1 - rows] : rows;
        const bytes = dtype === 1 || dtype === 2 ? 2 : 4;
        expect(offset + ((count - 1) * stride + columns) * bytes).toBeLessThanOrEqual(sizes[space]);
      }
    }
  });
});

function planOptions(o: Partial<PlanOptions> = {}): PlanOptions {
  return { tier: "host", slots: 3, branches: 2, capacity, wire: "fp16", compute: "fp32", ...o };
}

it("a block is cut where few activations are carried: between attention and feed-forward, not inside", () => {
  // One layer is 98 kB on the wire; two units of 65 kB hold it, cut after out_proj (64 columns) or after fc1 (320).
  const names = model({ unitBytes: 70_000 }).units.filter((u) => u.name.startsWith("layers.0")).map((u) => u.ops.map((o) => (o.op.kind === "linear" ? o.op.weight.name.split(".").at(-2) : o.op.kind)));
  expect(names.map((n) => n.at(-1))).toEqual(["out_proj", "fc2"]);
});

it("both heads cut the weights alike", () => {
  const layouts = (["logprobs", "logits"] as const).map((head) =>
    model({ head, unitBytes: 20_000 }).units.map((u) => u.tensors.map((t) => [t.parameter.name, t.rowStart, t.rowCount, t.wireOffset])));
  expect(layouts[0]).toEqual(layouts[1]);
});

it("a tied embedding is held once, by the head, and gathered at the front", () => {
  const { units } = model();
  const holders = units.filter((u) => u.tensors.some((t) => t.parameter.name.endsWith("embed_tokens.weight")));
  expect(holders.map((u) => u.name.replace(/\[.*/, ""))).toEqual(holders.map(() => "head"));
  expect(units.map((u) => u.gathered?.name ?? null)).toEqual(["model.decoder.embed_tokens.weight", ...units.slice(1).map(() => null)]);
});

describe("a memory plan", () => {
  it("gives every region its own bytes within the arena", () => {
    const plan = planMemory(model().units, planOptions());
    const d = plan.device;
    const regions = [...d.slots, d.plus, d.minus, d.gathered, ...d.carried, d.workspace, ...d.results, ...d.inputs].sort((a, b) => a.offset - b.offset);
    let end = 0;
    for (const r of regions) {
      expect(r.offset).toBeGreaterThanOrEqual(end);
      end = r.offset + r.bytes;
    }
    expect(end).toBeLessThanOrEqual(d.bytes);
  });

  it("shrinks with the units, below the size of the model", () => {
    const sizes = [100_000, 20_000, 3_000].map((unitBytes) => {
      const plan = planMemory(model({ unitBytes }).units, planOptions());
      return plan.device.slots.reduce((a, r) => a + r.bytes, 0) + plan.device.plus.bytes * 2;
    });
    expect(sizes[0]).toBeGreaterThan(sizes[1]);
    expect(sizes[1]).toBeGreaterThan(sizes[2]);
  });

  it("refuses a budget one byte too small, with the number and what to change", () => {
    const { units } = model();
    const needed = deviceBytes(planMemory(units, planOptions()));
    expect(deviceBytes(planMemory(units, planOptions({ deviceMemory: needed })))).toBe(needed);
    expect(() => planMemory(units, planOptions({ deviceMemory: needed - 1 }))).toThrow(
      expect.objectContaining({ code: "ZO2_ERR_MEMORY_BUDGET", message: expect.stringMatching(new RegExp(`${needed} bytes.*--unit-bytes.*--device-memory`)) }),
    );
  });
});

it("OPT-175B's shapes fit in 6 GiB of device memory, one sequence of 2048 tokens, fp16 on the wire and in scratch", () => {
  const definition = defineModel({
    model_type: "opt", vocab_size: 50272, hidden_size: 12288, num_hidden_layers: 96, num_attention_heads: 96, ffn_dim: 49152, max_position_embeddings: 2048,
  });
  const parameters = numberParameters(definition.parameters);
  expect(parameters.reduce((sum, p) => sum + p.count, 0)).toBeGreaterThan(174e9);
  const recorder = new Recorder(parameters);
  const units = cutUnits(recorder.finish(definition.record(recorder, "logprobs")), { wire: "fp16", compute: "fp16", unitBytes: 256 * 2 ** 20 });
  const ids = Int32Array.from({ length: 2048 }, (_, i) => i);
  const batch = [packBatch([{ kind: "tokens", ids, labels: ids }])];
  const plan = planMemory(units, planOptions({ capacity: capacityOf(batch, touchedRows(batch)), compute: "fp16" }));
  expect(deviceBytes(plan)).toBeLessThan(6 * 2 ** 30);
});
