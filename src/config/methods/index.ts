/** The options of every method: one file for each, and one line in each of these lists. */
import { z } from "zod";
import { type DrawnNoise, type MethodStep, stepOf } from "../../method/index.js";
import { noiseSchema } from "./common.js";
import { esProbes, esSchema } from "./es.js";
import { fzooProbes, fzooSchema } from "./fzoo.js";
import { lozoProbes, lozoSchema } from "./lozo.js";
import { mezoSgdProbes, mezoSgdSchema } from "./mezo-sgd.js";

const SCHEMAS = { "mezo-sgd": mezoSgdSchema, fzoo: fzooSchema, es: esSchema, lozo: lozoSchema } as const;

const PROBES = { "mezo-sgd": mezoSgdProbes, fzoo: fzooProbes, es: esProbes, lozo: lozoProbes } as const;

export const METHOD_NAMES = Object.keys(SCHEMAS) as [keyof typeof SCHEMAS, ...(keyof typeof SCHEMAS)[]];

/** A method and its own options, told apart by `name`. */
export const methodSchema = z.discriminatedUnion("name", [mezoSgdSchema, fzooSchema, esSchema, lozoSchema]);

/** Of these, what decides on the probes of a step, and so on memory and time. */
export const methodProbesSchema = z
  .discriminatedUnion("name", [mezoSgdProbes, fzooProbes, esProbes, lozoProbes])
  .prefault({ name: "mezo-sgd" });

export type MethodProbes = z.output<typeof methodProbesSchema>;

/** Of a method's options, those. */
export function probesOf(method: z.output<typeof methodSchema>): MethodProbes {
  const kept = Object.keys(PROBES[method.name].shape);
  return methodProbesSchema.parse(Object.fromEntries(Object.entries(method).filter(([key]) => kept.includes(key))));
}

/** A step with these probes; how far they stand from the weights is not said. */
export function plannedStep(method: MethodProbes): MethodStep {
  const options = { ...method, eps: 1, fitness: "zscore" } as const;
  return stepOf(options);
}

/** For options that have a method's probes, and the noise beside them. */
export const noiseOption = noiseSchema.optional();

/** The distribution of a method's directions: its own, or the one that other options name or leave out. */
export function noiseOf(
  method: MethodProbes & { readonly noise?: string | undefined },
  noise: string | undefined = method.noise,
): DrawnNoise {
  if (method.name !== "lozo") return SCHEMAS[method.name].shape.noise.parse(noise);
  const { rank, interval } = method;
  return { kind: lozoSchema.shape.noise.parse(noise), rank, interval };
}

/** Refuses noise that the method is not defined for. */
export function refineNoise(
  { method, noise }: { readonly method: MethodProbes; readonly noise?: z.output<typeof noiseOption> },
  context: z.core.$RefinementCtx,
): void {
  const { name } = method;
  const own = SCHEMAS[name].shape.noise;
  if (own.safeParse(noise).success) return;
  const message = `must be ${JSON.stringify(own.parse(undefined))} for method ${JSON.stringify(name)}`;
  context.addIssue({ code: "custom", path: ["noise"], input: noise, message });
}
