/**
 * The format of `torch.save` before PyTorch 1.6: a magic number, a protocol number, the writer's machine, the object
 * and the list of storage keys, each a pickle, then the storages, each a count of elements and its bytes.
 */
import { PickleDict, PickleList, readPickle, type PickleRules, type PickleValue } from "./pickle.js";
import { DTYPE_BITS } from "./safetensors.js";
import { broken, type FileSource } from "./source.js";
import { torchRules, type TorchStorage } from "./torch-globals.js";

const MAGIC = 0x1950a86a20f9469cfc6cn;
const PROTOCOL = 1001;
const COUNT_BYTES = 8;

/** Where the bytes of a storage are. */
export interface StoragePlace {
  /** From the start of the file. */
  readonly offset: number;
  readonly bytes: number;
}

export interface LegacyPickle {
  readonly value: PickleValue;
  /** In the order in which their bytes follow. */
  readonly keys: readonly TorchStorage[];
  /** Where they begin, from the start of the file. */
  readonly end: number;
}

/** Reads the pickles, which must end within the first `most` bytes. Throws `ZO2_ERR_CHECKPOINT`. */
export async function readLegacyPickle(file: FileSource, most: number): Promise<LegacyPickle> {
  const bytes = new Uint8Array(most);
  await file.read(0, bytes);
  const storages = new Map<string, TorchStorage>();
  const torch = torchRules(file.path);
  const rules: PickleRules = {
    global: torch.global,
    persistent: (id) => {
      const storage = torch.persistent(id);
      keep(file.path, storages, storage);
      return storage;
    },
  };
  const magic = readPickle(bytes, file.path, torch);
  if (magic.value !== MAGIC)
    throw broken(file.path, "a pickle that torch.save did not write; give a file that it wrote from a state dict");
  const protocol = readPickle(bytes, file.path, torch, magic.end);
  if (protocol.value !== PROTOCOL) {
    throw broken(
      file.path,
      `protocol ${String(protocol.value)} of torch.save's older format; only ${PROTOCOL} can be read`,
    );
  }
  const machine = readPickle(bytes, file.path, torch, protocol.end);
  if (!(machine.value instanceof PickleDict) || machine.value.items.get("little_endian") !== true) {
    throw broken(file.path, "it was not written on a little-endian machine; save it again on one");
  }
  const { value, end } = readPickle(bytes, file.path, rules, machine.end);
  const list = readPickle(bytes, file.path, torch, end);
  if (!(list.value instanceof PickleList))
    throw broken(file.path, "the list of its storages is no list; download it again");
  const keys = list.value.items.map((key) => {
    const storage = typeof key === "string" ? storages.get(key) : undefined;
    if (storage === undefined) throw broken(file.path, "it lists a storage that no tensor has; download it again");
    return storage;
  });
  return { value, keys, end: list.end };
}

/** Only one dtype of a storage tells how many bytes its elements take in the file. */
function keep(path: string, storages: Map<string, TorchStorage>, storage: TorchStorage): void {
  const before = storages.get(storage.key) ?? storage;
  if (before.dtype !== storage.dtype || before.count !== storage.count) {
    throw broken(
      path,
      `storage ${JSON.stringify(storage.key)} is declared in two ways; save the file again with a newer PyTorch`,
    );
  }
  storages.set(storage.key, before);
}

/**
 * Where the storages of `keys` are, the first of them at byte `start`. Throws `ZO2_ERR_CHECKPOINT` when the file ends
 * before.
 */
export async function legacyStorages(
  file: FileSource,
  keys: readonly TorchStorage[],
  start: number,
): Promise<ReadonlyMap<string, StoragePlace>> {
  const places = new Map<string, StoragePlace>();
  const head = new Uint8Array(COUNT_BYTES);
  let at = start;
  for (const { key, dtype, count } of keys) {
    const fail = (what: string) => broken(file.path, `storage ${JSON.stringify(key)}: ${what}; download it again`);
    if (places.has(key)) throw fail("listed twice");
    if (at + COUNT_BYTES > file.bytes) throw fail(`the file ends at byte ${file.bytes}, before it`);
    await file.read(at, head);
    const stored = new DataView(head.buffer).getBigInt64(0, true);
    if (stored !== BigInt(count)) throw fail(`${stored} elements at byte ${at}, where ${count} are declared`);
    const bytes = count * (dtype === null ? 1 : DTYPE_BITS[dtype] / 8);
    at += COUNT_BYTES;
    if (bytes > file.bytes - at)
      throw fail(`its ${bytes} bytes from byte ${at} reach past the end of the file (${file.bytes})`);
    places.set(key, { offset: at, bytes });
    at += bytes;
  }
  return places;
}
