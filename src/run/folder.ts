import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import { Zo2Error } from "../base/errors.js";
import { makeFolder, syncName } from "../base/files.js";
import { messageOf } from "../base/guards.js";
import { lockFile } from "../device/lock-file.js";
import { JOURNAL_FILE } from "../journal/read-run.js";

/** In the folder of a run. */
const LOCK_FILE = "lock";

/** Where a run keeps its journal; one process at a time may write it. */
export class RunFolder implements AsyncDisposable {
  private constructor(
    readonly dir: string,
    private readonly lock: FileHandle,
  ) {}

  /**
   * Makes the folder where there is none, and takes it. @throws Zo2Error ZO2_ERR_IO; ZO2_ERR_BUSY where another process
   * trains the run
   */
  static async take(dir: string): Promise<RunFolder> {
    let lock: FileHandle;
    try {
      await makeFolder(dir);
      // One that is there may be new too: its maker has said nothing of the disk.
      await syncName(dir);
      lock = await open(join(dir, LOCK_FILE), "a");
    } catch (error) {
      throw new Zo2Error("ZO2_ERR_IO", `${dir}: no run can be kept there: ${messageOf(error)}`, { cause: error });
    }
    try {
      if (lockFile(lock.fd)) return new RunFolder(dir, lock);
    } catch (error) {
      await lock.close();
      throw error;
    }
    await lock.close();
    throw new Zo2Error(
      "ZO2_ERR_BUSY",
      `${dir}: another process, or another trainer of this one, is writing this run; wait for it, or choose another ` +
        "folder",
    );
  }

  get journalPath(): string {
    return join(this.dir, JOURNAL_FILE);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.lock.close();
  }
}
