import type { Device } from "zo2/native";
import { Zo2Error } from "../../src/base/errors.js";

/**
 * A device that computes nothing: every event has fired, and memory is zeros.
 * @param memory most bytes of one buffer.
 */
export function idleDevice(kind = "idle", memory = Number.POSITIVE_INFINITY): Device {
  const buffer = (bytes: number) => ({
    bytes,
    ...{ read: () => undefined, write: () => undefined },
    dispose: () => undefined,
  });
  const handle = () => ({ dispose: () => undefined, done: () => Promise.resolve() });
  const make = { createStream: handle, createEvent: handle, createGate: handle };
  const device = {
    ...{ ...make, createLayout: handle, createProgram: handle, waits: 0, submit: () => undefined },
    createBuffer: async (_: string, bytes: number) => {
      if (bytes > memory) throw new Zo2Error("ZO2_ERR_OUT_OF_MEMORY", `${bytes} bytes`);
      return buffer(bytes);
    },
    info: () => ({ kind }),
    close: async () => undefined,
  };
  return device as unknown as Device;
}
