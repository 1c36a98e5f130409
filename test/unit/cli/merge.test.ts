import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { zo2 } from "./fake.js";

const ADAPTER = resolve(__dirname, "../../fixtures/adapters/lora-opt");
let work: string;
beforeEach(() => {
  work = mkdtempSync(join(tmpdir(), "zo2-merge-"));
});
afterEach(() => rmSync(work, { recursive: true }));

const merge = (...more: string[]) => {
  const flags = ["--model", "m", "--adapter", ADAPTER, "--out", join(work, "out"), ...more];
  return zo2(["merge", ...flags]);
};

it("loads the base on the CPU, as it is stored, merges, saves and frees it", async () => {
  const { code, calls, out } = await merge();
  expect([code, out]).toEqual([0, `merged ${ADAPTER} into m and saved the model to ${join(work, "out")}\n`]);
  expect(calls.map(([name]) => name)).toEqual(["loadModel", "merge", "save", "dispose"]);
  expect(calls[0]?.[2]).toMatchObject({ device: "cpu", offload: {} });
  expect(calls[0]?.[2]).not.toHaveProperty("offload.wire");
  expect(calls[1]).toEqual(["merge", ADAPTER]);
});

it("sums in the dtype that is saved, and not in a narrower one first", async () => {
  expect((await merge("--save-dtype", "fp32")).named("loadModel")[0]?.[1]).toMatchObject({ offload: { wire: "fp32" } });
  const { named } = await merge("--save-dtype", "wire", "--offload", "disk", "--disk-path", work);
  expect(named("loadModel")[0]?.[1]).toMatchObject({ offload: { to: "disk", diskPath: work } });
  expect(named("loadModel")[0]?.[1]).not.toHaveProperty("offload.wire");
});

it("refuses to write over the base", async () => {
  const { code, err, calls } = await zo2(["merge", "--model", work, "--adapter", ADAPTER, "--out", work]);
  expect([code, calls]).toEqual([2, []]);
  expect(err).toMatch(/^ZO2_ERR_CONFIG: --out .* is the folder of the model itself/);
});
