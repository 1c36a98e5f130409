import { SingleBar } from "cli-progress";
import { drawBar } from "./bars.js";
import { lookOf, type OutputStream } from "./terminal.js";
import { formatBytes } from "./units.js";

/** How far the download of a model has come; bytes. */
export interface DownloadState {
  readonly file: string;
  readonly fileBytes: number;
  /** Of the file. */
  readonly done: number;
  /** Of all files. */
  readonly totalBytes: number;
  readonly totalDone: number;
}

/** Shows a download: a bar in a terminal, a plain line for every file elsewhere. */
export class DownloadView implements Disposable {
  private readonly stream: OutputStream;
  private bar: SingleBar | undefined;
  private finished = "";

  constructor(stream: OutputStream) {
    this.stream = stream;
  }

  show(state: DownloadState): void {
    if (this.stream.isTTY === true) {
      this.bar ??= this.startBar(state.totalBytes);
      this.bar.setTotal(state.totalBytes);
      this.bar.update(state.totalDone, { file: state.file });
      return;
    }
    if (state.done < state.fileBytes || state.file === this.finished) return;
    this.finished = state.file;
    this.stream.write(
      `downloaded ${state.file} (${formatBytes(state.fileBytes)}; ${formatBytes(state.totalDone)} of ` +
        `${formatBytes(state.totalBytes)})\n`,
    );
  }

  private startBar(total: number): SingleBar {
    const look = lookOf(this.stream);
    const bar = new SingleBar({
      stream: this.stream as NodeJS.WritableStream,
      // Signals are the command line's.
      gracefulExit: false,
      hideCursor: true,
      clearOnComplete: true,
      format: (_, params, payload: { file?: string }) =>
        `downloading ${drawBar(params.progress, 30, look.unicode)} ${formatBytes(params.value)} of ` +
        `${formatBytes(params.total)}  ${payload.file ?? ""}`,
    });
    bar.start(total, 0, {});
    return bar;
  }

  [Symbol.dispose](): void {
    this.bar?.stop();
  }
}
