/** What a stream can show. */
export interface Look {
  /** Columns that a line may take. */
  readonly width: number;
  /** Whether block elements and the like can be shown. */
  readonly unicode: boolean;
  /** Whether colour may be used. */
  readonly color: boolean;
}

/** The parts of an output stream that the reports use. */
export interface OutputStream {
  write(text: string): unknown;
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
}

/** What `stream` can show, as far as the environment tells. `NO_COLOR` is honoured (no-color.org). */
export function lookOf(stream: OutputStream, env: Readonly<Record<string, string | undefined>> = process.env): Look {
  const tty = stream.isTTY === true;
  const locale = env["LC_ALL"] || env["LC_CTYPE"] || env["LANG"] || "";
  const dumb = env["TERM"] === "dumb";
  return {
    width: tty && stream.columns !== undefined && stream.columns > 0 ? stream.columns : 80,
    // The Linux console has the characters in its fonts only by luck.
    unicode: /utf-?8/i.test(locale) && !dumb && env["TERM"] !== "linux",
    color: tty && !dumb && (env["NO_COLOR"] ?? "") === "",
  };
}
