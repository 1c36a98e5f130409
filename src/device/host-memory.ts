import os from "node:os";
import process from "node:process";
import { Zo2Error } from "../base/errors.js";

/**
 * Refuses weights that the machine, or what a control group leaves of it, could never hold: arenas are locked one after
 * another while weights are read, and the one that does not fit would come after minutes.
 *
 * @param bytes that rest in host memory
 * @throws Zo2Error ZO2_ERR_OUT_OF_MEMORY
 */
export function checkHostMemory(bytes: number, total = hostMemory()): void {
  if (bytes <= total) return;
  throw new Zo2Error(
    "ZO2_ERR_OUT_OF_MEMORY",
    `the weights at rest need ${bytes} bytes of host memory, and ${total} is all there is; choose a narrower ` +
      'dtype as option "offload.wire", a smaller model, or a host with more memory',
  );
}

/** Bytes that can be had without swapping, or that a control group leaves. Of runtimes, not all know of limits. */
export function freeHostMemory(): number {
  return (process as { availableMemory?: () => number }).availableMemory?.() ?? os.freemem();
}

/** Of other runtimes, not all know of limits. */
function hostMemory(): number {
  return Math.min(os.totalmem(), process.constrainedMemory?.() || Number.POSITIVE_INFINITY);
}
