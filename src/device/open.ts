import { type BackendInfo, type Device, type DeviceInfo, loadNative, nativeFile } from "zo2/native";
import { Zo2Error } from "../base/errors.js";

export type { DeviceInfo };

/**
 * Which device computes. `"auto"` is `"cuda"` where there is such a device and else `"cpu"`; `"cuda"` is `"cuda:0"`.
 */
export type DeviceName = "auto" | "cpu" | "cuda" | `cuda:${number}`;

/** Loads the addon. @throws Zo2Error ZO2_ERR_ADDON */
export function requireAddon(): void {
  loadNative();
}

/** How the addon was built, where it is, and what of it can be used here. @throws Zo2Error ZO2_ERR_ADDON */
export function nativeBuild(): {
  readonly build: string;
  readonly file: string;
  readonly backends: readonly BackendInfo[];
} {
  const native = loadNative();
  return { build: native.build, file: nativeFile() ?? "", backends: native.backends() };
}

export interface DeviceChoice {
  readonly device: DeviceName;
  readonly threads?: number | undefined;
  /** Bytes; absent: what the device has. */
  readonly deviceMemory?: number | undefined;
  readonly delayMicroseconds?: number | undefined;
  readonly delaySeed?: number | undefined;
  readonly genericKernels?: boolean | undefined;
  readonly refuseAllocation?: number | undefined;
  /** CUDA: matrix products with an fp32 weight may round their operands to tf32. */
  readonly tf32?: boolean | undefined;
}

/** Opens a device. Rejects with ZO2_ERR_DEVICE, or ZO2_ERR_ADDON. */
export async function openDevice(choice: DeviceChoice): Promise<Device> {
  const addon = loadNative();
  const backends = addon.backends();
  const usable = (kind: string) => backends.some((b) => b.kind === kind && b.devices > 0);
  const kind = choice.device === "cpu" || (choice.device === "auto" && !usable("cuda")) ? "cpu" : "cuda";
  const ordinal = Number(choice.device.split(":")[1] ?? 0);
  if (!usable(kind)) {
    const reason = backends.find((b) => b.kind === kind)?.reason ?? "it was not built into the addon";
    throw new Zo2Error(
      "ZO2_ERR_DEVICE",
      `there is no ${kind} device: ${reason}; choose "cpu" as option "device", or see \`zo2 info\``,
    );
  }
  return addon.openDevice(kind, {
    ordinal,
    threads: choice.threads ?? 0,
    memoryLimit: choice.deviceMemory ?? 0,
    delayMicroseconds: choice.delayMicroseconds ?? 0,
    delaySeed: choice.delaySeed ?? 0,
    genericKernels: choice.genericKernels ?? false,
    refuseAllocation: choice.refuseAllocation ?? 0,
    tf32: choice.tf32 ?? false,
  });
}
