import { bindLoaded, type Loaded } from "../../../src/loaded.js";
import type { Batch } from "../../../src/memory/batch-tables.js";
import type { StepRequest } from "../../../src/device/requests.js";
import type { EncodedSource } from "../../../src/infer/encoded-source.js";
import type { Evaluation } from "../../../src/infer/evaluate.js";
import type { Model } from "../../../src/model.js";
import { numberParameters } from "../../../src/ops/parameter.js";
import type { Tokenizer } from "../../../src/tokenizer/index.js";

/** What the trainer asked of a session and a model, in order. */
export type Asked =
  | { readonly what: "step"; readonly batch: Batch; readonly request: StepRequest }
  | { readonly what: "evaluate"; readonly source: EncodedSource; readonly options: object }
  | { readonly what: "commit" | "discard" | "flush" | "freeze" };

export interface TrainedModel {
  readonly model: Model;
  readonly asked: Asked[];
  /** Of them the steps, and the evaluations' options. */
  steps(): readonly Extract<Asked, { what: "step" }>[];
  evaluations(): readonly Extract<Asked, { what: "evaluate" }>[];
}

/**
 * A model without a device: a step's losses are `losses` of its number, and an evaluation is the next of `scores`, for
 * tests that let the session evaluate (`evaluateBySession`).
 */
export function trainedModel(o: {
  readonly losses?: (step: number) => readonly [number, number];
  readonly scores?: readonly Partial<Evaluation>[];
  readonly tokenizer?: Tokenizer | null;
  readonly maxPositions?: number;
  readonly maxTokens?: number;
}): TrainedModel {
  const { losses = () => [1, 1], scores = [], tokenizer = null, maxPositions = 32 } = o;
  const asked: Asked[] = [];
  const note = (what: "commit" | "discard" | "flush" | "freeze") => {
    asked.push({ what });
  };
  const parameters = numberParameters([{ name: "w", shape: [4, 2], decay: true }]);
  let evaluated = 0;
  const session = {
    units: [],
    reserve: () => () => undefined,
    freeze: async () => note("freeze"),
    clearSticky: async () => undefined,
    makeRoom: async () => undefined,
    commit: () => note("commit"),
    discard: () => note("discard"),
    flush: async () => note("flush"),
    gathers: false,
    planAhead: async () => undefined,
    evaluate: async (source: EncodedSource, options: object) => {
      asked.push({ what: "evaluate", source, options });
      return { loss: 1, accuracy: null, examples: 1, labelled: 1, tokens: 1, seconds: 1, ...scores[evaluated++] };
    },
    step: async (batch: Batch, request: StepRequest) => {
      asked.push({ what: "step", batch, request });
      return { result: Promise.resolve({ losses: losses(request.step), coefficients: [request.step + 0.5] }) };
    },
  };
  const model = {
    maxPositions,
    parameters,
    deviceInfo: () => ({ deviceBytes: 4711 }),
  };
  const definition = { vocabSize: 2000, maxPositions, head: { kind: "causal" } };
  bindLoaded(model, {
    ...{ session, tokenizer, definition, parameters, options: { maxTokens: o.maxTokens } },
  } as unknown as Loaded);
  return {
    model: model as unknown as Model,
    asked,
    steps: () => asked.flatMap((a) => (a.what === "step" ? [a] : [])),
    evaluations: () => asked.flatMap((a) => (a.what === "evaluate" ? [a] : [])),
  };
}

/** In the place of `evaluateSource`: the session is asked, as `trainedModel` has it. */
export function evaluateBySession(
  session: unknown,
  _head: unknown,
  source: EncodedSource,
  options: object,
  signal?: AbortSignal,
): Promise<Evaluation> {
  const { evaluate } = session as { evaluate(source: EncodedSource, options: object): Promise<Evaluation> };
  return evaluate(source, { ...options, signal });
}
