/**
 * Weights on disk that stand in the checkpoint's files as they rest are read there: nothing is written before they
 * change, and no bit is another than with weights in host memory.
 */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import type { ModelOptions } from "../../../src/config/model.js";
import type { Model } from "../../../src/model.js";
import { Trainer } from "../../../src/train/trainer.js";
import type { Declared } from "../../../src/schedule/command.js";
import type { Pass } from "../../../src/schedule/facts.js";
import { readTensorFiles } from "../../support/tensor-files.js";
import { errorOf } from "../support.js";
import { sameBits, some, weightBits, withModel } from "./helpers.js";
import { examples, folder, OPTIONS, STEPS, train } from "./runs.js";

let work: string;
let disk: string;
beforeAll(() => {
  work = fs.mkdtempSync(path.join(os.tmpdir(), "zo2-in-place-"));
  disk = path.join(work, "disk");
  fs.mkdirSync(disk);
});
afterAll(() => fs.rmSync(work, { recursive: true }));

type Offload = NonNullable<ModelOptions["offload"]>;

const UNITS: Offload = { unitBytes: 20_000, slots: 2 };
const inHost = (offload: Offload = {}): ModelOptions => ({ offload: { ...UNITS, ...offload } });
const onDisk = (offload: Offload = {}): ModelOptions => ({
  offload: { ...UNITS, to: "disk", diskPath: disk, ...offload },
  test: { poison: true },
});

/** A fixture's model in one dtype, each of its tensors. */
async function savedAs(name: string, dtype: "fp32" | "fp16" | "bf16"): Promise<string> {
  const dir = path.join(work, `${name}-${dtype}`);
  if (!fs.existsSync(dir)) await withModel(folder(name), inHost(), (model) => model.save(dir, { dtype }));
  return dir;
}

/** Files of this process in a folder, named or not. */
function openFilesIn(dir: string): string[] {
  return fs.readdirSync("/proc/self/fd").flatMap((fd) => {
    try {
      const file = fs.readlinkSync(path.join("/proc/self/fd", fd));
      return file.startsWith(`${dir}/`) ? [file] : [];
    } catch {
      return [];
    }
  });
}

/** Of tensors that rest as they are stored: matrices, and vectors of fp32. */
function restingBytes(dir: string): number {
  const tensors = [...readTensorFiles(dir).values()];
  return tensors.reduce((sum, t) => sum + (t.shape.length > 1 || t.dtype === "F32" ? t.bytes.length : 0), 0);
}

const blocks = (bytes: number) => Math.ceil(bytes / 4096) * 4096;

/** That nothing was written. */
function expectUntouched(model: Model): void {
  expect(model.deviceInfo().fileBytes).toBe(0);
  expect([fs.readdirSync(disk), openFilesIn(disk)]).toEqual([[], []]);
}

async function read(model: Model): Promise<unknown> {
  const { loss } = await model.evaluate(examples);
  const prompt = { ids: [5, 17, 3, 99, 42, 7] };
  const { ids } = await model
    .generate(prompt, { maxNewTokens: 6, ignoreEos: true, temperature: 0.7, seed: 3 })
    .result();
  const logits = [...(await model.logits([1, 2, 3]))];
  return { loss, ids, logits };
}

const FAMILIES = ["opt", "gpt2", "llama", "mistral-window", "qwen2-bf16", "qwen3-bf16"];

describe.each(some(["fp16", "fp32", "bf16"] as const, 1))("stored as %s", (dtype) => {
  it.each(some(FAMILIES, 2))("%s is evaluated and generates from its files, and nothing is written", async (name) => {
    const dir = await savedAs(name, dtype);
    const expected = await withModel(dir, inHost(), read);
    await withModel(dir, onDisk(), async (model) => {
      expect(new Set(model.plan().units.map(({ tier }) => tier))).toEqual(new Set(["disk"]));
      expect(await read(model)).toEqual(expected);
      expect(model.plan().inPlaceBytes).toBe(restingBytes(dir));
      expect(openFilesIn(dir)).toEqual([path.join(dir, "model.safetensors")]);
      expectUntouched(model);
      expect(sameBits(await weightBits(model), await withModel(dir, inHost(), weightBits))).toBe(true);
      const { hostBytes } = model.plan();
      expect(model.deviceInfo().hostBytes).toBe(hostBytes);
    });
    expect(openFilesIn(dir)).toEqual([]);
  });
});

it.each(some(["opt-sharded-fp16", "opt-350m-style-bin", "llama3-scaled-bf16"], 1))(
  "%s is read in place",
  async (name) => {
    const expected = await withModel(folder(name), inHost(), read);
    await withModel(folder(name), onDisk(), async (model) => {
      expect(await read(model)).toEqual(expected);
      expect(model.plan().inPlaceBytes).toBeGreaterThan(0);
      expectUntouched(model);
    });
  },
);

async function trained(model: Model, freeze: readonly string[], steps = STEPS) {
  const numbers: number[] = [];
  for await (const step of new Trainer(model, { ...OPTIONS, steps, freeze }).fit(examples)) {
    numbers.push(step.lossPlus, step.lossMinus);
    if (step.index === 2) numbers.push((await model.evaluate(examples.slice(0, 3))).loss);
  }
  return numbers;
}

it.each(
  some(
    [
      ["opt", "*layers.0*"],
      ["gpt2", "*wte*"],
      ["llama", "*.self_attn.*"],
    ] as const,
    1,
  ),
)(
  "%s: what is frozen (%s) stays in the files, what is trained has room of its own and not a byte more",
  async (name, frozen) => {
    const dir = await savedAs(name, "bf16");
    const host = await withModel(dir, inHost(), async (model) => ({
      numbers: await trained(model, [frozen]),
      weights: await weightBits(model),
    }));
    const written = new Set<number>();
    const onPass = (_: Pass, commands: readonly Declared[]) => {
      for (const { work: done } of commands) if (done.kind === "write") written.add(done.unit);
    };
    await withModel(dir, { ...onDisk(), test: { poison: true, onPass } }, async (model) => {
      const before = model.plan().inPlaceBytes;
      expect(await trained(model, [frozen])).toEqual(host.numbers);
      const { units, diskBytes, inPlaceBytes } = model.plan();
      // The head of the file, and in front of each unit that has weights its seal.
      const room = (bytes: number) => (bytes === 0 ? 0 : 4096 + blocks(bytes));
      const changed = units.reduce((sum, { bytes }, u) => sum + (written.has(u) ? room(bytes) : 0), 4096);
      expect(written.size).toBeGreaterThan(0);
      expect(written.size).toBeLessThan(units.length);
      expect([model.deviceInfo().fileBytes, diskBytes]).toEqual([changed, changed]);
      expect(inPlaceBytes).toBeGreaterThan(0);
      expect(inPlaceBytes).toBeLessThan(before);
      expect(sameBits(await weightBits(model), host.weights)).toBe(true);
      // Another training, of everything: the others get room too.
      await trained(model, [], 2);
      const all = model.plan().units.reduce((sum, { bytes }) => sum + room(bytes), 2 * 4096);
      expect([model.deviceInfo().fileBytes, model.plan().inPlaceBytes]).toEqual([all, 0]);
    });
  },
);

it("is resumed, replayed and switched between runs, and the base is read where it is again", async () => {
  const run = path.join(work, "run");
  const whole = await train(run, "opt", inHost(), OPTIONS);
  await train(run, "opt", onDisk(), { ...OPTIONS, run, snapshots: { every: 3, keep: 1 } }, 5);
  expect(sameBits(await train(run, "opt", onDisk(), "resume"), whole)).toBe(true);
  await withModel(folder("opt"), onDisk(), async (model) => {
    const base = await weightBits(model);
    const { inPlaceBytes } = model.plan();
    expect(sameBits(await model.withRuns([run], weightBits), whole)).toBe(true);
    expect(sameBits(await model.withRuns([], weightBits), base)).toBe(true);
    expect(model.plan().inPlaceBytes).toBe(inPlaceBytes);
    expect(sameBits(await model.withRuns([run], weightBits), whole)).toBe(true);
  });
});

it("goes on where its files are taken away, and where it is saved into its own folder", async () => {
  const source = await savedAs("llama", "fp16");
  const dir = path.join(work, "own");
  fs.cpSync(source, dir, { recursive: true });
  const body = async (model: Model) => [await trained(model, ["*norm*", "*layers.0*"], 3), await read(model)];
  const expected = await withModel(source, inHost(), body);
  const saved = await withModel(dir, onDisk(), async (model) => {
    expect(await body(model)).toEqual(expected);
    await model.save(dir);
    const after = await read(model);
    fs.rmSync(dir, { recursive: true });
    expect(model.plan().inPlaceBytes).toBeGreaterThan(0);
    expect(await read(model)).toEqual(after);
    return after;
  });
  expect(saved).toEqual(expected[1]);
});

it("another dtype than the stored one has a scratch file from the beginning on", async () => {
  const expected = await withModel(folder("gpt2"), inHost({ wire: "bf16" }), read);
  await withModel(folder("gpt2"), onDisk({ wire: "bf16" }), async (model) => {
    const { fileBytes } = model.deviceInfo();
    const { diskBytes } = model.plan();
    expect(fileBytes).toBeGreaterThan(0);
    expect(fileBytes).toBeLessThanOrEqual(diskBytes);
    expect(await read(model)).toEqual(expected);
    await trained(model, [], 2);
    expect(model.deviceInfo().fileBytes).toBe(diskBytes);
  });
});

it("training that may not have the room is refused before its first step, and the model goes on", async () => {
  const dir = await savedAs("opt", "fp16");
  await withModel(dir, onDisk({ diskMemory: 8192 }), async (model) => {
    const before = await read(model);
    const error = await errorOf(trained(model, []));
    expect(error).toMatchObject({ code: "ZO2_ERR_MEMORY_BUDGET" });
    expect((error as Error).message).toMatch(/"offload.diskMemory"/);
    expectUntouched(model);
    expect(await read(model)).toEqual(before);
  });
  const gone = path.join(work, "gone");
  fs.mkdirSync(gone);
  await withModel(dir, onDisk({ diskPath: gone }), async (model) => {
    fs.rmdirSync(gone);
    expect(await errorOf(trained(model, []))).toMatchObject({ code: "ZO2_ERR_IO" });
    fs.mkdirSync(gone);
    expect(await trained(model, [], 2)).toEqual(await withModel(dir, inHost(), (other) => trained(other, [], 2)));
  });
});

it("a pass that fails leaves the weights of the files, and nothing of its own", async () => {
  const dir = path.join(work, "cut");
  fs.cpSync(await savedAs("opt", "fp32"), dir, { recursive: true });
  const file = path.join(dir, "model.safetensors");
  const content = fs.readFileSync(file);
  const written: number[] = [];
  const onPass = ({ probes }: Pass, commands: readonly Declared[]) => {
    if (probes.length > 0) return;
    // The flush behind the first step meets a file that ends amid the weights: some units are read, and written.
    fs.truncateSync(file, Math.floor(content.length / 2));
    for (const { work: done } of commands) if (done.kind === "write") written.push(done.unit);
  };
  await withModel(dir, { ...onDisk(), test: { onPass } }, async (model) => {
    const base = [...(await model.logits([1, 2, 3]))];
    const { inPlaceBytes } = model.plan();
    const steps = new Trainer(model, { ...OPTIONS, deferredUpdate: false }).fit(examples);
    const failed = await errorOf(steps.next());
    expect(failed).toMatchObject({ code: "ZO2_ERR_IO" });
    expect((failed as Error).message).toContain("somebody has cut it");
    expect(written.length).toBe(model.plan().units.length);
    expect(model.plan().inPlaceBytes).toBe(inPlaceBytes);
    fs.writeFileSync(file, content);
    expect([...(await model.logits([1, 2, 3]))]).toEqual(base);
  });
});
