/** XXH128 (https://xxhash.com): fast enough to run while files are read. It finds accidents, and no intent. */
import { createXXHash128, createXXHash64, type IHasher } from "hash-wasm";

/** Hashers that nobody uses at the moment: each has memory of its own. */
const idle: IHasher[] = [];

/** Hashes bytes that come piece by piece. */
export class Hasher {
  private constructor(private readonly hasher: IHasher) {}

  static async create(): Promise<Hasher> {
    return new Hasher((idle.pop() ?? (await createXXHash128())).init());
  }

  /** The digest of what has come so far; more may come. */
  digestSoFar(): string {
    const state = this.hasher.save();
    const digest = this.hasher.digest();
    this.hasher.load(state);
    return digest;
  }

  update(bytes: Uint8Array): void {
    this.hasher.update(bytes);
  }

  /** 32 hexadecimal digits. The last call. */
  digest(): string {
    const digest = this.hasher.digest();
    idle.push(this.hasher);
    return digest;
  }
}

/** XXH64, which the native side has too: of bytes that come piece by piece. */
export class Checksum {
  private constructor(private readonly hasher: IHasher) {}

  static async create(): Promise<Checksum> {
    return new Checksum(await createXXHash64());
  }

  /** Begins anew. */
  init(): void {
    this.hasher.init();
  }

  update(bytes: Uint8Array): void {
    this.hasher.update(bytes);
  }

  digest(): bigint {
    return BigInt(`0x${this.hasher.digest()}`);
  }

  of(bytes: Uint8Array): bigint {
    this.init();
    this.update(bytes);
    return this.digest();
  }
}

/** Of a value that JSON can hold, whatever the order of its keys. */
export async function hashOfJson(value: unknown): Promise<string> {
  const hasher = await Hasher.create();
  hasher.update(Buffer.from(JSON.stringify(value, sortKeys)));
  return hasher.digest();
}

function sortKeys(_: string, value: unknown): unknown {
  if (typeof value === "bigint") return String(value);
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}
