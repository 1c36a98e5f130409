import type { Journal } from "../journal/read.js";
import type { Loaded } from "../loaded.js";
import { readBase } from "./read-weights.js";
import { openReference, type RunReference } from "./reference.js";
import { type ReplayRunOptions, replayRun } from "./replay.js";
import type { Turns } from "./turns.js";
import { fingerprintOfUpdates, updatesOf } from "./updates.js";

export type SwitchOptions = Pick<ReplayRunOptions, "signal" | "onProgress">;

/** A run to be replayed, and what tells the weights that it makes. */
interface Wanted {
  readonly journal: Journal;
  readonly steps: number | undefined;
  readonly key: string;
}

/**
 * Many fine-tunes of one base on one model: uses take their turn, and each finds the weights that it asked for. Where
 * they are there already nothing is done; where the first of its runs are, only the others are replayed; else the base
 * is read again from its files.
 */
export class RunSwitch {
  /** The runs that have made the weights; null: something else has. */
  private keys: readonly string[] | null = null;
  /** Of the weights, when the runs had made them. */
  private revision = -1;

  constructor(private readonly turns: Turns) {}

  /** @throws Zo2Error ZO2_ERR_JOURNAL, ZO2_ERR_IO, ZO2_ERR_BUSY while a Trainer has the model; what `body` throws */
  use<T>(loaded: Loaded, runs: readonly RunReference[], body: () => Promise<T> | T, o: SwitchOptions): Promise<T> {
    return this.turns.take(async () => {
      await this.switchTo(loaded, await Promise.all(runs.map(wantedOf)), o);
      return body();
    });
  }

  private async switchTo(loaded: Loaded, wanted: readonly Wanted[], o: SwitchOptions): Promise<void> {
    const { session } = loaded;
    const release = session.reserve("model.withRuns");
    try {
      const now = this.standing(loaded);
      const stay = now?.every((key, i) => wanted[i]?.key === key) === true ? now.length : null;
      if (stay === null) {
        this.keys = null;
        await readBase(loaded, o.signal);
      }
      for (const { journal, steps } of wanted.slice(stay ?? 0)) {
        this.keys = null;
        await replayRun(loaded, journal, { ...o, steps });
      }
      this.keys = wanted.map(({ key }) => key);
      this.revision = session.revision;
    } finally {
      release();
    }
  }

  /** The runs that have made the weights as they are. */
  private standing({ session }: Loaded): readonly string[] | null {
    if (session.untouched) return [];
    return session.revision === this.revision ? this.keys : null;
  }
}

async function wantedOf(reference: RunReference): Promise<Wanted> {
  const { journal, steps } = await openReference(reference);
  return { journal, steps, key: await fingerprintOfUpdates(journal.header, updatesOf(journal, steps)) };
}
