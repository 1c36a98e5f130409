/** Each tensor's first element has a canonical index that is a multiple of this many elements. */
export const CANONICAL_ALIGNMENT = 128;

/** A tensor of a checkpoint, before it has a place in the canonical order. */
export interface ParameterSpec {
  /** Name in transformers' `named_parameters()`. */
  readonly name: string;
  /** Row-major, as the checkpoint stores it. One or two dimensions. */
  readonly shape: readonly number[];
  /** Whether weight decay concerns it: not for biases and norm gains, as in MeZO. */
  readonly decay: boolean;
  /** Trained with an adapter, over a base that stays as it is. */
  readonly adapter?: true;
}

/** A trainable tensor with its place in the canonical order, on which the noise depends. */
export interface Parameter extends ParameterSpec {
  readonly index: number;
  /** Elements. */
  readonly count: number;
  /** Canonical index of the first element. */
  readonly canonical: number;
}

/** Numbers the parameters in the given order: that of `named_parameters()`, a tied tensor once. */
export function numberParameters(specs: readonly ParameterSpec[]): readonly Parameter[] {
  let canonical = 0;
  return specs.map((spec, index) => {
    const count = spec.shape.reduce((a, b) => a * b, 1);
    const parameter: Parameter = { ...spec, index, count, canonical };
    canonical += Math.ceil(count / CANONICAL_ALIGNMENT) * CANONICAL_ALIGNMENT;
    return parameter;
  });
}

/** Length of the canonical order, in elements: what a table of injected noise has to hold. */
export function canonicalLength(parameters: readonly Parameter[]): number {
  const last = parameters.at(-1);
  return last === undefined ? 0 : last.canonical + Math.ceil(last.count / CANONICAL_ALIGNMENT) * CANONICAL_ALIGNMENT;
}

/** Parameters that no step ever changes: with an adapter, all of its base. */
export function fixedParameters(parameters: readonly Parameter[]): ReadonlySet<Parameter> {
  return new Set(parameters.some(isOfAdapter) ? parameters.filter((parameter) => !isOfAdapter(parameter)) : []);
}

export function isOfAdapter({ adapter }: ParameterSpec): boolean {
  return adapter === true;
}

/** Rows and elements per row of a parameter; a one-dimensional one has rows of one element. */
export function rowsOf(parameter: ParameterSpec): { rows: number; width: number } {
  const [rows = 1, ...rest] = parameter.shape;
  return { rows, width: rest.reduce((a, b) => a * b, 1) };
}
