/** The figures of the machine that this runs on: measured once, and kept for the user. */
import { homedir } from "node:os";
import { isAbsolute, join } from "node:path";
import { z } from "zod";
import { FLOAT_TYPES } from "../base/dtype.js";
import { makeFolder, readJsonFile, replaceTextFile } from "../base/files.js";
import { type DeviceChoice, type DeviceInfo, nativeBuild, openDevice } from "../device/open.js";
import { packageVersion } from "../device/package-version.js";
import type { Hardware } from "../simulate/hardware.js";
import { measureHardware, type MeasureOptions } from "./measure.js";

export interface ThisMachineOptions extends MeasureOptions {
  /** Whether it is measured even where figures are kept. @default false */
  readonly anew?: boolean;
  /** Told before it is measured, which takes up to a minute. */
  readonly onMeasure?: ((device: string) => void) | undefined;
  /** Where figures are kept. @default `hardwareFile()` */
  readonly file?: string;
}

/** `zo2/hardware.json` in the user's cache folder: XDG_CACHE_HOME, or `~/.cache`. */
export function hardwareFile(): string {
  const { XDG_CACHE_HOME: folder = "" } = process.env;
  return join(isAbsolute(folder) ? folder : join(homedir(), ".cache"), "zo2", "hardware.json");
}

const positive = z.number().positive();
const rateSchema = z.union([
  positive,
  z
    .array(z.tuple([positive, positive]).readonly())
    .min(1)
    .readonly(),
]);
const byType = <T extends z.ZodType>(each: T) => z.record(z.enum(FLOAT_TYPES as ["fp32", "fp16", "bf16"]), each);
const drawsSchema = z.union([positive, byType(positive)]);

const hardwareSchema: z.ZodType<Hardware> = z.strictObject({
  ...{ name: z.string(), source: z.string(), upload: positive, offload: positive, memory: positive },
  disk: z.strictObject({ read: positive, write: positive }),
  ...{ flops: byType(rateSchema), attention: byType(rateSchema) },
  noise: z.strictObject({ gaussian: drawsSchema, rademacher: drawsSchema }),
  ...{ command: z.number().min(0), op: z.number().min(0), overlaps: z.boolean(), threads: z.int().min(1) },
  deviceBytes: positive,
});

/** One for each device, number of threads and build. */
const fileSchema = z.strictObject({
  machines: z.array(z.strictObject({ key: z.string(), hardware: hardwareSchema })),
});
type Kept = z.output<typeof fileSchema>["machines"];

/**
 * What is kept for this device, threads and build of zo2; where nothing is, or the file is damaged, it is measured.
 * @throws Zo2Error ZO2_ERR_ADDON, ZO2_ERR_DEVICE, ZO2_ERR_OUT_OF_MEMORY, ZO2_ERR_ABORTED
 */
export async function thisMachine(choice: DeviceChoice, o: ThisMachineOptions = {}): Promise<Hardware> {
  const file = o.file ?? hardwareFile();
  const { key, name } = await identify(choice);
  const kept = await readKept(file);
  const known = kept.find((machine) => machine.key === key);
  if (known !== undefined && o.anew !== true) return known.hardware;
  o.onMeasure?.(name);
  const hardware = await measureHardware(choice, o);
  await keep(file, [...kept.filter((machine) => machine.key !== key), { key, hardware }]);
  return hardware;
}

/** What is kept for an open device; undefined where nothing is. @param file as `ThisMachineOptions` */
export async function keptHardware(info: DeviceInfo, file = hardwareFile()): Promise<Hardware | undefined> {
  const key = keyOf(info);
  return (await readKept(file)).find((machine) => machine.key === key)?.hardware;
}

async function identify(choice: DeviceChoice): Promise<{ readonly key: string; readonly name: string }> {
  const device = await openDevice(choice);
  try {
    const info = device.info();
    return { key: keyOf(info), name: info.name };
  } finally {
    await device.close();
  }
}

/** What figures depend on. */
function keyOf({ kind, name, features, threads, memoryTotal }: DeviceInfo): string {
  const parts = [kind, name, features, `${threads} threads`, `${memoryTotal} bytes`];
  return [...parts, `zo2 ${packageVersion()}`, nativeBuild().build].join("; ");
}

/** Nothing where there is no file, or one that is no such file. */
async function readKept(file: string): Promise<Kept> {
  try {
    return fileSchema.parse(await readJsonFile(file, "ZO2_ERR_IO")).machines;
  } catch {
    return [];
  }
}

/** What cannot be kept is measured again another time. */
async function keep(file: string, machines: Kept): Promise<void> {
  try {
    await makeFolder(join(file, ".."));
    await replaceTextFile(file, `${JSON.stringify({ machines }, undefined, 1)}\n`);
  } catch {
    // A home that cannot be written is no reason to give no answer.
  }
}
