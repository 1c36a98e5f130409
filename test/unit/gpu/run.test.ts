import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inModule, root } from "../bench/modules.js";

let out: string;
beforeEach(() => (out = mkdtempSync(join(tmpdir(), "zo2-gpu-test-"))));
afterEach(() => rmSync(out, { recursive: true }));

function gpu(...args: string[]) {
  const env = { ...process.env, OUT: out };
  const { status, stderr, stdout } = spawnSync(process.execPath, [join(root, "scripts/gpu/run.mjs"), ...args], {
    encoding: "utf8",
    env,
  });
  return { status, err: stderr.trim(), out: stdout };
}

const HOST = {
  compiled: true,
  cmake: true,
  nvcc: true,
  gpu: { name: "NVIDIA Something", compute_cap: "9.0" },
  diskBytes: 2 ** 40,
};
const missing = (options: object, host: object) =>
  inModule("scripts/gpu/lib/check.mjs", "return m.missing(args[0], args[1])", options, { ...HOST, ...host }) as {
    readonly code: string;
    readonly message: string;
  } | null;

test.each([
  [{}, "no GPU", { gpu: null }, "ZO2_ERR_DEVICE", "no NVIDIA GPU is visible here"],
  [{}, "an old one", { gpu: { name: "T4", compute_cap: "7.5" } }, "ZO2_ERR_DEVICE", "T4 has compute capability 7.5"],
  [{ buildOnly: "7.5" }, "an old one, to build for", { gpu: null }, "ZO2_ERR_DEVICE", "at least 8.0 is needed"],
  [{}, "no compiler", { nvcc: false }, "ZO2_ERR_ADDON", "nvcc cannot be run"],
  [{ dry: true }, "no cmake", { cmake: false }, "ZO2_ERR_ADDON", "cmake cannot be run"],
  [{ dry: true }, "no npm install", { compiled: false }, "ZO2_ERR_ADDON", "is not there"],
  [{}, "a full disk", { diskBytes: 2 ** 30 }, "ZO2_ERR_IO", "1.0 GiB of disk are free"],
])("%j on a host with %s: a code, and two lines", (options, _what, host, code, text) => {
  const found = missing(options, host);
  expect(found?.code).toBe(code);
  expect(found?.message).toContain(text);
  expect(found?.message.split("\n")).toHaveLength(2);
});

test.each([
  [{}, {}],
  [{ dry: true }, { gpu: null, nvcc: false, diskBytes: 0 }],
  [{ buildOnly: "9.0" }, { gpu: null }],
])("%j on a host with %j: nothing is missing", (options, host) => {
  expect(missing(options, host)).toBeNull();
});

test.each([
  [["4"], "there is no stage 4; there are 1, 2 and 3"],
  [["1", "--build-only", "90"], "--build-only 90 is no compute capability, such as 9.0"],
  [["--dry", "--limit", "soon"], "--limit soon is no number of seconds"],
  [["--wet"], "--wet"],
])("%j: exit status 2, and what is wrong", (args, text) => {
  const ended = gpu(...args);
  expect(ended).toMatchObject({ status: 2 });
  expect(ended.err).toContain(text);
});

test("a stage that has no time left fails by name, and leaves its report and the file", () => {
  const ended = gpu("1", "--dry", "--limit", "0.001", "--build-dir", join(out, "build"));
  // Where the package was not built, that is what is missing.
  if (ended.status === 3) return expect(ended.err).toContain("npm install");
  expect(ended.status).toBe(1);
  expect(ended.out).toContain("FAIL build");
  expect(ended.out).toMatch(/^gpu: 1 passed, 1 failed$/m);
  const read = (name: string) => JSON.parse(readFileSync(join(out, name), "utf8"));
  expect(read("1-test.json")).toMatchObject({ stage: "1-test", emulated: true, ok: false, limitSeconds: 0.001 });
  expect(read("zo2-gpu.json").stages[0].steps[0]).toMatchObject({ problem: "the stage's time is used up" });
  return expect(existsSync(join(out, "1-test.log"))).toBe(true);
});

const LINE = { measured: 1, predicted: 1, basis: "b", goal: null, met: null };
const problems = (result: object) => inModule("scripts/gpu/lib/report.mjs", "return m.problemsOf(args[0])", result);
const KERNELS = [
  ...["none", "bias", "bias, relu", "bias, fp32 residual"].map((epilogue) => `fc1, fp16, ${epilogue}, chosen`),
  "fc1, odd rows, x",
  "attention, x, beside flash",
  "fc1, beside cuBLAS",
];
const result = (names: readonly string[], skipped: object[]) => ({
  ...{ stage: "2-kernels", steps: [{ ok: true }], rows: names.map((name) => ({ name, ...LINE })), skipped },
});

test("a report is whole when every kind of row is there, or skipped with a reason", () => {
  expect(problems(result(KERNELS, [{ name: "the profiler, ncu", reason: "not installed" }]))).toEqual([]);
  expect(problems(result(KERNELS, []))).toEqual([expect.stringContaining("no skip says why")]);
  expect(problems(result(KERNELS, [{ name: "the profiler, ncu", reason: "" }]))).toEqual([
    "the profiler, ncu: it is skipped without a reason",
  ]);
  // What failed says so itself.
  expect(problems({ ...result([], []), steps: [{ ok: false }] })).toEqual([]);
});

test("a row without a measurement, a prediction or a judgement is reported by name", () => {
  const whole = result(KERNELS, [{ name: "the profiler, ncu", reason: "not installed" }]);
  const bad = [
    { ...LINE, name: "a", measured: null },
    { ...LINE, name: "b", predicted: null },
    { ...LINE, name: "c", basis: "" },
    { ...LINE, name: "d", goal: { of: "predicted", least: 1 } },
  ];
  expect(problems({ ...whole, rows: [...whole.rows, ...bad] })).toEqual([
    expect.stringMatching(/^a: it has no measurement/),
    expect.stringMatching(/^b: it has no prediction/),
    expect.stringMatching(/^c: it has no prediction/),
    expect.stringMatching(/^d: its goal was not judged/),
  ]);
});

test("what a GPU alone can prove comes first, what breaks it last; what it has to skip is noted", () => {
  const order = inModule(
    "scripts/gpu/1-test.mjs",
    "return m.inOrder(args[0]).map((test) => test.name)",
    ["failures_test@cuda", "ops_test@cuda", "cuda_attention_test", "cuda_linear_sm90_test"].map((name) => ({ name })),
  );
  expect(order).toEqual(["cuda_linear_sm90_test", "cuda_attention_test", "ops_test@cuda", "failures_test@cuda"]);
  const body = "const skipped = []; return { left: m.unexpected(args[0], (...skip) => skipped.push(skip)), skipped };";
  const failures = ["test/native/model/race.test.ts: x: pending", "test/native/handles.test.ts: y: pending"];
  expect(inModule("scripts/gpu/1-test.mjs", body, failures)).toEqual({
    left: [failures[1]],
    skipped: [[failures[0], "waits are left out for the race detector alone"]],
  });
});
