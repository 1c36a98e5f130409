import { Zo2Error } from "../base/errors.js";

/**
 * Ends a text that comes in pieces before the first stop string. What may be the beginning of one is held back until it
 * is known. Where several end at the same place, the one that begins first counts.
 */
export class TextStopper {
  private readonly stops: readonly string[];
  private readonly longest: number;
  private held = "";
  private found: string | undefined;

  /** Throws `ZO2_ERR_CONFIG` for an empty stop string. */
  constructor(stops: readonly string[]) {
    const empty = stops.indexOf("");
    if (empty >= 0)
      throw new Zo2Error("ZO2_ERR_CONFIG", `stop[${empty}] is empty; a stop string has at least 1 character`);
    this.stops = [...new Set(stops)];
    this.longest = Math.max(0, ...stops.map((stop) => stop.length));
  }

  /** The stop string that was met; then nothing more is given out. */
  get met(): string | undefined {
    return this.found;
  }

  /** What may be shown after one more piece of text. */
  push(piece: string): string {
    if (this.found !== undefined) return "";
    const text = this.held + piece;
    const found = this.firstIn(text);
    if (found !== undefined) {
      this.found = found.stop;
      this.held = "";
      return text.slice(0, found.at);
    }
    const safe = this.safeLength(text);
    this.held = text.slice(safe);
    return text.slice(0, safe);
  }

  /** What was held back, since no stop string came of it. */
  end(): string {
    const rest = this.found === undefined ? this.held : "";
    this.held = "";
    return rest;
  }

  /** The stop string that is complete first, so that the cut does not depend on how the text came in pieces. */
  private firstIn(text: string): { stop: string; at: number } | undefined {
    let best: { stop: string; at: number; end: number } | undefined;
    for (const stop of this.stops) {
      const at = text.indexOf(stop);
      if (at < 0) continue;
      const end = at + stop.length;
      if (best === undefined || end < best.end || (end === best.end && at < best.at)) best = { stop, at, end };
    }
    return best;
  }

  private safeLength(text: string): number {
    for (let at = Math.max(0, text.length - this.longest + 1); at < text.length; at++) {
      const tail = text.slice(at);
      if (this.stops.some((stop) => stop.startsWith(tail))) return at;
    }
    return text.length;
  }
}
