/** How far the download of a snapshot has come. All numbers are bytes; what the cache held already counts as done. */
export interface DownloadProgress {
  readonly file: string;
  readonly fileBytes: number;
  readonly done: number;
  /** Of all files of the snapshot. */
  readonly totalBytes: number;
  readonly totalDone: number;
}

/** A listener hears of a file when it begins, when it ends and about this often in between. */
const STEP_BYTES = 2 ** 20;

/** Adds up the files of one snapshot. */
export class Meter {
  private totalDone = 0;

  constructor(
    private readonly totalBytes: number,
    private readonly listener: ((p: DownloadProgress) => void) | undefined,
  ) {}

  /** A function to call with the bytes that `file` has so far, which never become fewer. */
  file(file: string, fileBytes: number): (done: number) => void {
    let counted = 0;
    let told = -1;
    return (done) => {
      this.totalDone += done - counted;
      counted = done;
      if (done === told || (told !== -1 && done < fileBytes && done - told < STEP_BYTES)) return;
      told = done;
      this.listener?.({ file, fileBytes, done, totalBytes: this.totalBytes, totalDone: this.totalDone });
    };
  }
}
