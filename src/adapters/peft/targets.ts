/** Which layers a config means, and with which rank and scale, by PEFT's rules. */
import { at } from "../../base/at.js";
import { broken } from "../../checkpoint/index.js";
import type { LinearLayer } from "../lora.js";
import { ALL_LINEAR } from "../targets.js";
import { type AdapterBase, spellings } from "./base.js";
import type { LoraConfig, PeftConfig } from "./config.js";
import { matching } from "./patterns.js";

type Config = Pick<Extract<PeftConfig, { readonly kind: "lora" }>, "file" | "fields">;

const PLAIN = /^[\w.-]+$/;

/** The layers that a config names; null where it names none, and leaves it to the files. */
export function modulesNamed(
  config: Config,
  layers: readonly LinearLayer[],
  base: AdapterBase,
): ReadonlySet<string> | null {
  const { target_modules: targets, exclude_modules: excluded, ...rest } = config.fields;
  if (targets === undefined) return null;
  const inLayers = (name: string) => isInLayers(config.file, rest, name);
  const spelled = layers.flatMap(({ module, weight }) =>
    spellings(base, weight.name).map((name) => ({ module, name: name.slice(0, -".weight".length) })),
  );
  const names = spelled.map(({ name }) => name);
  const included = targets === ALL_LINEAR ? names.map(() => true) : hits(config.file, "target_modules", targets, names);
  const out = excluded === undefined ? names.map(() => false) : hits(config.file, "exclude_modules", excluded, names);
  const found = spelled.filter(({ module }, i) => at(included, i) && !at(out, i) && inLayers(module));
  return new Set(found.map(({ module }) => module));
}

/** A list holds names, or the last parts of some; a text is a pattern for whole names. */
function hits(
  file: string,
  field: string,
  wanted: string | readonly string[],
  names: readonly string[],
): readonly boolean[] {
  if (typeof wanted === "string") return matching(wanted, names, "whole", { file, field });
  return names.map((name) => wanted.some((end) => name === end || name.endsWith(`.${end}`)));
}

function isInLayers(
  file: string,
  { layers_to_transform: wanted, layers_pattern: pattern }: Pick<LoraConfig, "layers_to_transform" | "layers_pattern">,
  name: string,
): boolean {
  const indices = wanted === undefined ? [] : [wanted].flat();
  if (indices.length === 0) return true;
  const stems = pattern === undefined || pattern.length === 0 ? [] : [pattern].flat();
  const odd = stems.find((stem) => !PLAIN.test(stem));
  if (odd !== undefined) throw broken(file, `layers_pattern = ${JSON.stringify(odd)} is no plain name`);
  const places = (stems.length === 0 ? ["[^.]*"] : stems.map((stem) => stem.replaceAll(".", "\\.")))
    .map((stem) => new RegExp(`^.*\\.${stem}\\.(\\d+)\\.`).exec(name)?.[1])
    .filter((index) => index !== undefined);
  return places.slice(0, 1).some((index) => indices.includes(Number(index)));
}

/** Rank and scale of each of some layers: those of the first pattern that fits its name, or of the whole adapter. */
export class PerModule {
  private readonly ranks: ReadonlyMap<string, number>;
  private readonly alphas: ReadonlyMap<string, number>;

  constructor(
    private readonly config: Config,
    layers: readonly LinearLayer[],
  ) {
    const { rank_pattern: ranks, alpha_pattern: alphas } = config.fields;
    this.ranks = firstHits(config.file, "rank_pattern", ranks, layers);
    this.alphas = firstHits(config.file, "alpha_pattern", alphas, layers);
  }

  of(module: string): { readonly rank: number; readonly scale: number } {
    const { r, lora_alpha: usual, use_rslora: stabilised } = this.config.fields;
    const rank = this.ranks.get(module) ?? r;
    const alpha = this.alphas.get(module) ?? usual;
    return { rank, scale: alpha / (stabilised ? Math.sqrt(rank) : rank) };
  }
}

function firstHits(
  file: string,
  field: string,
  patterns: Readonly<Record<string, number>>,
  layers: readonly LinearLayer[],
): ReadonlyMap<string, number> {
  const names = layers.map(({ module }) => module);
  const found = new Map<string, number>();
  for (const [pattern, value] of Object.entries(patterns))
    matching(pattern, names, "end", { file, field }).forEach((hit, i) => {
      if (hit && !found.has(at(names, i))) found.set(at(names, i), value);
    });
  return found;
}
