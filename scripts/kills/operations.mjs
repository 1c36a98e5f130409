/**
 * The file operations of this process that change something below a folder, as they happen: whoever listens may look at
 * them, or end the process in their middle.
 */
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import path from "node:path";

const { O_CREAT, O_TRUNC, O_APPEND } = fs.constants;

/**
 * @typedef {object} Operation
 * @property {"open"|"write"|"truncate"|"sync"|"close"|"rename"|"rm"|"mkdir"|"copy"|"put"} kind
 * @property {string} path below the folder; of a rename the new one
 * @property {string} [from] of a rename
 * @property {number} [handle] tells open files apart
 * @property {Buffer} [bytes] of a write
 * @property {number | null} [position] null: where the handle stands, or the end
 * @property {boolean} [creates] @property {boolean} [truncates] @property {boolean} [appends] of an open
 */

/**
 * @param {string} root
 * @param {(operation: Operation, perform: () => Promise<unknown>, half: () => void) => Promise<unknown>} onOperation
 *   has to call `perform` once; `half` does a part of it, where there is one.
 */
export async function intercept(root, onOperation) {
  const files = fs.promises;
  const opened = new WeakMap();
  let handles = 0;
  const below = (file) => {
    const relative = path.relative(root, path.resolve(String(file)));
    if (relative.startsWith("..")) return null;
    return relative === "" ? "." : relative;
  };
  const nothing = () => undefined;

  const { open } = files;
  files.open = async (file, flags = "r", ...more) => {
    const relative = below(file);
    if (relative === null) return open(file, flags, ...more);
    const has = (letters, bit) => (typeof flags === "number" ? (flags & bit) !== 0 : letters.test(flags));
    const operation = {
      ...{ kind: "open", path: relative, handle: ++handles, creates: has(/[wa]/, O_CREAT) },
      ...{ truncates: has(/w/, O_TRUNC), appends: has(/a/, O_APPEND) },
    };
    const handle = await onOperation(operation, () => open(file, flags, ...more), nothing);
    opened.set(handle, { path: relative, handle: operation.handle });
    return handle;
  };

  const replace = (name, describe, half = nothing) => {
    const original = files[name];
    files[name] = (...args) => {
      const operation = describe(...args);
      if (operation === null) return original(...args);
      return onOperation(
        operation,
        () => original(...args),
        () => half(...args),
      );
    };
  };
  const one = (kind, file) => {
    const relative = below(file);
    return relative === null ? null : { kind, path: relative };
  };
  replace("rename", (from, to) => {
    const operation = one("rename", to);
    return operation === null ? null : { ...operation, from: below(from) };
  });
  replace("mkdir", (file) => one("mkdir", file));
  replace("rm", (file) => one("rm", file), removeHalf);
  replace(
    "copyFile",
    (from, to) => {
      const operation = one("copy", to);
      return operation === null ? null : { ...operation, bytes: fs.readFileSync(from) };
    },
    (from, to) => fs.writeFileSync(to, firstHalf(fs.readFileSync(from))),
  );
  replace(
    "writeFile",
    (file, data) => {
      const operation = one("put", file);
      return operation === null ? null : { ...operation, bytes: Buffer.from(data) };
    },
    (file, data) => fs.writeFileSync(file, firstHalf(Buffer.from(data))),
  );

  const probe = await open("/dev/null", "r");
  const methods = Object.getPrototypeOf(probe);
  await probe.close();
  const method = (name, describe, half = nothing) => {
    const original = methods[name];
    methods[name] = function (...args) {
      const file = opened.get(this);
      if (file === undefined) return original.apply(this, args);
      return onOperation(
        { ...describe(...args), ...file },
        () => original.apply(this, args),
        () => half(this.fd, ...args),
      );
    };
  };
  method(
    "write",
    (bytes, offset = 0, length = bytes.byteLength - offset, position = null) => ({
      ...{ kind: "write", bytes: Buffer.from(bytes.buffer, bytes.byteOffset + offset, length), position },
    }),
    (fd, bytes, offset = 0, length = bytes.byteLength - offset, position = null) =>
      fs.writeSync(fd, bytes, offset, length >> 1, position),
  );
  for (const name of ["appendFile", "writeFile"]) {
    method(
      name,
      (data) => ({ kind: "write", bytes: Buffer.from(data), position: null }),
      (fd, data) => fs.writeSync(fd, firstHalf(Buffer.from(data))),
    );
  }
  method("truncate", (length = 0) => ({ kind: "truncate", length }));
  method("datasync", () => ({ kind: "sync", whole: false }));
  method("sync", () => ({ kind: "sync", whole: true }));
  method("close", () => ({ kind: "close" }));
  syncBuiltinESMExports();
}

const firstHalf = (bytes) => bytes.subarray(0, bytes.length >> 1);

/** Every other file of a folder, as a removal that was stopped may have left it. */
function removeHalf(file) {
  if (!fs.statSync(file, { throwIfNoEntry: false })?.isDirectory()) return;
  for (const [i, name] of fs.readdirSync(file).entries()) if (i % 2 === 0) fs.rmSync(path.join(file, name));
}
