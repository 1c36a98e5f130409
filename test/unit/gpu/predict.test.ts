import { inModule } from "../bench/modules.js";

const PREDICT = "scripts/gpu/lib/predict.mjs";
const H100 = {
  name: "NVIDIA H100 80GB HBM3",
  multiprocessors: 132,
  clockHertz: 1.98e9,
  memoryBytesPerSecond: 3.35e12,
  flopsPerSecond: 1.07e15,
  copyBytesPerSecond: 3e12,
};
interface Rates {
  readonly source: string;
  readonly link: string;
  readonly memory: number;
  readonly matrix: number;
  readonly transfer: number;
  readonly issue: number;
}
const ratesOf = (facts: object, link: object | null) =>
  inModule(PREDICT, "return m.ratesOf(args[0], args[1])", facts, link) as Rates;

test("a known device is predicted by its published figures, the most special name first", () => {
  const rates = ratesOf(H100, { generation: 5, lanes: 16 });
  expect(rates).toMatchObject({ source: "NVIDIA H100 data sheet", link: "PCIe 5 x 16" });
  // Shares of 3.35 TB/s, 989 TFLOP/s and 63 GB/s.
  expect(rates.memory).toBeCloseTo(0.9 * 3.35e12, -9);
  expect(rates.matrix).toBeCloseTo(0.7 * 989e12, -10);
  expect(rates.transfer).toBeCloseTo(0.9 * 63.016e9, -7);
  expect(ratesOf({ ...H100, name: "NVIDIA H100 PCIe" }, null).memory).toBeCloseTo(0.9 * 2e12, -9);
});

test("an unknown device is predicted by its clocks, or by what was measured where the driver names none", () => {
  const unknown = { ...H100, name: "NVIDIA Something 9000" };
  expect(ratesOf(unknown, null)).toMatchObject({ memory: 0.9 * 3.35e12, link: "PCIe 4 x 16 (assumed)" });
  const mute = ratesOf({ ...unknown, memoryBytesPerSecond: 0, flopsPerSecond: null, clockHertz: 0 }, null);
  expect(mute.memory).toBe(0.9 * 3e12);
  for (const rate of [mute.matrix, mute.issue, mute.transfer]) expect(rate).toBeGreaterThan(0);
});

const row = (about: object) =>
  inModule(PREDICT, "return m.row(args[0])", { name: "x", unit: "byte/s", basis: "y", ...about });

test.each([
  ["at its goal", { measured: 9, predicted: 10, goal: { of: "predicted", least: 0.9 } }, { ratio: 0.9, met: true }],
  ["short of it", { measured: 8, predicted: 10, goal: { of: "predicted", least: 0.9 } }, { ratio: 0.8, met: false }],
  ["too slow", { measured: 12, predicted: 10, goal: { of: "predicted", most: 1.1 } }, { ratio: 1.2, met: false }],
  ["without a goal", { measured: 8, predicted: 10 }, { ratio: 0.8, goal: null, met: null }],
  [
    "beside a peer",
    { measured: 8, predicted: 10, peer: 4, goal: { of: "peer", least: 0.9 } },
    { toPeer: 2, met: true },
  ],
  [
    "its peer is missing",
    { measured: 8, predicted: 10, goal: { of: "peer", least: 0.9 } },
    { toPeer: null, met: null },
  ],
  [
    "nothing, as predicted",
    { measured: 0, predicted: 0, goal: { of: "predicted", least: 1 } },
    { ratio: 1, met: true },
  ],
  [
    "something for nothing",
    { measured: 1, predicted: 0, goal: { of: "predicted", least: 1 } },
    { ratio: null, met: false },
  ],
])("a measurement: %s", (_what, about, expected) => {
  expect(row(about)).toMatchObject(expected);
});

test.each([
  [{ measured: null, predicted: 1 }, "x: measured is null; every row has a number and a prediction"],
  [{ measured: 1 }, "x: predicted is undefined; every row has a number and a prediction"],
])("a row without a number is none: %j", (about, message) => {
  expect(() => row(about)).toThrow(message);
});

test("kernels stand beside their peers of the same case, one row for each, and beside the roofline without one", () => {
  const line = { bench: "linear", case: "fc1", kernel: "chosen", dtype: "fp16", epilogue: "bias", m: 1, n: 2, k: 3 };
  const lines = [
    { ...line, bytes: 1, flops: 12, flopsPerSecond: 6 },
    { ...line, kernel: "mma", bytes: 1, flops: 12, flopsPerSecond: 3 },
  ];
  const peers = [
    { ...line, kernel: undefined, peer: "cuBLAS", how: "linear", seconds: 3 },
    { ...line, kernel: undefined, n: 9, peer: "cuBLAS", how: "linear", seconds: 1 },
    { ...line, kernel: undefined, peer: "other", how: "none", absent: "not built" },
  ];
  const rates = { memory: 100, matrix: 12, source: "s" };
  const body = "return m.kernelRows(args[0], args[1], args[2])";
  const [beside, alone] = inModule("scripts/gpu/2-kernels.mjs", body, lines, peers, rates) as readonly object[];
  expect(beside).toMatchObject({ measured: 6, predicted: 12, peer: 4, toPeer: 1.5, met: true, how: "linear" });
  expect(alone).toMatchObject({ measured: 3, predicted: 12, peer: null, ratio: 0.25, met: false });
});

test("prepare is limited by memory or by the noise it draws, once or twice an element", () => {
  const rates = { memory: 1000, issue: 720, source: "s" };
  // 720 warp instructions a second, each for 32 lanes: 8 elements in 720 instructions of a lane give 256 a second.
  const prepare = {
    bench: "prepare",
    noise: "gaussian",
    wire: "fp16",
    elements: 10,
    bytesPerSecond: 1,
    bytesPerSecondCeiling: 2,
  };
  const lines = [
    { ...prepare, case: "update and perturb", bytes: 20 },
    { ...prepare, case: "perturb", bytes: 20 },
    { bench: "layerNorm", case: "2 x 2", out: "bf16", bytesPerSecond: 1, bytesPerSecondCeiling: 2 },
  ];
  const rows = inModule("scripts/gpu/1-test.mjs", "return m.memoryRows(args[0], args[1])", lines, rates);
  expect(rows).toMatchObject([
    { predicted: 512, basis: "instructions issued" },
    { predicted: 1000, basis: "memory bandwidth (s)" },
    { predicted: 1000 },
  ]);
});

test("the profiler's value is that of its last line, whatever it prints around", () => {
  const csv = '==PROF== Connected\n"ID","Metric Name","Metric Value"\n"0","a","12"\n"1","a","1,234.5"\n';
  const metric = (text: string) => inModule("scripts/gpu/2-kernels.mjs", "return m.metricOf(args[0]) ?? null", text);
  expect(metric(csv)).toBe(1234.5);
  expect(metric("==ERROR== ERR_NVGPUCTRPERM")).toBeNull();
});
