/**
 * What a disk may hold when a machine loses its power: of the file operations of a program, only what was synced is
 * certain. What was written since the last sync of a file may be missing, torn or there without what came before it;
 * new names, renames and removals since the last sync of a folder likewise.
 */
import fs from "node:fs";
import path from "node:path";

/** What a disk writes whole, and less: what is written may be cut anywhere. */
const BLOCKS = [64, 512];
const ROOT = 0;

/** The folder `root` as it is, all of it on the disk, and the operations that a recording (`preload.mjs`) adds. */
export class Disk {
  /** Of a file: what was written, in order. Of a folder: whether it is one. */
  #nodes = [{ folder: true, data: [] }];
  /** Changes of names: `{index, sets: [folder, name, node | null][], durable}`. */
  #names = [];
  #now = new Map([[ROOT, new Map()]]);
  #handles = new Map();
  #index = 0;

  constructor(root) {
    for (const entry of fs.readdirSync(root, { recursive: true, withFileTypes: true })) {
      const file = path.join(entry.parentPath ?? entry.path, entry.name);
      if (!entry.isFile()) continue;
      const name = path.relative(root, file);
      this.#mkdir(path.dirname(name));
      const node = this.#create(name);
      this.#data(node, { write: fs.readFileSync(file), position: 0 });
    }
    for (const change of this.#names) change.durable = true;
    for (const { data } of this.#nodes) for (const one of data) one.durable = true;
  }

  /** One operation that was finished; `cut`: that the loss came amid, so that nothing is certain of it. */
  add(operation, cut = false) {
    this.#index++;
    const { kind, path: file, handle, bytes } = operation;
    const open = this.#handles.get(handle);
    if (kind === "open") {
      let node = this.#find(file);
      if (node === null && operation.creates) node = this.#create(file);
      else if (operation.truncates) this.#data(node, { truncate: 0 });
      this.#handles.set(handle, { node, position: 0, appends: operation.appends });
    } else if (kind === "write") {
      const { node } = open;
      const position = operation.position ?? (open.appends ? this.#size(node) : open.position);
      if (operation.position === null) open.position = position + bytes.length;
      this.#data(node, { write: bytes, position });
    } else if (kind === "truncate") this.#data(open.node, { truncate: operation.length });
    else if (kind === "sync" && !cut) this.#sync(open.node, operation);
    else if (kind === "rename") {
      const [from, to] = [this.#place(operation.from), this.#place(file)];
      const node = this.#find(operation.from);
      this.#set([
        [...from, null],
        [...to, node],
      ]);
    } else if (kind === "mkdir") this.#mkdir(file);
    else if (kind === "rm") this.#remove(file);
    else if (kind === "copy" || kind === "put") {
      const node = this.#find(file) ?? this.#create(file);
      this.#data(node, { truncate: 0 });
      this.#data(node, { write: bytes, position: 0 });
    }
  }

  /** Handles of a process that has ended are none of the next one's. */
  endProcess() {
    this.#handles.clear();
  }

  /** The file as programs see it now; null where there is none. */
  read(file) {
    const node = this.#find(file);
    return node === null ? null : imageOf(this.#nodes[node].data);
  }

  /** All files as programs see them. @returns Map of path to bytes */
  seen() {
    return this.#collect(
      () => true,
      (data) => imageOf(data),
    );
  }

  /** What may be left of it. @returns Map of path to bytes; folders without files are left out */
  loss(random) {
    const keeps = chooser(random, this.#names);
    return this.#collect(keeps, (data) => leftOf(data, random));
  }

  #collect(keeps, contents) {
    const folders = new Map([[ROOT, new Map()]]);
    for (const change of this.#names) {
      if (!change.durable && !keeps(change)) continue;
      for (const [folder, name, node] of change.sets) {
        if (!folders.has(folder)) folders.set(folder, new Map());
        folders.get(folder).set(name, node);
      }
    }
    const files = new Map();
    const walk = (folder, prefix) => {
      for (const [name, node] of folders.get(folder) ?? []) {
        if (node === null) continue;
        if (this.#nodes[node].folder) walk(node, path.join(prefix, name));
        else files.set(path.join(prefix, name), contents(this.#nodes[node].data));
      }
    };
    walk(ROOT, "");
    return files;
  }

  #find(file) {
    let node = ROOT;
    for (const name of file.split("/").filter((one) => one !== "." && one !== "")) {
      node = this.#now.get(node)?.get(name) ?? null;
      if (node === null) return null;
    }
    return node;
  }

  #place(file) {
    return [this.#find(path.dirname(file)), path.basename(file)];
  }

  #set(sets) {
    for (const [folder, name, node] of sets) this.#now.get(folder).set(name, node);
    this.#names.push({ index: this.#index, sets, durable: false, synced: new Set() });
  }

  #create(file) {
    const node = this.#nodes.push({ folder: false, data: [] }) - 1;
    this.#set([[...this.#place(file), node]]);
    return node;
  }

  #mkdir(file) {
    if (file === "." || this.#find(file) !== null) return;
    this.#mkdir(path.dirname(file));
    const node = this.#nodes.push({ folder: true, data: [] }) - 1;
    this.#now.set(node, new Map());
    this.#set([[...this.#place(file), node]]);
  }

  #remove(file) {
    const node = this.#find(file);
    if (node === null) return;
    for (const name of this.#now.get(node)?.keys() ?? []) this.#remove(path.join(file, name));
    this.#set([[...this.#place(file), null]]);
  }

  #data(node, change) {
    this.#nodes[node].data.push({ ...change, index: this.#index, durable: false });
  }

  #size(node) {
    return imageOf(this.#nodes[node].data).length;
  }

  /** What was done before the sync began is on the disk; a length that has shrunk only with `whole`. */
  #sync(node, { after, base = 0, whole }) {
    const before = (one) => one.index <= base + after;
    for (const one of this.#nodes[node].data) if (before(one) && (whole || one.write !== undefined)) one.durable = true;
    if (!this.#nodes[node].folder) return;
    for (const change of this.#names) {
      if (!before(change)) continue;
      for (const [folder] of change.sets) if (folder === node) change.synced.add(folder);
      // Of a move, where both folders have been synced.
      if (change.sets.every(([folder]) => change.synced.has(folder))) change.durable = true;
    }
  }
}

function imageOf(data) {
  const size = data.reduce((n, one) => (one.write ? Math.max(n, one.position + one.write.length) : one.truncate), 0);
  const most = data.reduce((n, one) => (one.write ? Math.max(n, one.position + one.write.length) : n), size);
  const image = Buffer.alloc(most);
  for (const { write, position, truncate } of data) {
    if (write) write.copy(image, position);
    else image.fill(0, truncate);
  }
  return image.subarray(0, size);
}

/** Which of the names that are not certain are there: none, all, the first of them, or any. */
function chooser(random, names) {
  const pending = names.filter(({ durable }) => !durable);
  const way = random.below(5);
  if (way === 0) return () => false;
  if (way === 1) return () => true;
  const until = random.below(pending.length + 1);
  const kept = new Set(way === 2 ? pending.slice(0, until) : pending.filter(() => random.below(3) > 0));
  // What a name was given later is there only with what was done to that name before.
  const later = new Set();
  for (const change of [...pending].reverse()) {
    const keys = change.sets.map(([folder, name]) => `${folder} ${name}`);
    if (keys.some((key) => later.has(key))) kept.add(change);
    if (kept.has(change)) for (const key of keys) later.add(key);
  }
  return (change) => kept.has(change);
}

/** What is left of a file. */
function leftOf(data, random) {
  const pending = data.filter(({ durable }) => !durable);
  const version = (count) => imageOf(data.filter((one) => one.durable || pending.indexOf(one) < count));
  const { length } = pending;
  if (length === 0) return version(0);
  const way = random.below(6);
  if (way === 0) return version(0);
  if (way === 1) return version(length);
  const count = random.below(length);
  const torn = pending[count];
  if (way === 2 && torn.write) {
    // A part of one write behind those before it.
    const cut = { ...torn, write: torn.write.subarray(0, random.below(torn.write.length)) };
    return imageOf(
      data.filter((one) => one.durable || pending.indexOf(one) <= count).map((o) => (o === torn ? cut : o)),
    );
  }
  // Each block as it was at some time; the length likewise, or more, of zeros.
  const versions = [0, random.below(length + 1), random.below(length + 1), length].map(version);
  const sizes =
    way === 3 ? versions.map((image) => image.length) : [Math.max(...versions.map((image) => image.length))];
  const left = Buffer.alloc(random.pick(sizes) + (way === 5 ? random.below(1024) : 0));
  const zeros = random.below(2) === 0;
  const size = random.pick(BLOCKS);
  for (let at = 0; at < left.length; at += size) {
    const block = random.pick(versions).subarray(at, at + size);
    const certain = versions[0].subarray(at, at + size);
    (zeros && random.below(2) === 0 ? certain : block).copy(left, at);
  }
  return left;
}

/** The operations of a recording. @param base those that were before it in the life of the disk */
export function readRecording(file, base = 0) {
  return fs
    .readFileSync(file, "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line))
    .map(({ base64, ...entry }) => ({
      ...entry,
      ...(base64 === undefined ? {} : { bytes: Buffer.from(base64, "base64") }),
      base,
    }));
}

/** Writes files into an empty folder. */
export function putFiles(folder, files) {
  for (const [name, bytes] of files) {
    fs.mkdirSync(path.dirname(path.join(folder, name)), { recursive: true });
    fs.writeFileSync(path.join(folder, name), bytes);
  }
}
