/** The folder of an adapter that PEFT has written, held against the base that it is for. */
import { join } from "node:path";
import type { AdapterContents, LoraContents, LoraModule, PrefixContents, StoredValues } from "../contents.js";
import { someOf } from "../../base/warnings.js";
import { exists } from "../../base/files.js";
import {
  ADAPTER_WEIGHTS_FILE,
  broken,
  type OpenTensors,
  openTensors,
  type TensorEntry,
} from "../../checkpoint/index.js";
import { aOf, bOf, type LinearLayer, linearLayers } from "../lora.js";
import { type AdapterBase, keyColumns, spellings } from "./base.js";
import { type LoraConfig, type PeftConfig, readPeftConfig } from "./config.js";
import { LORA_TENSOR, nameInBase, PREFIX_TENSOR, prefixNames } from "./names.js";
import { modulesNamed, PerModule } from "./targets.js";
import { readValues } from "./values.js";

/**
 * Reads an adapter: its shape, and all of its values.
 * @throws Zo2Error ZO2_ERR_CHECKPOINT where its files are missing, damaged, do not agree or do not fit the base;
 *   ZO2_ERR_MODEL_UNSUPPORTED for what cannot be computed, by the field's name; ZO2_ERR_IO
 */
export async function readAdapter(dir: string, base: AdapterBase): Promise<AdapterContents> {
  const config = await readPeftConfig(dir);
  const path = join(dir, ADAPTER_WEIGHTS_FILE);
  if (!(await exists(path)))
    throw broken(dir, `has no ${ADAPTER_WEIGHTS_FILE}; save the adapter with a version of PEFT that writes one`);
  await using file = await openTensors(path);
  return config.kind === "lora" ? await readLora(file, config, base) : await readPrefix(file, config, base);
}

type Config<K extends PeftConfig["kind"]> = Extract<PeftConfig, { readonly kind: K }>;

/** The two factors of a linear layer's change. */
interface Factors {
  readonly a: TensorEntry;
  readonly b: TensorEntry;
}

async function readLora(file: OpenTensors, config: Config<"lora">, base: AdapterBase): Promise<LoraContents> {
  const layers = linearLayers(base.recording);
  const saved = savedParameters(config.fields, base);
  const { factors, whole } = sortTensors(file, layers, saved, base);
  checkTargets(file, config, layers, factors, base);
  for (const name of saved) if (!whole.has(name)) throw missing(file, name, "modules_to_save names it");
  const found = layers.filter(({ module }) => factors.has(module));
  const scales = new PerModule(config, found);
  const modules: LoraModule[] = [];
  const values = new Map<string, StoredValues>();
  for (const { module, inputs, outputs } of found) {
    const { a, b } = factors.get(module) as Factors;
    const { rank, scale } = scales.of(module);
    const why = `r = ${rank} of ${config.file}, and the base,`;
    values.set(aOf(module), await readValues(file, a, [rank, inputs], why));
    values.set(bOf(module), await readValues(file, b, [outputs, rank], why));
    modules.push({ module, rank, scale });
  }
  for (const [name, entry] of whole) {
    const shape = base.parameters.find((parameter) => parameter.name === name)?.shape ?? [];
    values.set(name, await readValues(file, entry, shape, "the base"));
  }
  return { kind: "lora", modules, alsoTrained: [...whole.keys()], values, config: config.raw };
}

/** The base's parameters that are saved along as they are; `modules_to_save` may name what this base does not have. */
function savedParameters({ modules_to_save: saved }: LoraConfig, { parameters }: AdapterBase): ReadonlySet<string> {
  const found = parameters.filter(({ name }) => saved.some((module) => `.${name}`.includes(`.${module}.`)));
  return new Set(found.map(({ name }) => name));
}

/** The tensors of the file, by what they are for. */
function sortTensors(
  file: OpenTensors,
  layers: readonly LinearLayer[],
  saved: ReadonlySet<string>,
  base: AdapterBase,
): { readonly factors: ReadonlyMap<string, Factors>; readonly whole: ReadonlyMap<string, TensorEntry> } {
  const moduleOf = new Map(
    layers.flatMap(({ module, weight }) => spellings(base, weight.name).map((n) => [n, module])),
  );
  const parameterOf = new Map([...saved].flatMap((name) => spellings(base, name).map((n) => [n, name])));
  const parts = {
    A: new Map<string, TensorEntry>(),
    B: new Map<string, TensorEntry>(),
    whole: new Map<string, TensorEntry>(),
  };
  const put = (part: keyof typeof parts, name: string, entry: TensorEntry) => {
    const other = parts[part].get(name);
    if (other !== undefined)
      throw broken(file.dir, `${JSON.stringify(other.name)} and ${JSON.stringify(entry.name)} are for the same tensor`);
    parts[part].set(name, entry);
  };
  for (const entry of file.tensors.values()) {
    const name = nameInBase(entry.name);
    const [, module, part] = LORA_TENSOR.exec(name) ?? [];
    if (module === undefined) {
      const parameter = parameterOf.get(name);
      if (parameter === undefined) throw unknownTensor(file, entry, layers);
      put("whole", parameter, entry);
      continue;
    }
    const layer = moduleOf.get(`${module}.weight`);
    if (layer === undefined) throw unknownTensor(file, entry, layers);
    put(part === "A" ? "A" : "B", layer, entry);
  }
  const factors = new Map<string, Factors>();
  for (const module of new Set([...parts.A.keys(), ...parts.B.keys()])) {
    const [a, b] = [parts.A.get(module), parts.B.get(module)];
    if (a === undefined) throw missing(file, aOf(module), `it has ${JSON.stringify(b?.name)}`);
    if (b === undefined) throw missing(file, bOf(module), `it has ${JSON.stringify(a.name)}`);
    factors.set(module, { a, b });
  }
  if (factors.size === 0) throw broken(file.dir, "has no lora_A and lora_B of any layer");
  return { factors, whole: parts.whole };
}

/** What the config says is changed has to be what the file has values for. */
function checkTargets(
  file: OpenTensors,
  config: Config<"lora">,
  layers: readonly LinearLayer[],
  factors: ReadonlyMap<string, Factors>,
  base: AdapterBase,
): void {
  const targeted = modulesNamed(config, layers, base);
  if (targeted === null) return;
  const lacking = [...targeted].filter((module) => !factors.has(module));
  const [first] = lacking;
  if (first !== undefined) throw missing(file, aOf(first), `target_modules of ${config.file} name it`);
  const stray = [...factors.keys()].filter((module) => !targeted.has(module));
  if (stray.length > 0)
    throw broken(file.dir, `has tensors for ${someOf(stray)}, which target_modules of ${config.file} do not name`);
}

function missing(file: OpenTensors, name: string, why: string): Error {
  return broken(file.dir, `tensor ${JSON.stringify(name)} is missing from its ${file.tensors.size} tensors; ${why}`);
}

function unknownTensor(file: OpenTensors, { name }: TensorEntry, layers: readonly LinearLayer[]): Error {
  const some = someOf(layers.slice(0, 2).map(({ module }) => module));
  return broken(
    file.dir,
    `tensor ${JSON.stringify(name)} is for nothing of the base that an adapter can change: its linear layers have ` +
      `names such as ${some}, and modules_to_save names what else is saved`,
  );
}

async function readPrefix(file: OpenTensors, config: Config<"prefix">, base: AdapterBase): Promise<PrefixContents> {
  const { num_virtual_tokens: tokens, num_layers: layers, token_dim: columns } = config.fields;
  const keys = keyColumns(base);
  if (keys === null || keys.layers !== layers || keys.columns !== columns)
    throw broken(
      config.file,
      `num_layers = ${layers}, token_dim = ${columns}; the base has ` +
        (keys === null ? "layers of several widths" : `${keys.layers} layers with keys of ${keys.columns} columns`),
    );
  const stray = [...file.tensors.keys()].filter((name) => name !== PREFIX_TENSOR);
  if (stray.length > 0) throw broken(file.dir, `has tensors besides ${PREFIX_TENSOR}: ${someOf(stray)}`);
  const entry = file.tensors.get(PREFIX_TENSOR);
  if (entry === undefined) throw missing(file, PREFIX_TENSOR, "a prefix is that one tensor");
  const whole = await readValues(file, entry, [tokens, layers * 2 * columns], config.file);
  const values = new Map<string, StoredValues>();
  const elementBytes = whole.bytes.byteLength / (tokens * layers * 2 * columns);
  prefixNames(layers).forEach((name, part, parts) => {
    const width = columns * elementBytes;
    const bytes = new Uint8Array(tokens * width);
    for (let row = 0; row < tokens; row++) {
      const from = (row * parts.length + part) * width;
      bytes.set(whole.bytes.subarray(from, from + width), row * width);
    }
    values.set(name, { dtype: whole.dtype, shape: [tokens, columns], bytes });
  });
  return { kind: "prefix", tokens, alsoTrained: [], values, config: config.raw };
}
