import fs from "node:fs";
import path from "node:path";
import { openCheckpoint } from "../../../src/checkpoint/index.js";
import { packBatch, type PackedBatch } from "../../../src/data/index.js";
import { unpackPadded, type PaddedBatch } from "../../support/padded.js";
import { loadModel } from "../../../src/load.js";
import { loadedOf } from "../../../src/loaded.js";
import { METHODS, type MethodReport, reportOf } from "../../../src/method/index.js";
import type { Model } from "../../../src/model.js";
import type { ModelOptions } from "../../../src/config/model.js";
import type { Direction, StepRequest } from "../../../src/device/requests.js";
import type { Session } from "../../../src/device/session.js";
import type { Tier } from "../../../src/memory/residence.js";
import type { Pass } from "../../../src/schedule/facts.js";
import { DEVICE } from "../device.js";

export const fixtures = path.join(__dirname, "../../fixtures");

export function readJson(...parts: string[]) {
  return JSON.parse(fs.readFileSync(path.join(fixtures, ...parts), "utf8"));
}

export async function withModel<T>(dir: string, options: ModelOptions, body: (model: Model) => Promise<T>): Promise<T> {
  // What fits would be resident, and nothing would move.
  const offload = { to: "host", ...options.offload } as const;
  const model = await loadModel(dir, { device: DEVICE, threads: 2, ...options, offload });
  try {
    const result = await body(model);
    // A test that was meant for a GPU must not pass on something else, or without a kernel.
    const { kind, launches } = model.deviceInfo();
    if (!kind.startsWith(options.device ?? DEVICE)) throw new Error(`the model is on a ${kind} device`);
    // A plan for more than one row was made for a batch.
    if ((sessionOf(model).plan?.options.capacity.rows ?? 0) > 1 && launches === 0)
      throw new Error("nothing was launched");
    return result;
  } finally {
    await model.dispose();
  }
}

/** Where the pass' key/value cache rests; undefined for a pass without one. */
export function cacheTier({ cache }: Pass): Tier | undefined {
  if (cache === null) return undefined;
  return cache.moves ? "host" : "device";
}

export function packed(batch: PaddedBatch): PackedBatch {
  return packBatch(unpackPadded(batch));
}

/** What runs the model's passes. */
export function sessionOf(model: Model): Session {
  return loadedOf(model).session;
}

/** A step of MeZO, as tests ask for it. */
export interface MezoStep extends Direction {
  readonly learningRate: number;
  readonly weightDecay: number;
  /** In the place of that of the losses. */
  readonly projectedGradient?: number;
}

const mezoOf = ({ eps }: Pick<Direction, "eps">) => METHODS["mezo-sgd"].step({ eps, directions: 1 });

export function mezo({ projectedGradient, ...step }: MezoStep): StepRequest {
  const coefficients = projectedGradient === undefined ? undefined : [projectedGradient];
  return { ...step, ...mezoOf(step), coefficients };
}

/** Takes one step of MeZO, and does not commit it. */
export async function takeStep(model: Model, batch: readonly PackedBatch[], step: MezoStep): Promise<MethodReport> {
  const { result } = await sessionOf(model).step(batch, mezo(step));
  return reportOf(mezoOf(step), await result);
}

/** Takes the given steps one after another, each committed, and returns what they came to. */
export async function takeSteps(
  model: Model,
  batches: readonly PackedBatch[],
  request: (step: number) => Omit<MezoStep, "step">,
): Promise<MethodReport[]> {
  const results: MethodReport[] = [];
  for (const [step, batch] of batches.entries()) {
    results.push(await takeStep(model, [batch], { step, ...request(step) }));
    sessionOf(model).commit();
  }
  return results;
}

/** Mean loss of one batch with the weights as they are, in fp64. */
export async function batchLoss(model: Model, batch: PackedBatch): Promise<number> {
  const [logprobs] = await sessionOf(model).forward([batch]);
  return -logprobs.reduce((sum, l) => sum + l, 0) / logprobs.length;
}

/** All weights, in the canonical order, bit for bit. */
export async function weightBits(model: Model): Promise<Uint32Array[]> {
  const bits: Uint32Array[] = [];
  for (const { name } of model.parameters) bits.push(new Uint32Array((await model.parameterValues(name)).buffer));
  return bits;
}

export function sameBits(a: readonly Uint32Array[], b: readonly Uint32Array[]): boolean {
  return (
    a.length === b.length && a.every((x, i) => Buffer.compare(Buffer.from(x.buffer), Buffer.from(b[i].buffer)) === 0)
  );
}

/** Reads one tensor of a safetensors file as numbers. */
export async function readTensors(
  dir: string,
  file: string,
): Promise<Map<string, { shape: readonly number[]; values: Float32Array | Int32Array | BigInt64Array }>> {
  const temp = fs.mkdtempSync(path.join(fs.realpathSync(require("node:os").tmpdir()), "zo2-"));
  fs.copyFileSync(path.join(dir, file), path.join(temp, "model.safetensors"));
  fs.writeFileSync(path.join(temp, "config.json"), "{}");
  const checkpoint = await openCheckpoint(temp);
  const tensors = new Map<string, { shape: readonly number[]; values: Float32Array | Int32Array | BigInt64Array }>();
  for (const entry of checkpoint.tensors.values()) {
    const bytes = new Uint8Array(entry.bytes);
    await checkpoint.read(entry, 0, bytes);
    const values =
      entry.dtype === "I64"
        ? new BigInt64Array(bytes.buffer)
        : entry.dtype === "I32"
          ? new Int32Array(bytes.buffer)
          : new Float32Array(bytes.buffer);
    tensors.set(entry.name, { shape: entry.shape, values });
  }
  await checkpoint.close();
  fs.rmSync(temp, { recursive: true });
  return tensors;
}

/**
 * The first cases, where an emulated device takes a second for what takes a CPU milliseconds; all of them where the
 * variable ZO2_TEST_ALL is set.
 */
export function some<T>(cases: readonly T[], few: number): readonly T[] {
  return DEVICE === "cuda" && process.env["ZO2_TEST_ALL"] === undefined ? cases.slice(0, few) : cases;
}
