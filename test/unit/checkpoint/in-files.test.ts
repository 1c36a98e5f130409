/** What of a checkpoint is read in its files: which tensors, which bytes, and only while they are the same. */
import fs from "node:fs";
import path from "node:path";
import { asStored, storedPieces } from "../../../src/checkpoint/in-files.js";
import { openCheckpoint } from "../../../src/checkpoint/index.js";
import { checkTensors } from "../../../src/checkpoint/weights.js";
import type { TensorSlice, Unit } from "../../../src/memory/units.js";
import { numberParameters } from "../../../src/ops/parameter.js";
import { readTensorFiles, type Tensors, writeModelFolder } from "../../support/tensor-files.js";
import { cleanUp, failure, temporaryFolder } from "./support.js";

afterAll(cleanUp);

const parameters = numberParameters([
  { name: "gain", shape: [48], decay: false },
  { name: "bias", shape: [48], decay: false },
  { name: "table", shape: [10, 32], decay: true },
  { name: "weight", shape: [32, 48], decay: true },
]);
const [gain, bias, table, weight] = parameters;

async function checkpointOf(dtypes: Readonly<Record<string, "F32" | "F16" | "BF16">>) {
  const tensors: Tensors = new Map();
  for (const { name, shape, count } of parameters) {
    const dtype = dtypes[name] ?? "F16";
    const bytes = Buffer.alloc(count * (dtype === "F32" ? 4 : 2));
    for (let i = 0; i < bytes.length; i++) bytes[i] = (i * 31 + name.length * 7 + (i >> 8)) % 61;
    tensors.set(name, { dtype, shape, bytes });
  }
  const dir = writeModelFolder(path.join(await temporaryFolder(), "model"), {}, tensors);
  const checkpoint = await openCheckpoint(dir);
  return { dir, checkpoint, entries: checkTensors(checkpoint, parameters, [""]) };
}

test("a parameter counts where its dtype is that of the wire, and none does in blocks", async () => {
  const { checkpoint, entries } = await checkpointOf({ bias: "F32", table: "BF16" });
  const names = (set: ReadonlySet<{ name: string }>) => [...set].map(({ name }) => name);
  expect(names(asStored(entries, { wire: "fp16" }))).toEqual(["bias", "weight"]);
  expect(names(asStored(entries, { wire: "bf16" }))).toEqual(["bias", "table"]);
  expect(names(asStored(entries, { wire: "fp16", wires: new Map([[table, "bf16"]]) }))).toEqual([
    ...["bias", "table", "weight"],
  ]);
  for (const wire of ["int8", "e4m3", "fp32"] as const) expect(names(asStored(entries, { wire }))).toEqual(["bias"]);
  // In a file, but in another order.
  const turned = new Map([...entries].map(([p, entry]) => [p, { ...entry, strides: [1, 1] }]));
  expect(asStored(turned, { wire: "fp16" }).size).toBe(0);
  await checkpoint.close();
});

test("pieces are the bytes of their slices, and one where they lie side by side", async () => {
  const { dir, checkpoint, entries } = await checkpointOf({ bias: "F32", gain: "F32" });
  const slice = (of: object, rowStart: number, rowCount: number, width: number, wireOffset: number, own = true) =>
    ({
      parameter: of,
      rowStart,
      rowCount,
      count: rowCount * width,
      wireOffset,
      asStored: own,
      ...wireOf(of),
    }) as unknown;
  const wireOf = (of: object) => ({ wire: of === gain || of === bias ? "fp32" : "fp16" });
  const tensors = [
    [slice(gain, 0, 1, 48, 0), slice(bias, 0, 1, 48, 192), slice(weight, 8, 12, 48, 448)],
    [slice(weight, 20, 12, 48, 0), slice(table, 0, 0, 32, 1152), slice(bias, 0, 1, 48, 1152, false)],
    [slice(table, 3, 7, 32, 0)],
  ] as TensorSlice[][];
  const pieces = storedPieces(
    tensors.map((own) => ({ tensors: own }) as unknown as Unit),
    entries,
  );
  const files = pieces.map((own) =>
    own.map(({ path: file, fileOffset, bytes }) => fs.readFileSync(file).subarray(fileOffset, fileOffset + bytes)),
  );
  const stored = readTensorFiles(dir);
  const of = (name: string, from = 0, to?: number) => stored.get(name)?.bytes.subarray(from, to);
  const both = Buffer.concat([of("gain") ?? Buffer.alloc(0), of("bias") ?? Buffer.alloc(0)]);
  expect(files).toEqual([[both, of("weight", 8 * 96, 20 * 96)], [of("weight", 20 * 96)], [of("table", 3 * 64)]]);
  expect(pieces.map((own) => own.map(({ unitOffset }) => unitOffset))).toEqual([[0, 448], [0], [0]]);
  await checkpoint.close();
});

test.each([
  ["renamed over", (file: string) => fs.renameSync(`${file}.copy`, file)],
  ["taken away", (file: string) => fs.rmSync(file)],
  ["made longer", (file: string) => fs.appendFileSync(file, "x")],
])("a file that was %s since it was opened is told", async (_, change) => {
  const { dir, checkpoint } = await checkpointOf({});
  const file = path.join(dir, "model.safetensors");
  fs.cpSync(file, `${file}.copy`);
  await checkpoint.checkUnchanged();
  change(file);
  await expect(checkpoint.checkUnchanged()).rejects.toEqual(failure("ZO2_ERR_CHECKPOINT", file, "changed while"));
  await checkpoint.close();
});
