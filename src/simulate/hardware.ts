/** What hardware does in a second, as far as a step's time follows from it. */
import type { FloatType } from "../base/dtype.js";
import type { Rate } from "./rate.js";

export type NoiseKind = "gaussian" | "rademacher";

export interface Hardware {
  readonly name: string;
  /** Where the figures come from. */
  readonly source: string;
  /** Bytes a second between host memory and the device, each way. */
  readonly upload: number;
  readonly offload: number;
  /** Bytes a second between host memory and a disk, each way. */
  readonly disk: { readonly read: number; readonly write: number };
  /** Bytes a second within the device. */
  readonly memory: number;
  /** Operations a second of matrix products whose operands have this dtype, by rows; of attention, by keys seen. */
  readonly flops: Readonly<Record<FloatType, Rate>>;
  readonly attention: Readonly<Record<FloatType, Rate>>;
  /** Elements a second that noise is drawn for and that are updated or perturbed with it; by wire dtype, or of all. */
  readonly noise: Readonly<Record<NoiseKind, number | Readonly<Record<FloatType, number>>>>;
  /** Seconds that a command takes besides, and each op of a unit's program. */
  readonly command: number;
  readonly op: number;
  /** Whether each lane has hardware of its own; on a CPU all share the cores. */
  readonly overlaps: boolean;
  /** Threads of those cores: a transfer works on one of them, all else on all. 1 where lanes share nothing. */
  readonly threads: number;
  /** Device memory, less what a program and a driver take. Bytes. */
  readonly deviceBytes: number;
}

/** Of a published figure, what good programs reach: products, copies on the device, transfers with their headers. */
const REACHED = { matrix: 0.7, memory: 0.9, link: 0.9, attention: 0.35 };
/** Instructions of a multiprocessor's cycle, and those for one element: see docs/kernels.md. */
const INSTRUCTIONS = { perCycle: 128 * 0.9, gaussian: 720 / 8, rademacher: 400 / 8 };
const COMMAND_SECONDS = 5e-6;
/** A CUDA context, the driver's own, and fragments. */
export const RESERVE_BYTES = 1e9;

interface Gpu {
  readonly name: string;
  /** What a driver calls it. */
  readonly title: RegExp;
  /** Data sheets: tensor-core operations a second in 16 bits without sparsity, bytes a second, bytes of memory. */
  readonly flops16: number;
  /** Those of fp32, without tensor cores. */
  readonly flops32: number;
  readonly bytesPerSecond: number;
  readonly memoryBytes: number;
  readonly multiprocessors: number;
  readonly hertz: number;
  /** Of PCI Express, one way. Bytes a second. */
  readonly link: number;
  readonly source: string;
}

/** 16 lanes with 128b/130b coding. */
const PCIE_4 = 31.5e9;
const PCIE_5 = 63e9;

const GPUS: Readonly<Record<string, Gpu>> = {
  "rtx-3090": {
    name: "RTX 3090",
    title: /RTX 3090(?! Ti)/,
    ...{
      flops16: 71e12,
      flops32: 35.6e12,
      bytesPerSecond: 936e9,
      memoryBytes: 24 * 2 ** 30,
      multiprocessors: 82,
      hertz: 1.695e9,
    },
    ...{ link: PCIE_4, source: "NVIDIA GA102 whitepaper" },
  },
  "rtx-4090": {
    name: "RTX 4090",
    title: /RTX 4090(?! D)/,
    ...{
      flops16: 165e12,
      flops32: 82.6e12,
      bytesPerSecond: 1008e9,
      memoryBytes: 24 * 2 ** 30,
      multiprocessors: 128,
      hertz: 2.52e9,
    },
    ...{ link: PCIE_4, source: "NVIDIA Ada whitepaper" },
  },
  "a100-80gb": {
    name: "A100 80GB",
    title: /A100.*80GB/,
    ...{
      flops16: 312e12,
      flops32: 19.5e12,
      bytesPerSecond: 2.039e12,
      memoryBytes: 80 * 2 ** 30,
      multiprocessors: 108,
      hertz: 1.41e9,
    },
    ...{ link: PCIE_4, source: "NVIDIA A100 data sheet" },
  },
  h100: {
    name: "H100 SXM",
    title: /H100 80GB HBM3/,
    ...{
      flops16: 989e12,
      flops32: 67e12,
      bytesPerSecond: 3.35e12,
      memoryBytes: 80 * 2 ** 30,
      multiprocessors: 132,
      hertz: 1.83e9,
    },
    ...{ link: PCIE_5, source: "NVIDIA H100 data sheet" },
  },
  h200: {
    name: "H200",
    title: /\bH200\b/,
    ...{
      flops16: 989e12,
      flops32: 67e12,
      bytesPerSecond: 4.8e12,
      memoryBytes: 141e9,
      multiprocessors: 132,
      hertz: 1.83e9,
    },
    ...{ link: PCIE_5, source: "NVIDIA H200 data sheet" },
  },
};

/**
 * Samsung's data sheet of the 990 PRO, 2 TB (sequential read and write, PCI Express 4.0 x4): a fast disk of the kind
 * that such hosts have, whatever their GPU.
 */
const NVME = { read: 7.45e9, write: 6.9e9, source: "Samsung 990 PRO data sheet for the disk" };

/** That disk as far as programs reach it. No disk is measured. */
export const FAST_DISK: Hardware["disk"] = { read: NVME.read * REACHED.link, write: NVME.write * REACHED.link };

/** Names of hardware that `zo2 plan` knows by its data sheet. */
export const HARDWARE_NAMES = Object.keys(GPUS);

/** The name of the machine that is asked: what it does is measured. */
export const THIS_MACHINE = "this";

/** By the name that a driver gives the device; undefined for one that is not known. */
export function hardwareOf(device: string): Hardware | undefined {
  const known = Object.entries(GPUS).find(([, { title }]) => title.test(device));
  return known === undefined ? undefined : hardwareNamed(known[0]);
}

/** Figures of a data sheet, as far as programs reach them; undefined for a name that is not known. */
export function hardwareNamed(name: string): Hardware | undefined {
  const gpu = Object.hasOwn(GPUS, name) ? GPUS[name] : undefined;
  if (gpu === undefined) return undefined;
  const issued = gpu.multiprocessors * gpu.hertz * INSTRUCTIONS.perCycle;
  const link = gpu.link * REACHED.link;
  const flops16 = gpu.flops16 * REACHED.matrix;
  const flops32 = gpu.flops32 * REACHED.matrix;
  const attention16 = gpu.flops16 * REACHED.attention;
  return {
    name: gpu.name,
    source:
      `${gpu.source}, ${REACHED.matrix * 100} % of its operations, ${REACHED.memory * 100} % of its bandwidths; ` +
      NVME.source,
    ...{ upload: link, offload: link, memory: gpu.bytesPerSecond * REACHED.memory },
    disk: FAST_DISK,
    flops: { fp32: flops32, fp16: flops16, bf16: flops16 },
    attention: { fp32: gpu.flops32 * REACHED.attention, fp16: attention16, bf16: attention16 },
    noise: { gaussian: issued / INSTRUCTIONS.gaussian, rademacher: issued / INSTRUCTIONS.rademacher },
    // Kernels of one program wait behind one another on the device already.
    ...{ command: COMMAND_SECONDS, op: 0, overlaps: true, threads: 1 },
    deviceBytes: gpu.memoryBytes - RESERVE_BYTES,
  };
}
