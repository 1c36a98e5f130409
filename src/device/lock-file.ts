import { loadNative } from "zo2/native";

/**
 * Whether the open file is this process's alone now. The lock goes when the file is closed, however the process ends.
 * @throws Zo2Error ZO2_ERR_ADDON, ZO2_ERR_IO where the file system has no locks
 */
export function lockFile(descriptor: number): boolean {
  return loadNative().lockFile(descriptor);
}
