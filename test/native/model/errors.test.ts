import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { Worker } from "node:worker_threads";
import { loadModel } from "../../../src/load.js";
import { Trainer } from "../../../src/train/trainer.js";
import { fixtures, withModel } from "./helpers.js";
import { DEVICE } from "../device.js";

const source = path.join(fixtures, "trajectories/models/A");
let work: string;
beforeEach(() => {
  work = fs.mkdtempSync(path.join(os.tmpdir(), "zo2-errors-"));
});
afterEach(() => fs.rmSync(work, { recursive: true, force: true }));

/** A copy of model A whose weights file and config were changed. */
function damaged(change: {
  config?: (c: Record<string, unknown>) => void;
  header?: (h: Record<string, { dtype: string; shape: number[]; data_offsets: number[] }>) => void;
  data?: (d: Buffer, h: Record<string, { data_offsets: number[] }>) => Buffer;
}): string {
  const config = JSON.parse(fs.readFileSync(path.join(source, "config.json"), "utf8"));
  change.config?.(config);
  const file = fs.readFileSync(path.join(source, "model.safetensors"));
  const length = Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.subarray(8, 8 + length).toString());
  let data: Buffer = Buffer.from(file.subarray(8 + length));
  change.header?.(header);
  data = change.data?.(data, header) ?? data;
  const json = Buffer.from(JSON.stringify(header));
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(json.length));
  fs.writeFileSync(path.join(work, "config.json"), JSON.stringify(config));
  fs.writeFileSync(path.join(work, "model.safetensors"), Buffer.concat([size, json, data]));
  return work;
}

const fc1 = "model.decoder.layers.1.fc1.weight";
const load = (dir: string, options = {}) => loadModel(dir, { device: DEVICE, threads: 1, ...options });
const coded = (code: string, ...parts: string[]) =>
  expect.objectContaining({
    code,
    message: expect.stringMatching(
      new RegExp(parts.map((p) => p.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("[\\s\\S]*")),
    ),
  });

describe("a checkpoint that cannot be used is refused with the place:", () => {
  it("a value that is not finite", async () => {
    const dir = damaged({ data: (d, h) => (d.writeUInt32LE(0x7fc00000, h[fc1].data_offsets[0] + 4 * 77), d) });
    await expect(load(dir)).rejects.toEqual(coded("ZO2_ERR_CHECKPOINT", fc1, "element 77"));
  });

  it("a value that does not fit in the wire dtype", async () => {
    const dir = damaged({ data: (d, h) => (d.writeFloatLE(70000, h[fc1].data_offsets[0] + 4 * 5), d) });
    await expect(load(dir, { offload: { wire: "fp16" } })).rejects.toEqual(
      coded("ZO2_ERR_CHECKPOINT", fc1, "element 5", "bf16 or fp32", "offload.wire"),
    );
    await (await load(dir, { offload: { wire: "bf16" } })).dispose();
  });

  it("a tensor of another shape than config.json says", async () => {
    const dir = damaged({ header: (h) => h[fc1].shape.reverse() });
    await expect(load(dir)).rejects.toEqual(coded("ZO2_ERR_CHECKPOINT", fc1, "[64, 256]", "[256, 64]"));
  });

  it("a dtype that cannot be read", async () => {
    const dir = damaged({ header: (h) => (h[fc1].dtype = "I32") });
    await expect(load(dir)).rejects.toEqual(coded("ZO2_ERR_CHECKPOINT", fc1, "I32"));
  });

  it("a tensor that is missing", async () => {
    const dir = damaged({ config: (c) => (c["num_hidden_layers"] = 4) });
    await expect(load(dir)).rejects.toEqual(coded("ZO2_ERR_CHECKPOINT", "model.decoder.layers.3."));
  });

  it("a file that ends too soon", async () => {
    const dir = damaged({ data: (d) => d.subarray(0, d.length - 4) });
    await expect(load(dir)).rejects.toEqual(coded("ZO2_ERR_CHECKPOINT", "model.safetensors"));
  });

  it("a folder that is not there", async () => {
    await expect(load(path.join(work, "nowhere"))).rejects.toMatchObject({ code: expect.stringMatching(/^ZO2_ERR_/) });
  });
});

it.each([
  ["model_type", "llamba"],
  ["layer_norm_elementwise_affine", false],
  ["activation_function", "mish"],
  ["quantization_config", { bits: 4 }],
  ["num_attention_heads", 5],
  ["hidden_size", "64"],
  ["architectures", ["OPTForTokenClassification"]],
  ["some_new_scale", 2],
])("config.json: %s = %j is refused by name", async (field, value) => {
  await expect(load(damaged({ config: (c) => (c[field] = value) }))).rejects.toEqual(
    coded("ZO2_ERR_MODEL_UNSUPPORTED", field),
  );
});

it("half a tokenizer is refused, and none at all is not", async () => {
  const dir = damaged({});
  await (await load(dir)).dispose();
  fs.writeFileSync(path.join(dir, "vocab.json"), "{}");
  await expect(load(dir)).rejects.toEqual(coded("ZO2_ERR_TOKENIZER", ""));
});

it("unknown options are refused with the nearest name", async () => {
  await expect(load(source, { ofload: {} })).rejects.toEqual(coded("ZO2_ERR_CONFIG", "ofload", "offload"));
  await withModel(source, {}, async (model) => {
    expect(() => new Trainer(model, { method: { name: "mezo-sgd", lerningRate: 1 } as never, steps: 1 })).toThrow(
      coded("ZO2_ERR_CONFIG", "lerningRate", "learningRate"),
    );
    expect(
      () => new Trainer(model, { method: { name: "mezo-sgd", learningRate: 1 }, steps: 1, maxLength: 129 }),
    ).toThrow(coded("ZO2_ERR_LENGTH", "129", "128"));
    expect(
      () => new Trainer(model, { method: { name: "mezo-sgd", learningRate: 1 }, steps: 1, freeze: ["nope"] }),
    ).toThrow(coded("ZO2_ERR_CONFIG", "nope"));
  });
});

describe("training", () => {
  const options = { method: { name: "mezo-sgd" as const, learningRate: 1e-3 }, steps: 5, batchSize: 2 };
  const fit = async (model: Awaited<ReturnType<typeof load>>, data: unknown[], more = {}) => {
    for await (const _ of new Trainer(model, { ...options, ...more }).fit(data));
  };

  it.each([
    ["no example", [], "ZO2_ERR_DATA", "examples"],
    ["a token outside the vocabulary", [{ ids: [1, 2, 3] }, { ids: [1, 512] }], "ZO2_ERR_DATA", "examples[1]"],
    ["a label outside the choices", [{ prompt: "a", choices: ["b", "c"], label: 2 }], "ZO2_ERR_DATA", "examples[0]"],
    ["a sequence past the model's positions", [{ ids: Array(129).fill(3) }], "ZO2_ERR_LENGTH", "examples[0]"],
    ["text without a tokenizer", [{ text: "hello" }], "ZO2_ERR_TOKENIZER", "examples[0]"],
    ["a sequence of one token", [{ ids: [4] }], "ZO2_ERR_DATA", "examples[0]"],
  ])("refuses %s, and the model can be trained afterwards", async (_, data, code, place) => {
    await withModel(source, {}, async (model) => {
      await expect(fit(model, data)).rejects.toEqual(coded(code, place));
      await fit(model, [{ ids: [1, 2, 3] }]);
    });
  });

  it("stops with the step's number when the loss is not finite, and takes no update from it", async () => {
    await withModel(source, { offload: { wire: "fp32" } }, async (model) => {
      await expect(
        fit(model, [{ ids: [5, 6, 7] }], { method: { name: "mezo-sgd", learningRate: 1, eps: 1e30 } }),
      ).rejects.toEqual(coded("ZO2_ERR_NOT_FINITE", "step 0"));
      const values = await model.parameterValues(fc1);
      expect(values.every((v) => Number.isFinite(v))).toBe(true);
      await fit(model, [{ ids: [5, 6, 7] }]);
    });
  });

  it("stops when an update does not fit in the wire dtype, and no weight becomes infinite", async () => {
    await withModel(source, { offload: { wire: "fp16" } }, async (model) => {
      await expect(
        fit(model, [{ ids: [5, 6, 7] }], { method: { name: "mezo-sgd", learningRate: 1e9 } }),
      ).rejects.toEqual(coded("ZO2_ERR_NOT_FINITE", "fp16"));
      for (const p of model.parameters)
        expect((await model.parameterValues(p.name)).every((v) => Number.isFinite(v))).toBe(true);
    });
  });

  it("one model takes one trainer at a time", async () => {
    await withModel(source, {}, async (model) => {
      const first = new Trainer(model, options).fit([{ ids: [1, 2, 3] }]);
      await first.next();
      await expect(new Trainer(model, options).fit([{ ids: [1, 2, 3] }]).next()).rejects.toEqual(coded("ZO2_ERR_BUSY"));
      await first.return();
      await fit(model, [{ ids: [1, 2, 3] }]);
    });
  });

  it("ends after the steps in flight when its signal is aborted, and goes on from there", async () => {
    await withModel(source, {}, async (model) => {
      const controller = new AbortController();
      const trainer = new Trainer(model, { ...options, steps: 50 });
      const run = async () => {
        for await (const step of trainer.fit([{ ids: [1, 2, 3] }, { ids: [3, 4, 5, 6] }], {
          signal: controller.signal,
        }))
          if (step.index === 3) controller.abort();
      };
      await expect(run()).rejects.toEqual(coded("ZO2_ERR_ABORTED", "of 50 steps"));
      expect(trainer.stepsTaken).toBeGreaterThanOrEqual(4);
      expect(trainer.stepsTaken).toBeLessThanOrEqual(6);
      await expect(trainer.fit([{ ids: [1, 2, 3] }], { signal: controller.signal }).next()).rejects.toEqual(
        coded("ZO2_ERR_ABORTED"),
      );
    });
  });
});

it("a disposed model says so", async () => {
  const model = await load(source);
  await model.dispose();
  await model.dispose();
  await expect(model.evaluate([{ ids: [1, 2] }])).rejects.toMatchObject({ code: "ZO2_ERR_DISPOSED" });
  await expect(model.save(work)).rejects.toMatchObject({ code: "ZO2_ERR_DISPOSED" });
  expect(() => model.score([])).toThrow(expect.objectContaining({ code: "ZO2_ERR_DISPOSED" }));
});

it("disposing while a step is on the device ends cleanly", async () => {
  const model = await load(source);
  const run = new Trainer(model, { method: { name: "mezo-sgd", learningRate: 1e-4 }, steps: 50, batchSize: 1 }).fit([
    { ids: [1, 2, 3] },
  ]);
  await run.next();
  const next = run.next().then(
    () => "ZO2_ERR_none",
    (error: { code?: string }) => error.code,
  );
  await model.dispose();
  expect(await next).toMatch(/^ZO2_ERR_/);
});

it("nothing waits on the JavaScript thread while a model trains, evaluates and saves", async () => {
  const { loadNative } = jest.requireActual<typeof import("zo2/native")>("zo2/native");
  const native = loadNative();
  const open = native.openDevice.bind(native);
  const devices: Awaited<ReturnType<typeof open>>[] = [];
  const spy = jest.spyOn(native, "openDevice").mockImplementation(async (...args) => {
    const device = await open(...args);
    devices.push(device);
    return device;
  });
  await withModel(source, {}, async (model) => {
    for await (const _ of new Trainer(model, {
      method: { name: "mezo-sgd", learningRate: 1e-4 },
      steps: 4,
      batchSize: 2,
    }).fit([{ ids: [1, 2, 3] }]));
    await model.evaluate([{ ids: [1, 2, 3] }]);
    await model.save(path.join(work, "out"));
    expect(devices.map((d) => d.waits)).toEqual([0]);
  });
  spy.mockRestore();
});

it("a worker thread that exits in the middle of a step takes nothing else with it", async () => {
  const dist = path.join(__dirname, "../../../dist/cjs/index.js");
  const code = `
    const { loadModel, Trainer } = require(${JSON.stringify(dist)});
    const { parentPort } = require("node:worker_threads");
    (async () => {
      const model = await loadModel(${JSON.stringify(source)}, { device: "${DEVICE}", threads: 2 });
      const ids = Array.from({ length: 120 }, (_, i) => i + 3);
      const method = { name: "mezo-sgd", learningRate: 1e-4 };
      for await (const step of new Trainer(model, { method, steps: 100000, batchSize: 4 }).fit([{ ids }]))
        if (step.index === 2) { parentPort.postMessage("stepping"); setTimeout(() => process.exit(7), 1); }
    })();`;
  const worker = new Worker(code, { eval: true });
  const exit = await new Promise((resolve, reject) => {
    worker.on("exit", resolve);
    worker.on("error", reject);
  });
  expect(exit).toBe(7);
  await (await load(source)).dispose();
});
