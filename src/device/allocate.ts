import type { Buffer, Device } from "zo2/native";
import { formatBytes } from "../base/bytes.js";
import { isZo2Error, Zo2Error } from "../base/errors.js";

/** What memory is asked for, as the beginning of a sentence, and what to do where there is none, as its end. */
interface Use {
  readonly what: string;
  readonly advice: string;
}

const LESS_DEVICE = 'a smaller option "offload.deviceMemory"';
const SMALLER_BATCH = 'lower options "batchSize", "microBatchSize", "maxLength" or "maxTokens"';

export const USE = {
  resident: {
    what: "the weights that stay on the device need",
    advice: `choose option "offload.to" = "host", ${LESS_DEVICE}, or a narrower dtype as option "offload.wire"`,
  },
  host: {
    what: "the weights at rest need",
    advice:
      'choose a narrower dtype as option "offload.wire", or let them rest on disk (options "offload.hostMemory" and ' +
      '"offload.diskPath")',
  },
  control: {
    what: "the state of steps needs",
    advice: 'close what else uses the memory, or choose another option "device"',
  },
  plan: {
    what: "the plan needs",
    advice: `${SMALLER_BATCH}, or choose ${LESS_DEVICE}`,
  },
  staging: {
    what: "one unit of the weights, on its way, needs",
    advice: 'lower option "offload.unitBytes", or close what else uses host memory',
  },
  cache: {
    what: "the keys and values need",
    advice: 'lower options "batchSize" or "maxNewTokens"',
  },
  noise: {
    what: "the noise of a test needs",
    advice: 'draw it (option "noise")',
  },
} as const satisfies Readonly<Record<string, Use>>;

/** @throws Zo2Error ZO2_ERR_OUT_OF_MEMORY with the bytes and the options that ask for less */
export async function allocate(device: Device, kind: "device" | "host", bytes: number, use: Use): Promise<Buffer> {
  try {
    return await device.createBuffer(kind, bytes);
  } catch (error) {
    throw withAdvice(error, use, ` ${formatBytes(bytes)} (${bytes} bytes) of ${kind} memory`);
  }
}

/** The error itself or, where the device was short of memory, one that says for what, and what to do. */
export function withAdvice(error: unknown, { what, advice }: Use, amount = " memory of the device"): unknown {
  if (error instanceof Zo2Error || !isZo2Error(error) || error.code !== "ZO2_ERR_OUT_OF_MEMORY") return error;
  return new Zo2Error("ZO2_ERR_OUT_OF_MEMORY", `${what}${amount}: ${error.message}; ${advice}`, { cause: error });
}
