/** Which blocks of code an execution reached, as V8 itself counts them. */
import { Session } from "node:inspector";

/** Counts fall into these buckets: a loop that runs 5 times is no news after one that ran 6 times. */
const bucketOf = (count) => (count < 4 ? count : 32 - Math.clz32(count));

export class Coverage {
  #session = new Session();
  #seen = new Set();
  #blocks = new Set();
  #isWatched;

  /** @param {(url: string) => boolean} isWatched which scripts count */
  constructor(isWatched) {
    this.#isWatched = isWatched;
    this.#session.connect();
    this.#post("Profiler.enable");
    this.#post("Profiler.startPreciseCoverage", { callCount: true, detailed: true });
  }

  /** Blocks that were ever reached. */
  get blocks() {
    return this.#blocks.size;
  }

  /** Forgets what ran since the last call. */
  skip() {
    this.#post("Profiler.takePreciseCoverage");
  }

  /** How many blocks and counts of blocks since the last call are new. */
  take() {
    let news = 0;
    for (const script of this.#post("Profiler.takePreciseCoverage").result) {
      if (!this.#isWatched(script.url)) continue;
      for (const { ranges } of script.functions) {
        for (const { startOffset, endOffset, count } of ranges) {
          // V8 leaves a block out where its count is that of the block around it, so a block that did not run is
          // information too.
          const block = `${script.scriptId}:${startOffset}:${endOffset}`;
          const key = `${block}:${bucketOf(count)}`;
          if (this.#seen.has(key)) continue;
          this.#seen.add(key);
          if (count > 0) this.#blocks.add(block);
          news++;
        }
      }
    }
    return news;
  }

  /** A session of a thread's own inspector answers before `post` returns. */
  #post(method, parameters) {
    let answer;
    this.#session.post(method, parameters, (error, result) => {
      if (error !== null) throw new Error(`${method}: ${error.message}`);
      answer = result;
    });
    if (answer === undefined) throw new Error(`${method}: no answer`);
    return answer;
  }
}
