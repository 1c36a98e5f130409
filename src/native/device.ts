import { loadNative, type Device } from "zo2/native";
import { Zo2Error } from "../errors.js";

export interface DeviceChoice {
  readonly device: "auto" | "cpu" | "cuda";
  readonly threads?: number | undefined;
  /** Bytes; absent: what the device has. */
  readonly deviceMemory?: number | undefined;
  readonly delayMicroseconds?: number | undefined;
  readonly delaySeed?: number | undefined;
  readonly genericKernels?: boolean | undefined;
}

/** Opens a device; `auto` is the first CUDA device where there is one, else the CPU. Rejects with ZO2_ERR_DEVICE, or ZO2_ERR_ADDON. */
export async function openDevice(choice: DeviceChoice): Promise<Device> {
  const addon = loadNative();
  const backends = addon.backends();
  const usable = (kind: string) => backends.some((b) => b.kind === kind && b.devices > 0);
  const kind = choice.device === "auto" ? (usable("cuda") ? "cuda" : "cpu") : choice.device;
  if (!usable(kind)) {
    const reason = backends.find((b) => b.kind === kind)?.reason ?? "it was not built into the addon";
    throw new Zo2Error("ZO2_ERR_DEVICE", `there is no ${kind} device: ${reason}; use --device cpu, or see \`zo2 info\``);
  }
  return addon.openDevice(kind, {
    threads: choice.threads ?? 0,
    memoryLimit: choice.deviceMemory ?? 0,
    delayMicroseconds: choice.delayMicroseconds ?? 0,
    delaySeed: choice.delaySeed ?? 0,
    genericKernels: choice.genericKernels ?? false,
  });
}
