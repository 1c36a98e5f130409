/** What a checkpoint is, from its config and its tensors together: where these disagree, it is decided here. */
import type { FloatType, WireType } from "./base/dtype.js";
import { someOf, type Warning } from "./base/warnings.js";
import type { Checkpoint, TensorEntry } from "./checkpoint/index.js";
import { findDoubles, unusedTensors } from "./checkpoint/index.js";
import { checkTensors } from "./checkpoint/weights.js";
import type { ModelDefinition } from "./models/family.js";
import { defineModel } from "./models/index.js";
import { isOfAdapter, numberParameters, type Parameter } from "./ops/parameter.js";

/** What older checkpoints store beside the weights: causal masks, and rotary tables that follow from the config. */
const BUFFERS = [/\.attn\.(masked_)?bias$/, /\.rotary_emb\.inv_freq$/];

/** The field by which a config ties the head to the embedding, in every family. */
const TIE = "tie_word_embeddings";

export interface Contents {
  /** As it is understood: it ties nothing that the checkpoint has apart. */
  readonly config: Readonly<Record<string, unknown>>;
  readonly definition: ModelDefinition;
  readonly parameters: readonly Parameter[];
  readonly entries: ReadonlyMap<Parameter, TensorEntry>;
  /** Tensors that nothing is read from. */
  readonly unused: readonly string[];
  readonly warnings: readonly Warning[];
}

/**
 * @param ignored fields of the config that the caller vouches for.
 * @throws Zo2Error ZO2_ERR_MODEL_UNSUPPORTED, ZO2_ERR_CHECKPOINT, ZO2_ERR_IO
 */
export async function readContents(checkpoint: Checkpoint, ignored: readonly string[]): Promise<Contents> {
  const config = checkpoint.config as Contents["config"];
  const tied = findTensors(checkpoint, defineModel(config, ignored));
  const { namePrefixes, aliases } = tied.definition;
  const doubles = await findDoubles(checkpoint, tied.used, namePrefixes, aliases);
  const different = doubles.filter(({ same }) => !same);
  const own = different.find(({ alias }) => alias);
  const apart = { ...config, [TIE]: false };
  const rest = ignored.filter((field) => field !== TIE);
  const found = own === undefined ? tied : findTensors(checkpoint, defineModel(apart, rest));
  const taken = new Set(found.entries.values());
  const unused = unusedTensors(checkpoint, found.used, {
    prefixes: namePrefixes,
    aliases: found.definition.aliases,
    different: new Set(different.map(({ other }) => other).filter((other) => !taken.has(other))),
    ignored: BUFFERS,
  });
  const warnings = indexWarnings(checkpoint);
  if (own !== undefined) {
    const [head, embedding] = [own.other, own.used].map(({ name }) => JSON.stringify(name));
    warnings.push({
      code: "ZO2_WARN_UNTIED_HEAD",
      message:
        `${checkpoint.dir}: config.json ties ${head} to ${embedding}, but the checkpoint has both, with different ` +
        `values; both are kept, trained apart, and saved with ${TIE} = false (set it in config.json if that is ` +
        "right, or take the head out of the file if it is not)",
    });
  }
  return { ...found, config: own === undefined ? config : apart, unused, warnings };
}

/** The same entries for the parameters of the model with an adapter over it, which has values of its own. */
export function entriesOf(
  parameters: readonly Parameter[],
  found: Pick<Contents, "entries">,
): ReadonlyMap<Parameter, TensorEntry> {
  const byName = new Map([...found.entries].map(([{ name }, entry]) => [name, entry]));
  return new Map(
    parameters.flatMap((parameter) => {
      const entry = isOfAdapter(parameter) ? undefined : byName.get(parameter.name);
      return entry === undefined ? [] : [[parameter, entry] as const];
    }),
  );
}

function findTensors(checkpoint: Checkpoint, definition: ModelDefinition) {
  const parameters = numberParameters(definition.parameters);
  const entries = checkTensors(checkpoint, parameters, definition.namePrefixes, definition.aliases);
  const used = new Map([...entries].map(([parameter, entry]) => [parameter.name, entry]));
  return { definition, parameters, entries, used };
}

/** Whatever is needed has been found by now. */
function indexWarnings({ index }: Checkpoint): Warning[] {
  if (index === null) return [];
  const { path, absent, unnamed } = index;
  const warnings: Warning[] = [];
  const warn = (message: string) => warnings.push({ code: "ZO2_WARN_INDEX", message: `${path}: ${message}` });
  const [first] = absent;
  if (first !== undefined) {
    const [name, why] = first;
    warn(
      `${absent.size} of its tensors are not there, and nothing needs them: ${someOf([...absent.keys()])} ` +
        `(${JSON.stringify(name)} ${why})`,
    );
  }
  if (unnamed.length > 0)
    warn(`its shards have ${unnamed.length} tensors that it does not name, taken all the same: ${someOf(unnamed)}`);
  return warnings;
}

/** Of matrices that rest in other dtypes than most. */
export function mixedDtypes(dir: string, wire: WireType, others: ReadonlyMap<Parameter, FloatType>): Warning[] {
  return [...new Set(others.values())].map((type): Warning => {
    const names = [...others].filter(([, other]) => other === type).map(([{ name }]) => name);
    return {
      code: "ZO2_WARN_MIXED_DTYPES",
      message:
        `${dir}: most matrices are stored as ${wire}, and ${names.length} as ${type}: ${someOf(names)}; each rests ` +
        `and is saved as it is stored (option "offload.wire" makes them all alike)`,
    };
  });
}
