import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ModelPlan } from "../../../src/planner/summary.js";
import { HARDWARE_NAMES, THIS_MACHINE } from "../../../src/simulate/hardware.js";
import { optConfig } from "../planner/support.js";
import { zo2 } from "./fake.js";

let dir: string;
const SHAPE = { layers: 12, hidden: 256, vocab: 2000 };
const write = (config: object) => writeFile(join(dir, "config.json"), JSON.stringify(config));
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "zo2-plan-"));
  await write(optConfig(SHAPE));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

/** Parameters of SHAPE: embeddings, layers, and the last norm. */
const PARAMETERS = 2000 * 256 + 258 * 256 + 12 * (12 * 256 ** 2 + 13 * 256) + 2 * 256;

const jsonOf = async (...args: string[]): Promise<ModelPlan> => {
  const { code, out, err } = await zo2(["plan", dir, "--json", "--quiet", ...args]);
  expect([code, err]).toEqual([0, ""]);
  return JSON.parse(out) as ModelPlan;
};

test("of a folder that has a config alone, without an addon: bytes, and where times would come from", async () => {
  const { code, out, err, calls } = await zo2(["plan", dir], { addonError: new Error("no addon") });
  expect([code, err, calls]).toEqual([0, "", []]);
  expect(out).toContain(
    `model     ${dir}: ${PARAMETERS.toLocaleString("en-US")} parameters, 19.2 MiB to read or download`,
  );
  expect(out).toMatch(/^plan {6}resident: 19\.\d MiB of weights in fp16/m);
  expect(out).toMatch(/^ {10}resident weights +19\.\d MiB$/m);
  expect(out).toContain(`time      --hardware predicts it: ${[THIS_MACHINE, ...HARDWARE_NAMES].join(", ")}\n`);
  expect(out).not.toMatch(/a step,/);
});

test("with hardware and less memory: streamed in part, with a prediction that says that it is one", async () => {
  const args = ["--hardware", "rtx-4090", "--device-memory", "24MiB", "--max-length", "64", "--dtype", "fp16"];
  const { code, out, err } = await zo2(["plan", dir, ...args]);
  expect([code, err]).toEqual([0, ""]);
  expect(out).toMatch(/^hardware {2}RTX 4090 \(NVIDIA Ada whitepaper, 70 % of its operations/m);
  expect(out).toMatch(
    /^plan {6}streamed, 19\.\d MiB of weights in fp16: \d+ of \d+ units resident, .*; the \w+ lane bounds a step$/m,
  );
  expect(out).toMatch(
    /^memory {4}device 2\d(\.\d)? MiB of 24 MiB, host .*: a training step on 1 sequence of 64 tokens$/m,
  );
  expect(out).toMatch(
    /^time {6}.* a step, [\d,]+ tokens\/s: a prediction from those figures, which nobody has measured$/m,
  );
  expect(out).toMatch(/busy: upload \d+ %, prepare \d+ %, compute \d+ %, offload \d+ %/);
});

test("a batch that has no room at once is cut into the fewest micro-batches that have", async () => {
  const pinned = ["--unit-bytes", "1MiB", "--slots", "1", "--prepare-ahead", "off", "--activations", "device"];
  const args = ["--max-length", "64", "--batch-size", "12", ...pinned];
  const { deviceBytes } = await jsonOf(...args, "--offload", "host", "--micro-batch-size", "6");
  const plan = await jsonOf(...args, "--offload", "host", "--device-memory", String(deviceBytes));
  expect(plan.step.microBatches).toBe(2);
  expect(plan.deviceBytes).toBeLessThanOrEqual(deviceBytes);
  const { code, err } = await zo2([
    ...["plan", dir, ...args, "--offload", "host", "--device-memory", String(deviceBytes)],
    ...["--micro-batch-size", "12"],
  ]);
  expect([code, err]).toEqual([1, expect.stringContaining("ZO2_ERR_MEMORY_BUDGET")]);
});

test("--json has all of it in numbers", async () => {
  const args = ["--hardware", "h100", "--device-memory", "24MiB", "--max-length", "64"];
  const plan = await jsonOf(...args, "--batch-size", "4", "--micro-batch-size", "2");
  expect(plan).toMatchObject({
    ...{ model: dir, parameters: PARAMETERS, checkpointBytes: 2 * PARAMETERS, storedKnown: true, diskBytes: 0 },
    ...{ wire: "fp16", dtype: "fp32", deviceMemory: 24 * 2 ** 20 },
    step: { sequences: 4, length: 64, microBatches: 2, rows: 4 * 63 },
    hardware: { name: "h100", title: "H100 SXM" },
  });
  expect(plan.deviceBytes).toBeLessThanOrEqual(24 * 2 ** 20);
  expect(plan.parts.reduce((sum, { bytes }) => sum + bytes, 0)).toBeLessThanOrEqual(plan.deviceBytes);
  expect(plan.streamedUnits).toBeGreaterThan(0);
  const { stepSeconds = 0, tokensPerSecond, lanes } = plan.predicted ?? {};
  expect(tokensPerSecond).toBeCloseTo((4 * 63) / stepSeconds, 6);
  const { read, write, ...others } = lanes ?? {};
  expect([read, write]).toEqual([0, 0]);
  for (const share of Object.values(others)) expect(share > 0 && share < 1.000001).toBe(true);
});

test("under an adapter the base streams one way, and is not prepared where it is computed as it rests", async () => {
  const args = ["--hardware", "h100", "--device-memory", "20MiB", "--max-length", "64", "--dtype", "fp16"];
  const [all, adapted] = [await jsonOf(...args), await jsonOf(...args, "--lora", "8")];
  // A and B of q and v in 12 layers of 256.
  const own = 12 * 2 * 2 * 8 * 256;
  expect(adapted).toMatchObject({ parameters: PARAMETERS, adapterParameters: own, checkpointBytes: 2 * PARAMETERS });
  expect([all.adapterParameters, all.weightBytes + 4 * own]).toEqual([null, adapted.weightBytes]);
  expect(adapted.predicted?.lanes.offload).toBe(0);
  expect(adapted.predicted?.lanes.upload).toBeGreaterThan(0);
  expect(adapted.predicted?.lanes.prepare).toBeLessThan(all.predicted?.lanes.prepare ?? 0);
  const { out } = await zo2(["plan", dir, "--lora", "8"]);
  expect(out).toContain(`parameters under an adapter of ${own.toLocaleString("en-US")}, 19.2 MiB to read`);
});

test("the hardware's memory is the limit where none is given", async () => {
  const { deviceMemory, predicted } = await jsonOf("--hardware", "rtx-3090");
  expect(deviceMemory).toBe(24 * 2 ** 30 - 1e9);
  expect(predicted).not.toBeNull();
  expect(await jsonOf()).toMatchObject({ deviceMemory: null, hardware: null, predicted: null });
});

test("flags decide what would be chosen", async () => {
  const args = ["--offload", "host", "--unit-bytes", "1MiB", "--slots", "4", "--prepare-ahead", "off", "--no-overlap"];
  expect(await jsonOf(...args, "--wire", "bf16", "--noise", "rademacher", "--hardware", "rtx-3090")).toMatchObject({
    ...{ unitBytes: 2 ** 20, slots: 4, prepareAhead: false, residentUnits: 0, wire: "bf16" },
  });
});

test("activations that rest in host memory are said to, with their bytes", async () => {
  const args = ["--max-length", "64", "--batch-size", "8", "--micro-batch-size", "1"];
  const [device, host] = [await jsonOf(...args), await jsonOf(...args, "--activations", "host")];
  // The hidden state of 64 tokens, for two probes of eight micro-batches.
  const bytes = 2 * 8 * 64 * 256 * 4;
  expect([device.activations, host.activations]).toEqual([
    { tier: "device", bytes },
    { tier: "host", bytes },
  ]);
  expect(host.hostBytes - device.hostBytes).toBe(bytes);
  const { out } = await zo2(["plan", dir, ...args, "--activations", "host"]);
  expect(out).toMatch(/^plan .*, activations in host memory \(1 MiB\), computed in fp32$/m);
  expect((await zo2(["plan", dir, ...args])).out).not.toContain("activations in");
});

test("a method has the probes of its step, and one side or both in scratch", async () => {
  const host = ["--offload", "host", "--unit-bytes", "1MiB", "--slots", "2", "--prepare-ahead", "off"];
  const bytesOf = async (...flags: string[]) => {
    const { parts } = await jsonOf(...host, ...flags);
    const of = (name: string) => parts.find((part) => part.name === name)?.bytes ?? 0;
    return { both: of("W+ and W-"), one: of("perturbed weights"), between: of("activations between units") };
  };
  const mezo = await bytesOf();
  const between = (probes: number) => (mezo.between / 2) * probes;
  expect(await bytesOf("--directions", "4")).toEqual({ both: mezo.both, one: 0, between: between(8) });
  expect(await bytesOf("--method", "fzoo")).toEqual({ both: 0, one: mezo.both / 2, between: between(9) });
  expect(await bytesOf("--method", "es", "--directions", "3", "--antithetic")).toEqual({
    ...{ both: mezo.both, one: 0, between: between(6) },
  });
  const { err } = await zo2(["plan", dir, "--method", "fzoo", "--noise", "gaussian"]);
  expect(err).toContain('--noise is "gaussian"; must be "rademacher" for method "fzoo"');
});

test("a config that names no dtype is taken for fp32, and says so", async () => {
  const { torch_dtype: _, ...config } = optConfig(SHAPE);
  await write(config);
  expect(await jsonOf()).toMatchObject({ wire: "fp32", storedKnown: false, checkpointBytes: 4 * PARAMETERS });
  expect((await zo2(["plan", dir])).out).toContain("if it is stored in fp32: config.json names no dtype\n");
});

test("heads of other kinds are planned for", async () => {
  await write({ ...optConfig(SHAPE), architectures: ["OPTForSequenceClassification"], num_labels: 3 });
  expect((await jsonOf("--max-length", "64")).step).toEqual({
    ...{ sequences: 1, length: 64, microBatches: 1, rows: 64 },
  });
  await write({ ...optConfig(SHAPE), architectures: ["OPTForQuestionAnswering"] });
  expect((await jsonOf("--max-length", "64")).step.rows).toBe(64);
});

test("what does not fit is refused with the least that would, in flags", async () => {
  const { code, err } = await zo2(["plan", dir, "--device-memory", "1MiB"]);
  expect(code).toBe(1);
  expect(err).toMatch(
    /^ZO2_ERR_MEMORY_BUDGET: the least that a plan needs is .* of device memory, and 1 MiB is allowed; lower /,
  );
  expect(err).toMatch(/or raise --device-memory\n$/);
});

test("what is wrong is refused", async () => {
  const missing = await zo2(["plan", join(dir, "nothing")]);
  expect([missing.code, missing.err]).toEqual([1, expect.stringMatching(/^ZO2_ERR_CHECKPOINT: /)]);
  const hardware = await zo2(["plan", dir, "--hardware", "abacus"]);
  expect([hardware.code, hardware.err]).toEqual([2, expect.stringMatching(/--hardware.*rtx-3090/)]);
  const long = await zo2(["plan", dir, "--max-length", "5000"]);
  expect([long.code, long.err]).toEqual([1, expect.stringMatching(/^ZO2_ERR_LENGTH: .*--max-length/)]);
  const bare = await zo2(["plan"]);
  expect([bare.code, bare.err]).toEqual([2, expect.stringMatching(/model/)]);
  await rm(join(dir, "config.json"));
  const none = await zo2(["plan", dir]);
  expect([none.code, none.err]).toEqual([1, expect.stringMatching(/^ZO2_ERR_CHECKPOINT: .*has no config\.json/)]);
});
