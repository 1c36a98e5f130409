import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { measureHardware, type MeasureSizes } from "../../src/measure/measure.js";
import { hardwareFile, thisMachine } from "../../src/measure/this-machine.js";
import type { Hardware } from "../../src/simulate/hardware.js";
import { DEVICE as device } from "./device.js";

const shape = { layers: 1, hidden: 32, heads: 2, ffn: 64, vocab: 64, positions: 64 };
const sizes: MeasureSizes = {
  ...{ model: shape, tiny: { ...shape, hidden: 16 }, repeats: 2 },
  batches: [
    { microBatches: [1], length: 5 },
    { microBatches: [2], length: 17 },
  ],
};

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "zo2-measure-"));
});
afterEach(() => rm(dir, { recursive: true, force: true }));

function expectFigures({ upload, offload, memory, flops, attention, noise, command, deviceBytes }: Hardware): void {
  for (const figure of [upload, offload, memory, deviceBytes, command]) expect(figure).toBeGreaterThan(0);
  for (const rates of [flops, attention])
    for (const rate of Object.values(rates))
      for (const [size, perSecond] of rate as readonly (readonly [number, number])[])
        expect(size > 0 && perSecond > 0 && Number.isFinite(perSecond)).toBe(true);
  // By rows: those of one sequence and of two; by keys: half of either length.
  expect((flops.fp32 as [number, number][]).map(([rows]) => rows)).toEqual([4, 32]);
  expect((attention.bf16 as [number, number][]).map(([keys]) => keys)).toEqual([2.5, 8.5]);
  for (const draws of Object.values(noise)) expect(Object.keys(draws)).toEqual(["fp32", "fp16", "bf16"]);
}

test("a device is measured: every figure is there, and each step leaves time for others", async () => {
  const steps: number[] = [];
  const hardware = await measureHardware(
    { device },
    {
      sizes,
      between(seconds) {
        steps.push(seconds);
        return Promise.resolve();
      },
    },
  );
  expectFigures(hardware);
  // Three dtypes; each batch, and the first with other noise, one time more than is counted.
  expect(steps).toHaveLength(3 * 3 * (sizes.repeats + 1));
});

// An emulated device takes minutes for so many steps, and the file knows nothing of devices.
const onCpu = device === "cpu" ? test : test.skip;

onCpu("figures are kept for device, threads and build, and measured again where they are damaged", async () => {
  const file = join(dir, "a", "hardware.json");
  const measured: string[] = [];
  const ask = (anew = false, threads = 2) =>
    thisMachine({ device, threads }, { sizes, file, anew, onMeasure: (name) => measured.push(name) });
  const first = await ask();
  expectFigures(first);
  expect(await ask()).toEqual(first);
  expect(measured).toHaveLength(1);
  await ask(true);
  expect(measured).toHaveLength(2);
  const text = await readFile(file, "utf8");
  const { machines } = JSON.parse(text) as { machines: { key: string; hardware: { upload: unknown } }[] };
  expect(machines).toHaveLength(1);
  for (const damaged of [text.slice(0, 100), "", "[]", text.replace(/"upload": [\d.e+]+/, '"upload": -1')]) {
    await writeFile(file, damaged);
    expectFigures(await ask());
  }
  expect(measured).toHaveLength(6);
  // Other machines that share the home keep theirs.
  await writeFile(file, JSON.stringify({ machines: [{ ...machines[0], key: "another" }] }));
  await ask();
  expect((JSON.parse(await readFile(file, "utf8")) as typeof JSON & { machines: unknown[] }).machines).toHaveLength(2);
});

onCpu("a home that cannot be written to is no reason to give no answer", async () => {
  await writeFile(join(dir, "file"), "");
  expectFigures(await thisMachine({ device }, { sizes, file: join(dir, "file", "hardware.json") }));
});

test("a measurement that is stopped says so, and leaves no device open", async () => {
  const abort = new AbortController();
  const between = () => Promise.resolve(abort.abort());
  await expect(measureHardware({ device }, { sizes, signal: abort.signal, between })).rejects.toMatchObject({
    code: "ZO2_ERR_ABORTED",
  });
});

test("the file lies in the user's cache folder", () => {
  const before = process.env["XDG_CACHE_HOME"];
  try {
    process.env["XDG_CACHE_HOME"] = "/caches";
    expect(hardwareFile()).toBe("/caches/zo2/hardware.json");
    // As the specification of those folders has it, a relative one is none.
    process.env["XDG_CACHE_HOME"] = "caches";
    expect(hardwareFile()).toMatch(/\.cache\/zo2\/hardware\.json$/);
  } finally {
    if (before === undefined) delete process.env["XDG_CACHE_HOME"];
    else process.env["XDG_CACHE_HOME"] = before;
  }
});
