/** A PyTorch `.bin` file as a list of tensors. Its pickles are read, its weights are not. */
import { at } from "../base/at.js";
import { crc32 } from "node:zlib";
import { PickleDict, readPickle, type PickleValue } from "./pickle.js";
import { DTYPE_BITS, tensorBytes, type TensorEntry } from "./safetensors.js";
import { broken, type FileSource } from "./source.js";
import { isRowMajor } from "./strided.js";
import { torchRules, type TorchStorage, TorchTensor } from "./torch-globals.js";
import { legacyStorages, readLegacyPickle, type StoragePlace } from "./torch-legacy.js";
import { contentOffset, isZip, readZip, type ZipEntry } from "./zip.js";

/** Pickles of the largest models have some hundred kilobytes. */
const MAX_PICKLE_BYTES = 16 * 2 ** 20;

const MAX_NAME_LENGTH = 4096;
/** Of all names together, in characters. */
const MAX_NAMES_LENGTH = 2 ** 25;
const MAX_DEPTH = 32;
const MAX_NODES = 2 ** 20;
const PICKLE = /^[^/]+\/data\.pkl$/;
const PROTO = 0x80;

/**
 * The tensors of a file that `torch.save` wrote: the dictionary of a state dict, names of nested ones joined with dots;
 * what is neither tensor nor dictionary is left out. Tensors that share storage are entries of the same bytes. Throws
 * `ZO2_ERR_CHECKPOINT`, naming the file and the entry or tensor, for a damaged file and for a pickle that names
 * anything but what tensors need; none of its code runs.
 */
export async function readTorchFile(file: FileSource): Promise<readonly TensorEntry[]> {
  const head = new Uint8Array(Math.min(4, file.bytes));
  await file.read(0, head);
  const tensors = isZip(head) ? await readArchive(file) : head[0] === PROTO ? await readLegacy(file) : undefined;
  if (tensors === undefined) {
    throw broken(
      file.path,
      `its ${file.bytes} bytes do not begin as a file of torch.save does (is it a page or a pointer to the ` +
        "file?); download it again",
    );
  }
  if (tensors.length === 0)
    throw broken(file.path, "holds no tensor; give a file that torch.save wrote from a state dict");
  return tensors;
}

async function readArchive(file: FileSource): Promise<TensorEntry[]> {
  const entries = await readZip(file);
  const [pickle, ...others] = [...entries.values()].filter((entry) => PICKLE.test(entry.name));
  if (pickle === undefined || others.length > 0) {
    throw broken(
      file.path,
      `a zip archive with ${others.length === 0 ? "no" : others.length + 1} data.pkl is not what torch.save ` +
        "writes; download it again",
    );
  }
  const root = pickle.name.slice(0, -"data.pkl".length);
  await checkByteOrder(file, entries.get(`${root}byteorder`));
  const where = `${file.path} (${pickle.name})`;
  const bytes = await readSmall(file, pickle, MAX_PICKLE_BYTES);
  if (crc32(bytes) !== pickle.crc32)
    throw broken(where, "its checksum (CRC-32) is not that of the zip directory; download the file again");
  const { value } = readPickle(bytes, where, torchRules(where));
  const views = flatten(where, value);
  const places = new Map<string, StoragePlace>();
  for (const [name, { storage }] of views) {
    if (places.has(storage.key)) continue;
    const entry = entries.get(`${root}data/${storage.key}`);
    if (entry === undefined) {
      throw broken(
        file.path,
        `tensor ${JSON.stringify(name)}: its storage ${root}data/${storage.key} is missing; download the file again`,
      );
    }
    places.set(storage.key, { offset: await contentOffset(file, entry), bytes: entry.bytes });
  }
  return layOut(file.path, views, places);
}

async function readLegacy(file: FileSource): Promise<TensorEntry[]> {
  const { value, keys, end } = await readLegacyPickle(file, Math.min(file.bytes, MAX_PICKLE_BYTES));
  const views = flatten(file.path, value);
  return layOut(file.path, views, await legacyStorages(file, keys, end));
}

/** Files of a big-endian machine say so; without the record they are of an older PyTorch, on a little-endian one. */
async function checkByteOrder(file: FileSource, entry: ZipEntry | undefined): Promise<void> {
  if (entry === undefined) return;
  const order = new TextDecoder().decode(await readSmall(file, entry, 16));
  if (order !== "little") {
    throw broken(
      file.path,
      `its byte order is ${JSON.stringify(order)}; only "little" can be read: save it again on a little-endian machine`,
    );
  }
}

async function readSmall(file: FileSource, entry: ZipEntry, most: number): Promise<Uint8Array> {
  if (entry.bytes > most)
    throw broken(
      file.path,
      `entry ${JSON.stringify(entry.name)}: ${entry.bytes} bytes, more than the ${most} it may have`,
    );
  const bytes = new Uint8Array(entry.bytes);
  await file.read(await contentOffset(file, entry), bytes);
  return bytes;
}

/** Tensors by name, without recursion. A dictionary that holds itself ends at the depth that is allowed. */
function flatten(where: string, root: PickleValue): Map<string, TorchTensor> {
  if (!(root instanceof PickleDict))
    throw broken(where, "holds no dictionary of tensors; save the model's state_dict()");
  const tensors = new Map<string, TorchTensor>();
  let characters = 0;
  const open = [{ prefix: "", items: root.items.entries() }];
  for (let nodes = 0; open.length > 0; nodes++) {
    if (nodes > MAX_NODES) throw broken(where, `more than ${MAX_NODES} values in its dictionaries`);
    const { prefix, items } = open[open.length - 1] ?? { prefix: "", items: root.items.entries() };
    const next = items.next();
    if (next.done === true) {
      open.pop();
      continue;
    }
    const [key, value] = next.value;
    if (key === "_metadata" || (typeof key !== "string" && typeof key !== "number")) continue;
    if (!(value instanceof PickleDict) && !(value instanceof TorchTensor)) continue;
    const name = `${prefix}${key}`;
    characters += name.length;
    if (name.length > MAX_NAME_LENGTH || characters > MAX_NAMES_LENGTH) {
      throw broken(
        where,
        `a tensor's name of ${name.length} characters, ${characters} so far; ${MAX_NAME_LENGTH} and ` +
          `${MAX_NAMES_LENGTH} are allowed`,
      );
    }
    if (value instanceof TorchTensor) {
      if (tensors.has(name)) throw broken(where, `tensor ${JSON.stringify(name)} is there twice`);
      tensors.set(name, value);
    } else {
      if (open.length === MAX_DEPTH) {
        throw broken(
          where,
          `dictionaries more than ${MAX_DEPTH} deep (one may hold itself), at ${JSON.stringify(name.slice(0, 80))}`,
        );
      }
      open.push({ prefix: `${name}.`, items: value.items.entries() });
    }
  }
  return tensors;
}

function layOut(
  path: string,
  views: ReadonlyMap<string, TorchTensor>,
  places: ReadonlyMap<string, StoragePlace>,
): TensorEntry[] {
  return [...views].map(([name, view]) => {
    const place = places.get(view.storage.key);
    if (place === undefined) {
      throw broken(
        path,
        `tensor ${JSON.stringify(name)}: its storage ${JSON.stringify(view.storage.key)} is missing; download ` +
          "the file again",
      );
    }
    return entryOf(path, name, view, place);
  });
}

/** Bytes of a storage as its pickle declares it; undefined past 2^53. */
function storageBytes(storage: TorchStorage): number | undefined {
  return storage.dtype === null ? storage.count : tensorBytes(storage.dtype, [storage.count]);
}

function entryOf(path: string, name: string, view: TorchTensor, place: StoragePlace): TensorEntry {
  const fail = (what: string) => broken(path, `tensor ${JSON.stringify(name)}: ${what}`);
  const { storage, dtype, first, shape, strides } = view;
  const declared = storageBytes(storage);
  if (declared === undefined || declared > place.bytes) {
    throw fail(
      `its storage ${JSON.stringify(storage.key)} should have ${storage.count} elements, the file has ` +
        `${place.bytes} bytes of it; download it again`,
    );
  }
  const bytes = tensorBytes(dtype, shape);
  if (bytes === undefined) throw fail(`shape [${shape.join(", ")}] of ${dtype} has more than 2^53 bytes`);
  if (bytes === 0) return { name, dtype, shape, file: path, offset: place.offset, bytes };
  const item = DTYPE_BITS[dtype] / 8;
  // Past 2^53 a sum is not exact, and is past every file's end all the same.
  const last = shape.reduce((sum, extent, d) => sum + (extent - 1) * at(strides, d), first);
  if ((last + 1) * item > declared) {
    throw fail(
      `shape [${shape.join(", ")}] with strides [${strides.join(", ")}] from element ${first} reaches past its ` +
        `storage of ${declared} bytes`,
    );
  }
  const entry = { name, dtype, shape, file: path, offset: place.offset + first * item, bytes };
  return isRowMajor(shape, strides) ? entry : { ...entry, strides };
}
