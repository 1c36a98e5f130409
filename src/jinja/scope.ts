import type { Value } from "./values.js";

/** Names of one block, over those of the blocks around it. */
export class Scope {
  private readonly own = new Map<string, Value>();

  constructor(private readonly around?: Scope) {}

  get(name: string): Value | undefined {
    for (let scope: Scope | undefined = this; scope !== undefined; scope = scope.around) {
      const value = scope.own.get(name);
      if (value !== undefined) return value;
    }
    return undefined;
  }

  set(name: string, value: Value): void {
    this.own.set(name, value);
  }
}
