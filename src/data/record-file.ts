import { open, type FileHandle } from "node:fs/promises";
import { Zo2Error } from "../base/errors.js";
import { messageOf } from "../base/guards.js";
import { LineFile } from "./line-file.js";
import { isParquet, ParquetFile } from "./parquet-file.js";
import type { RecordFile } from "./records.js";

/** Opens JSON Lines, or Parquet, which is told by its first bytes or its name. @throws Zo2Error ZO2_ERR_IO */
export async function openRecordFile(path: string, maxLineBytes?: number): Promise<RecordFile> {
  if (path === "-")
    throw new Zo2Error(
      "ZO2_ERR_IO",
      "standard input can be read only once, and a data set is read in every epoch; save it to a file first",
    );
  let file: FileHandle;
  try {
    file = await open(path, "r");
  } catch (error) {
    throw new Zo2Error("ZO2_ERR_IO", `${path}: cannot be read: ${messageOf(error)}`, { cause: error });
  }
  try {
    const stat = await file.stat();
    if (!stat.isFile()) {
      throw new Zo2Error(
        "ZO2_ERR_IO",
        `${path}: not a regular file, and a data set is read more than once; save it to a file first`,
      );
    }
    return (await isParquet(path, file))
      ? await ParquetFile.open(path, file, stat.size)
      : new LineFile(path, file, stat.size, maxLineBytes);
  } catch (error) {
    await file.close();
    throw error;
  }
}
