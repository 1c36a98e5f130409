/**
 * Writes an OPT-shaped folder (config.json, model.safetensors in fp32) that both zo2 and the peer load: matrices N(0,
 * 0.02) from a fixed generator, biases 0, norm gains 1. The same options give the same bytes; a folder that is there
 * already is used again. Memory: one chunk of 1 MiB, whatever the size of the model.
 *
 *   node bench/peer/make-model.mjs [--cache DIR] [--seed 0] [--layers 12 --hidden 768 --ffn 3072 --heads 12 --vocab
 *   50272 --maxpos 2048]
 *
 * Prints the folder.
 */
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { elementsOf, OPT_125M, optConfig, optTensors } from "../lib/opt-shape.mjs";
import { readOptions, runMain } from "../lib/options.mjs";

/** Part of the folder's name: raise it when the values change. */
const GENERATOR = 1;
const CHUNK_ELEMENTS = 2 ** 18;
const DEVIATION = 0.02;

export const DEFAULT_CACHE = path.join(os.tmpdir(), "zo2-bench");

/** The folder of the model in the cache, made if it is not there. */
export function ensureModel({ cache = DEFAULT_CACHE, seed = 0, ...shape }) {
  const { layers, hidden, ffn, heads, vocab, maxpos } = shape;
  const folder = path.join(
    cache,
    `opt-l${layers}-h${hidden}-f${ffn}-a${heads}-v${vocab}-p${maxpos}-seed${seed}-g${GENERATOR}`,
  );
  if (fs.existsSync(folder)) return folder;
  fs.mkdirSync(cache, { recursive: true });
  const partial = fs.mkdtempSync(`${folder}.part-`);
  try {
    fs.writeFileSync(path.join(partial, "config.json"), `${JSON.stringify(optConfig(shape), null, 2)}\n`);
    writeSafetensors(path.join(partial, "model.safetensors"), optTensors(shape), seed);
    // Only a whole folder ever has the final name.
    fs.renameSync(partial, folder);
  } catch (error) {
    fs.rmSync(partial, { recursive: true, force: true });
    throw error;
  }
  return folder;
}

function writeSafetensors(file, tensors, seed) {
  const header = { __metadata__: { format: "pt" } };
  let end = 0;
  for (const tensor of tensors) {
    const begin = end;
    end += 4 * elementsOf(tensor);
    header[tensor.name] = { dtype: "F32", shape: tensor.shape, data_offsets: [begin, end] };
  }
  let text = JSON.stringify(header);
  text += " ".repeat((8 - (text.length % 8)) % 8);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  const fd = fs.openSync(file, "w");
  try {
    writeAll(fd, length);
    writeAll(fd, Buffer.from(text));
    const chunk = new Float32Array(CHUNK_ELEMENTS);
    const fills = { normal: normalFill(seed), ones: (values) => values.fill(1), zeros: (values) => values.fill(0) };
    for (const tensor of tensors) {
      for (let left = elementsOf(tensor); left > 0; left -= CHUNK_ELEMENTS) {
        const values = chunk.subarray(0, Math.min(left, CHUNK_ELEMENTS));
        fills[tensor.values](values);
        writeAll(fd, Buffer.from(values.buffer, 0, values.byteLength));
      }
    }
  } finally {
    fs.closeSync(fd);
  }
}

function writeAll(fd, bytes) {
  for (let done = 0; done < bytes.length; ) done += fs.writeSync(fd, bytes, done);
}

/**
 * Fills with N(0, 0.02): Box-Muller over a 32-bit Weyl sequence with a multiplicative mixer. Good enough for weights,
 * and quick to redo.
 */
function normalFill(seed) {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x9e3779b9) >>> 0;
    let x = state;
    x = Math.imul(x ^ (x >>> 16), 0x21f0aaad);
    x = Math.imul(x ^ (x >>> 15), 0x735a2d97);
    return (x ^ (x >>> 15)) >>> 0;
  };
  return (values) => {
    for (let i = 0; i < values.length; i += 2) {
      const radius = DEVIATION * Math.sqrt(-2 * Math.log((next() + 0.5) / 2 ** 32));
      const angle = (2 * Math.PI * next()) / 2 ** 32;
      values[i] = radius * Math.cos(angle);
      if (i + 1 < values.length) values[i + 1] = radius * Math.sin(angle);
    }
  };
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  await runMain("make-model", () => {
    const options = readOptions(process.argv.slice(2), { ...OPT_125M, cache: DEFAULT_CACHE, seed: 0 });
    console.log(ensureModel(options));
  });
}
