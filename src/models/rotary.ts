import { z } from "zod";
import { unsupported } from "./fields.js";
import type { Rotary } from "../ops/table.js";

/**
 * Fields of a `config.json` that say how positions rotate: transformers 5 has `rope_parameters`, older ones the others.
 */
export const rotaryFields = {
  rope_theta: z.number().positive().optional(),
  rope_scaling: z.record(z.string(), z.unknown()).nullish(),
  rope_parameters: z.record(z.string(), z.unknown()).nullish(),
};

interface RotaryConfig {
  readonly rope_theta?: number | undefined;
  readonly rope_scaling?: Record<string, unknown> | null | undefined;
  readonly rope_parameters?: Record<string, unknown> | null | undefined;
  readonly max_position_embeddings: number;
}

const DEFAULT_BASE = 10_000;
/** Far more than any model has; it bounds the table of frequencies. */
const MOST_COLUMNS = 2 ** 14;
const { fround } = Math;

/**
 * Rotary embedding of heads of `headSize` columns. Scalings: none, `linear`, `llama3` (Llama 3.1), and `dynamic`, which
 * changes nothing up to the positions that the model was trained for, the longest sequences taken here.
 *
 * @throws Zo2Error ZO2_ERR_MODEL_UNSUPPORTED for another scaling, or a part of one that is missing
 */
export function readRotary(config: RotaryConfig, headSize: number): Rotary {
  if (config.rope_parameters && config.rope_scaling) {
    const [newer, older] = [
      readRotary({ ...config, rope_scaling: null }, headSize),
      readRotary({ ...config, rope_parameters: null }, headSize),
    ];
    if (JSON.stringify(newer) !== JSON.stringify(older)) {
      throw unsupported("rope_scaling", config.rope_scaling, "rope_parameters says otherwise; keep one of them");
    }
    return newer;
  }
  const field = config.rope_parameters ? "rope_parameters" : "rope_scaling";
  const given: Readonly<Record<string, unknown>> = config[field] ?? {};
  const number = (name: string, fallback?: number): number => {
    const value = given[name] ?? fallback;
    if (typeof value !== "number" || !Number.isFinite(value) || value <= 0)
      throw unsupported(`${field}.${name}`, given[name], "it must be a positive number");
    return value;
  };
  const base = number("rope_theta", config.rope_theta ?? DEFAULT_BASE);
  // No family here reads it in transformers: their heads turn whole.
  if (number("partial_rotary_factor", 1) !== 1)
    throw unsupported(`${field}.partial_rotary_factor`, given["partial_rotary_factor"], "all columns of a head rotate");
  if (headSize > MOST_COLUMNS)
    throw unsupported("head_dim", headSize, `heads of more than ${MOST_COLUMNS} columns are not`);
  if (headSize % 2 !== 0) throw unsupported("head_dim", headSize, "its columns rotate in pairs");
  const frequencies = baseFrequencies(base, headSize);
  const type = given["rope_type"] ?? given["type"] ?? "default";
  const known = {
    default: [],
    linear: ["factor"],
    dynamic: ["factor"],
    llama3: ["factor", "low_freq_factor", "high_freq_factor"],
  } as const;
  if (typeof type !== "string" || !Object.hasOwn(known, type)) {
    throw unsupported(`${field}.rope_type`, type, `use one of ${Object.keys(known).join(", ")}`);
  }
  const expected = new Set<string>([
    "rope_type",
    "type",
    "rope_theta",
    "partial_rotary_factor",
    "original_max_position_embeddings",
    ...known[type as keyof typeof known],
  ]);
  const stranger = Object.keys(given).find((name) => given[name] !== null && !expected.has(name));
  if (stranger !== undefined)
    throw unsupported(`${field}.${stranger}`, given[stranger], `a ${type} scaling has no such part`);
  switch (type) {
    case "linear": {
      const factor = number("factor");
      return { headSize, frequencies: frequencies.map((f) => fround(f / fround(factor))), scaling: 1 };
    }
    case "llama3": {
      const context = number("original_max_position_embeddings", config.max_position_embeddings);
      return {
        headSize,
        frequencies: llama3(frequencies, {
          factor: number("factor"),
          low: number("low_freq_factor"),
          high: number("high_freq_factor"),
          context,
        }),
        scaling: 1,
      };
    }
    default:
      return { headSize, frequencies, scaling: 1 };
  }
}

/**
 * 1 / base^(2 j / d) in fp32, each operation rounded as transformers rounds it: angles grow with these times thousands
 * of positions.
 */
function baseFrequencies(base: number, rotated: number): number[] {
  return Array.from({ length: rotated / 2 }, (_, j) => fround(1 / fround(base ** fround((2 * j) / rotated))));
}

/** Slow rotations are slowed by `factor`, fast ones are kept, and those between are blended. */
function llama3(
  frequencies: readonly number[],
  { factor, low, high, context }: { factor: number; low: number; high: number; context: number },
): number[] {
  return frequencies.map((f) => {
    const wavelength = fround(fround(2 * Math.PI) / f);
    if (wavelength < context / high) return f;
    if (wavelength > context / low) return fround(f / factor);
    const smooth = fround((context / wavelength - low) / (high - low));
    return fround(fround((1 - smooth) * fround(f / factor)) + fround(smooth * f));
  });
}
