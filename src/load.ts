import { at } from "./base/at.js";
import { emitWarning, type Warning } from "./base/warnings.js";
import { openCheckpoint, type Checkpoint } from "./checkpoint/index.js";
import { asStored, storedPieces } from "./checkpoint/in-files.js";
import { otherTypes, storedType } from "./checkpoint/weights.js";
import { modelOptionsSchema, type ModelOptions, type ResolvedModelOptions, roundingOf } from "./config/model.js";
import { parseOptions } from "./config/parse.js";
import { checkDiskSpace } from "./device/disk-space.js";
import { checkHostMemory, freeHostMemory } from "./device/host-memory.js";
import { type DeviceInfo, openDevice, requireAddon } from "./device/open.js";
import { Session } from "./device/session.js";
import { resolveModel, type DownloadProgress } from "./hub/index.js";
import { hardwareOf } from "./simulate/hardware.js";
import { type ArrangedModel, type ArrangeModelOptions, arrangeModel } from "./planner/arrange-model.js";
import { loadedOf } from "./loaded.js";
import { Model } from "./model.js";
import { adaptModel } from "./adapters/adapted.js";
import { begun, loadAdapter, loadAll } from "./adapters/load.js";
import { readRequest } from "./adapters/request.js";
import { entriesOf, mixedDtypes, readContents } from "./contents.js";
import { openReference } from "./run/reference.js";
import { type ReplayProgress, replayRun } from "./run/replay.js";
import { hasTokenizer, loadTokenizer } from "./tokenizer/index.js";

export interface LoadOptions {
  /** Stops the download or the loading. */
  readonly signal?: AbortSignal;
  /** Sees the download of a model from the Hub. */
  readonly onProgress?: (progress: DownloadProgress) => void;
  /** Sees the replay of option `journals`. */
  readonly onReplay?: (progress: ReplayProgress) => void;
  /**
   * Sees what is unusual about a checkpoint that is loaded all the same; the model has it as `warnings` too. @default
   * `process.emitWarning`
   */
  readonly onWarning?: (warning: Warning) => void;
}

/**
 * Loads a model onto a device: a Hugging Face folder (`config.json`; safetensors or `pytorch_model.bin`; tokenizer), or
 * the id of a repository of the Hugging Face Hub ("org/name", "org/name@revision"), which is downloaded to the cache
 * that all tools of Hugging Face share.
 *
 * @throws Zo2Error ZO2_ERR_CONFIG, ZO2_ERR_ADDON, ZO2_ERR_MODEL_UNSUPPORTED, ZO2_ERR_CHECKPOINT, ZO2_ERR_TOKENIZER,
 *   ZO2_ERR_DEVICE, ZO2_ERR_OUT_OF_MEMORY or ZO2_ERR_MEMORY_BUDGET; nothing is left open then.
 */
export async function loadModel(name: string, options: ModelOptions = {}, o: LoadOptions = {}): Promise<Model> {
  const resolved = parseOptions(modelOptionsSchema, options, "model options");
  // Before gigabytes are downloaded for it.
  requireAddon();
  const { onWarning: _, onReplay: __, ...download } = o;
  const dir = await resolveModel(name, { ...resolved.hub, ...download });
  const checkpoint = await openCheckpoint(dir);
  try {
    return await loadFrom(name, dir, checkpoint, resolved, o);
  } finally {
    await checkpoint.close();
  }
}

/** Kept free where no limit is given: for what the driver, this process and others come to need. */
const RESERVE = { share: 1 / 20, bytes: 256 * 2 ** 20 };

function lessReserve(free: number): number {
  return Math.max(0, Math.floor(free * (1 - RESERVE.share) - RESERVE.bytes));
}

/** What a device has room for and, where its figures are known, what it does in a second. */
function abilitiesOf({
  kind,
  name,
  memoryFree,
}: DeviceInfo): Pick<ArrangeModelOptions, "hardware" | "overlaps" | "sharesMemory" | "free"> {
  const hostMemory = lessReserve(freeHostMemory());
  // The CPU's is the host's memory, which weights take wherever they rest, and one pool of threads does everything.
  if (kind === "cpu")
    return { hardware: null, overlaps: false, sharesMemory: true, free: { deviceMemory: undefined, hostMemory } };
  const free = { deviceMemory: lessReserve(memoryFree), hostMemory };
  return { hardware: hardwareOf(name) ?? null, overlaps: true, sharesMemory: false, free };
}

async function loadFrom(
  name: string,
  dir: string,
  checkpoint: Checkpoint,
  options: ResolvedModelOptions,
  o: LoadOptions,
): Promise<Model> {
  const { offload, test } = options;
  const found = await readContents(checkpoint, options.ignoreConfigFields);
  const { config, unused } = found;
  const tokenizer = (await hasTokenizer(dir)) ? await loadTokenizer(dir) : null;
  const { namePrefixes: prefixes, aliases } = found.definition;
  const isStored = offload.wire === "stored";
  const asked = await readRequest(options.adapter, found.definition);
  const { adapter: made, definition, parameters, recording } = adaptModel(found.definition, asked);
  const entries = entriesOf(parameters, found);
  const wire = isStored ? storedType(checkpoint, found.parameters, prefixes, aliases) : offload.wire;
  const wires = isStored ? otherTypes(checkpoint, entries, wire) : undefined;
  const warnings = [...found.warnings, ...(wires === undefined ? [] : mixedDtypes(dir, wire, wires))];
  const device = await openDevice({
    device: options.device,
    threads: options.threads,
    deviceMemory: offload.deviceMemory,
    delayMicroseconds: test?.delayMicroseconds,
    delaySeed: test?.delaySeed,
    genericKernels: test?.genericKernels,
    refuseAllocation: test?.refuseAllocation,
    tf32: options.tf32,
  });
  let arranged: ArrangedModel;
  try {
    arranged = arrangeModel(definition, recording, {
      ...{ options, wire, wires, asStored: asStored(entries, { wire, wires }) },
      ...{ compute: options.dtype, tierOf: test?.tier },
      ...abilitiesOf(device.info()),
    });
    checkHostMemory(arranged.restBytes.host);
    warnings.push(...(await checkDiskSpace(arranged.writtenBytes, offload, arranged.restBytes.disk)));
  } catch (error) {
    await device.close();
    throw error;
  }
  for (const warning of warnings) (o.onWarning ?? emitWarning)(warning);
  const { units, unitBytes, arrangement, arrange, activations, budgets } = arranged;
  const session = await Session.create(device, recording, units, {
    ...{ tierOf: (unit) => at(arrangement.tiers, unit), arrange },
    ...{ deviceMemory: budgets.deviceMemory, hostMemory: budgets.hostMemory, totalMemory: budgets.totalMemory },
    disk: { ...offload, stored: storedPieces(units, entries) },
    ...{ slots: arrangement.slots, overlap: offload.overlap },
    ...{
      prepareAhead: offload.prepareAhead,
      activations,
      writeBackEvery: offload.writeBackEvery,
      wire,
      compute: options.dtype,
      rounding: roundingOf(options),
    },
    positionRow: definition.positionRow,
    poison: test?.poison ?? false,
    onPass: test?.onPass,
  });
  try {
    const base = await loadAll(session, checkpoint, entries, null, o.signal);
    const adapter = made === null ? null : await begun(made, session);
    const fingerprints = new Map([...base, ...(await loadAdapter(session, adapter, o.signal))]);
    if (session.store.inPlaceBytes > 0) await checkpoint.checkUnchanged();
    const model = new Model({
      ...{ name, dir, config, tokenizer, options, definition, parameters, unused, warnings, fingerprints, session },
      ...{ unitBytes, adapter },
    });
    for (const reference of options.journals) {
      const { journal, steps } = await openReference(reference);
      await replayRun(loadedOf(model), journal, { steps, signal: o.signal, onProgress: o.onReplay });
    }
    return model;
  } catch (error) {
    await session.dispose();
    throw error;
  }
}
