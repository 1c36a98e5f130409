import type { AdapterContents } from "../adapters/contents.js";
import { type Adapter, checkShape, valuesIn } from "../adapters/make.js";
import { readAdapter } from "../adapters/peft/read.js";
import { baseOf } from "../adapters/request.js";
import { type ValuesOf, ZEROS } from "../adapters/values.js";
import { Zo2Error } from "../base/errors.js";
import { Hasher } from "../base/hash.js";
import { openCheckpoint } from "../checkpoint/index.js";
import { checkTensors } from "../checkpoint/weights.js";
import type { Loaded } from "../loaded.js";
import { putAdapter } from "./read-weights.js";
import type { Turns } from "./turns.js";

/** Many adapters of one shape over one base: uses take their turn, and each finds the values that it asked for. */
export class AdapterSwitch {
  /** Of the values that were put there last; null: something else has. */
  private key: string | null = null;
  /** Of the weights, when they were. */
  private revision = -1;

  constructor(private readonly turns: Turns) {}

  /** @throws Zo2Error ZO2_ERR_INVALID_ARGUMENT, ZO2_ERR_BUSY; as `readAdapter`; what `body` throws */
  use<T>(
    loaded: Loaded,
    folder: string | null,
    body: () => Promise<T> | T,
    { signal }: { readonly signal?: AbortSignal },
  ): Promise<T> {
    return this.turns.take(async () => {
      const { session, adapter } = loaded;
      const release = session.reserve("model.withAdapter");
      try {
        if (adapter === null)
          throw new Zo2Error(
            "ZO2_ERR_INVALID_ARGUMENT",
            `${loaded.name} was loaded without an adapter, and has no place for one; load it with option "adapter"`,
          );
        await (folder === null ? this.clear(loaded, adapter, signal) : this.fill(loaded, adapter, folder, signal));
      } finally {
        release();
      }
      return body();
    });
  }

  private async fill(loaded: Loaded, adapter: Adapter, folder: string, signal: AbortSignal | undefined): Promise<void> {
    const contents = await readAdapter(folder, baseOf(loaded.definition, loaded.parameters));
    checkShape(folder, contents, adapter);
    await this.put(loaded, await keyOf(contents), { name: folder, values: valuesIn(contents) }, signal);
  }

  /** A LoRA of zeros adds nothing; what was trained besides is the base's again. */
  private async clear(loaded: Loaded, { shape }: Adapter, signal: AbortSignal | undefined): Promise<void> {
    if (shape.kind !== "lora")
      throw new Zo2Error(
        "ZO2_ERR_INVALID_ARGUMENT",
        `${loaded.name} has a prefix over it, which no values of its own leave out; load the model without it`,
      );
    const { dir, definition, parameters } = loaded;
    const also = parameters.filter(({ name }) => shape.alsoTrained.includes(name));
    if (also.length === 0) return this.put(loaded, "", { name: dir, values: () => ZEROS }, signal);
    await using checkpoint = await openCheckpoint(dir);
    const entries = checkTensors(checkpoint, also, definition.namePrefixes, definition.aliases);
    const values: ValuesOf = (parameter) => {
      const entry = entries.get(parameter);
      if (entry === undefined) return ZEROS;
      return { dtype: entry.dtype, read: (offset, into) => checkpoint.read(entry, offset, into) };
    };
    await this.put(loaded, "", { name: dir, values }, signal);
  }

  private async put(
    { session }: Loaded,
    key: string,
    values: Pick<Adapter, "name" | "values">,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    if (key === this.key && session.revision === this.revision) return;
    this.key = null;
    await session.flush();
    await putAdapter(session, values, { isBase: false, signal });
    this.key = key;
    this.revision = session.revision;
  }
}

async function keyOf({ values }: AdapterContents): Promise<string> {
  const hasher = await Hasher.create();
  for (const [name, { dtype, bytes }] of values) {
    hasher.update(Buffer.from(`${name} ${dtype} ${bytes.byteLength} `));
    hasher.update(bytes);
  }
  return hasher.digest();
}
