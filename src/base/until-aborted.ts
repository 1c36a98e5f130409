import { Zo2Error } from "./errors.js";

/**
 * `lines` until `signal`, even while the next one is awaited: standard input, say, may never bring it.
 * @param work what is stopped, for the message: "scoring"
 * @throws Zo2Error `ZO2_ERR_ABORTED`
 */
export async function* untilAborted<T>(
  lines: AsyncGenerator<T, void, undefined>,
  signal: AbortSignal,
  work: string,
): AsyncGenerator<T, void, undefined> {
  let stop: () => void = () => undefined;
  // One for each line: a promise that outlives them all would hold a reaction for every one.
  const aborted = () =>
    new Promise<"aborted">((resolve) => {
      stop = () => resolve("aborted");
    });
  const listener = () => stop();
  signal.addEventListener("abort", listener, { once: true });
  try {
    for (let count = 0; ; count++) {
      const next = signal.aborted ? "aborted" : await Promise.race([lines.next(), aborted()]);
      if (next === "aborted")
        throw new Zo2Error("ZO2_ERR_ABORTED", `${work} was stopped after reading ${count} lines`, {
          cause: signal.reason,
        });
      if (next.done === true) return;
      yield next.value;
    }
  } finally {
    signal.removeEventListener("abort", listener);
    // Not awaited: a read that waits for standard input would hold it.
    lines.return().catch(() => undefined);
  }
}
