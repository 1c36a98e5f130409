/** How far a build is, from what ninja and make print. */
import process from "node:process";

const QUIET_MS = 15_000;

/** `[12/69] Building CXX object cpu/CMakeFiles/zo2_cpu.dir/backend.cc.o`, or `[ 12%] Building ...` */
export function stepOf(line) {
  const [, left, right, percent, what = ""] = /^\[\s*(?:(\d+)\/(\d+)|(\d+)%)\]\s*(.*)$/.exec(line) ?? [];
  if (left === undefined && percent === undefined) return undefined;
  const [, file] = /Building \w+ object (\S+?)\.o\b/.exec(what) ?? [];
  return {
    done: percent === undefined ? Number(left) / Number(right) : Number(percent) / 100,
    count: percent === undefined ? `${left} of ${right}` : `${percent} %`,
    file: file?.replace(/CMakeFiles\/\w+\.dir\//, ""),
  };
}

const clock = (ms) => `${Math.floor(ms / 60_000)}:${String(Math.floor((ms % 60_000) / 1000)).padStart(2, "0")}`;

/** The line of a build's progress after `ms` milliseconds. */
export function progressLine({ done, count, file }, ms) {
  const left = done >= 0.1 && done < 1 ? `, about ${clock((ms * (1 - done)) / done)} left` : "";
  return `zo2: compiling ${count}, ${clock(ms)}${left}${file === undefined ? "" : `: ${file}`}`;
}

/** Shows the progress of a build: one line that is drawn again in a terminal, elsewhere one every now and then. */
export class Progress {
  constructor(stream = process.stdout, { quiet = false } = {}) {
    this.stream = stream;
    this.quiet = quiet;
    this.begin = Date.now();
    this.shown = Date.now();
    this.drawn = false;
  }

  /** Takes a line of the build. */
  take(line) {
    const step = stepOf(line);
    if (step === undefined || this.quiet) return;
    const text = progressLine(step, Date.now() - this.begin);
    if (this.stream.isTTY) {
      this.stream.write(`\r\u001b[K${text.slice(0, (this.stream.columns ?? 80) - 1)}`);
      this.drawn = true;
    } else if (Date.now() - this.shown >= QUIET_MS) {
      this.stream.write(`${text}\n`);
      this.shown = Date.now();
    }
  }

  /** Leaves the terminal as it was. */
  end() {
    if (this.drawn) this.stream.write("\r\u001b[K");
    this.drawn = false;
  }
}
