import { Hasher } from "../base/hash.js";
import type { Parameter } from "../ops/parameter.js";

/** Fingerprints of tensors, taken while their slices are read in ascending order. */
export class TensorHashes {
  private readonly open = new Map<Parameter, { readonly hasher: Hasher; next: number }>();
  private readonly done = new Map<Parameter, string>();

  /** @param bytes the stored ones of elements `first` .. `first` + `count` - 1. */
  async add(parameter: Parameter, first: number, count: number, bytes: Uint8Array): Promise<void> {
    const state = this.open.get(parameter) ?? { hasher: await Hasher.create(), next: 0 };
    this.open.set(parameter, state);
    if (first !== state.next) throw new Error(`${parameter.name}: element ${first} is read before ${state.next}`);
    state.hasher.update(bytes);
    state.next += count;
    if (state.next < parameter.count) return;
    this.done.set(parameter, state.hasher.digest());
    this.open.delete(parameter);
  }

  finish(): ReadonlyMap<Parameter, string> {
    const [unread] = this.open.keys();
    if (unread !== undefined) throw new Error(`${unread.name} was not read to its end`);
    return this.done;
  }
}
