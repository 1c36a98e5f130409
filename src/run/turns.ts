/** Uses of one model that want its weights to be certain ones: one after another. */
export class Turns {
  private last: Promise<unknown> = Promise.resolve();

  /** Calls `body` when the calls before have ended, however they did. */
  take<T>(body: () => Promise<T>): Promise<T> {
    const result = this.last.then(body);
    this.last = result.catch(() => undefined);
    return result;
  }
}
