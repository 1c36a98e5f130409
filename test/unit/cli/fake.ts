import { join } from "node:path";
import { Readable, Writable } from "node:stream";
import type { Api, ModelView, TrainerView } from "../../../src/cli/api.js";
import type { Context } from "../../../src/cli/context.js";
import { runCli } from "../../../src/cli/program.js";
import { modelOptionsSchema } from "../../../src/config/model.js";
import { parseOptions } from "../../../src/config/parse.js";
import { type TrainerOptions, trainerOptionsSchema } from "../../../src/config/trainer.js";
import { type DataIssues, exampleParser } from "../../../src/data/index.js";
import { Zo2Error } from "../../../src/base/errors.js";
import { encodePrompt, Generation, type Generated } from "../../../src/infer/generate/index.js";
import { HeldDataset } from "../../../src/data/dataset.js";
import type { Evaluation } from "../../../src/infer/evaluate.js";
import type { SweepTrial } from "../../../src/sweep/result.js";
import type { BestEvaluation, Step, TrainingEvaluation } from "../../../src/train/trainer.js";

/** What a fake run is to do, and what it was asked to do. */
export interface Script {
  /** Losses and accuracies of evaluations, in order; the last one stands for all that follow. */
  readonly evaluations?: readonly { loss: number; accuracy: number | null }[];
  /** Raises SIGINT's signal after this step, or piece of text. */
  readonly abortAfter?: number;
  /** Thrown by `fit` after this step. */
  readonly failAfter?: { step: number; error: Error };
  /** Steps of a run that is resumed, and its best evaluation. */
  readonly resumedAt?: number;
  readonly bestBefore?: BestEvaluation;
  /** No evaluation of this process is the best. */
  readonly neverBest?: boolean;
  readonly stdin?: readonly string[];
  /** The addon cannot be compiled. */
  readonly buildFails?: boolean;
  /** Thrown by whatever needs the addon. */
  readonly addonError?: Error;
  /** What the check of the training data leaves out. */
  readonly skipped?: DataIssues;
}

const NOTHING: DataIssues = { count: 0, counts: {}, issues: [] };
const REPORT = { lines: 1680, remarks: NOTHING, longest: { tokens: 54, place: "train.jsonl:7" } };

class Sink extends Writable {
  text = "";
  override _write(chunk: Buffer, _: BufferEncoding, done: () => void): void {
    this.text += chunk.toString();
    done();
  }
}

/** A context whose model computes nothing and writes down every call. */
export function fakeContext(script: Script = {}) {
  const calls: [string, ...unknown[]][] = [];
  const abort = new AbortController();
  const stdout = new Sink();
  const stderr = new Sink();
  let evaluations = 0;
  const evaluation = (): Evaluation => {
    const list = script.evaluations ?? [{ loss: 1, accuracy: 0.5 }];
    const next = list[Math.min(evaluations++, list.length - 1)] ?? { loss: 1, accuracy: 0.5 };
    return { ...next, examples: 415, labelled: 415, tokens: 1000, seconds: 1 };
  };
  const model = (dir: string, options: object): ModelView => ({
    dir,
    options: parseOptions(modelOptionsSchema, options, "model options"),
    parameterCount: 4339712,
    unusedTensors: [],
    async *score(inputs) {
      const parse = exampleParser({ vocabSize: 4096, accept: ["text", "ids"] });
      for await (const input of inputs) {
        const example = parse(input, input.place ?? "no place");
        const ids = example.kind === "ids" ? [...example.ids] : example.kind === "text" ? [2, example.text.length] : [];
        yield { ids, logprobs: ids.map((_, i) => (i === 0 ? null : -1.5)), sum: -1.5 * (ids.length - 1) };
      }
    },
    generate(prompt, { signal, ...o } = {}) {
      calls.push(["generate", prompt, o]);
      async function* pieces(): AsyncGenerator<string, Generated, undefined> {
        for (const [i, piece] of ["one", " two", " three"].entries()) {
          if (signal?.aborted === true) throw new Zo2Error("ZO2_ERR_ABORTED", `stopped after ${i}`);
          yield piece;
          if (script.abortAfter === i + 1) abort.abort();
        }
        return { ids: [1, 2, 3], text: "one two three", reason: "eos" };
      }
      return new Generation(pieces());
    },
    async *generateAll(inputs, { signal: _, ...o } = {}) {
      calls.push(["generateAll", o]);
      for await (const input of inputs) {
        const { place = "no place" } = typeof input === "string" ? {} : input;
        const ids = encodePrompt(null, input, place, { vocabSize: 4096, maxPositions: 64 });
        yield { ids: [...ids], text: null, reason: "length" };
      }
    },
    evaluate(data, { signal: _, onCheck: _o, onChecked: _c, ...o } = {}) {
      calls.push(["evaluate", data, o]);
      return Promise.resolve(evaluation());
    },
    merge(adapter) {
      calls.push(["merge", adapter]);
      return Promise.resolve();
    },
    save(out, o) {
      calls.push(["save", out, o]);
      return Promise.resolve();
    },
    plan: () => ({
      units: [{ name: "decoder.layers.0", tier: "host", bytes: 2 ** 20 }],
      parts: [{ name: "slots", bytes: 3 * 2 ** 20 }],
      deviceBytes: 6 * 2 ** 20,
      deviceMemory: null,
      ...{ unitBytes: 2 ** 20, slots: 3, prepareAhead: false },
      activations: { tier: "device", bytes: 0 },
      hostBytes: 17 * 2 ** 20,
      diskBytes: 0,
      inPlaceBytes: 0,
      tokens: 2048,
    }),
    maxPositions: 2048,
    deviceInfo: () => ({
      kind: "cpu",
      name: "a CPU",
      features: "avx2",
      threads: 2,
      threadsLimitedBy: "",
      memoryLimitedBy: "",
      memoryTotal: 9,
      memoryFree: 8,
      memoryLimit: 0,
      deviceBytes: 1,
      deviceBytesPeak: 2,
      hostBytes: 3,
      fileBytes: 0,
      commands: 0,
      launches: 0,
      allocations: 0,
    }),
    dispose() {
      calls.push(["dispose"]);
      return Promise.resolve();
    },
  });
  const trainer = (options: TrainerOptions, stepsTaken: number): TrainerView => ({
    stepsTaken,
    bestEvaluation: script.bestBefore ?? null,
    async *fit(data, o = {}) {
      calls.push(["fit", data]);
      if (options.checkData !== false) {
        const report = {
          ...REPORT,
          name: typeof data === "string" ? data : "a task",
          skipped: script.skipped ?? NOTHING,
        };
        await o.onChecked?.({ training: report, evaluation: null });
      }
      let best = Infinity;
      for (let index = stepsTaken; index < options.steps; index++) {
        if (o.signal?.aborted === true) throw new Zo2Error("ZO2_ERR_ABORTED", `stopped after ${index}`);
        const step: Step = {
          index,
          labelled: 4,
          loss: 2 - index / 100,
          lossPlus: 2,
          lossMinus: 1,
          projectedGradient: 500,
          ...{ coefficients: [500], skipped: false },
          learningRate: 1e-4,
          examples: 4,
          tokens: 100,
          seconds: 0.5,
          tokensPerSecond: 200,
          deviceBytes: 1024,
        };
        yield step;
        const done = index + 1;
        if (script.abortAfter === done) abort.abort();
        if (script.failAfter?.step === done) throw script.failAfter.error;
        if (options.evaluation !== undefined && (done % options.evaluation.every === 0 || done === options.steps)) {
          const e = evaluation();
          const report: TrainingEvaluation = { ...e, step: done, best: script.neverBest !== true && e.loss < best };
          best = Math.min(best, e.loss);
          await o.onEvaluation?.(report);
        }
      }
    },
  });
  const api: Api = {
    loadModel(dir, options) {
      calls.push(["loadModel", dir, options]);
      if (script.addonError !== undefined) return Promise.reject(script.addonError);
      return Promise.resolve(model(dir, options));
    },
    createTrainer(_, options) {
      calls.push(["createTrainer", options]);
      return trainer(options, 0);
    },
    resumeTrainer(_, dir, options) {
      calls.push(["resumeTrainer", dir, options]);
      return Promise.resolve(trainer(options, script.resumedAt ?? 0));
    },
    sweep(_, options, hooks) {
      calls.push(["sweep", options]);
      const trial = (name: string, state: "done" | "diverged", loss: number): SweepTrial => ({
        ...{ name, dir: join(options.dir, name), values: { seed: 2n ** 63n }, state, steps: 4, seconds: 1 },
        options: parseOptions(
          trainerOptionsSchema,
          { steps: 4, method: { name: "es", learningRate: 1 } },
          "trainer options",
        ),
        ...{ reused: false, evaluation: state === "done" ? { step: 3, loss, accuracy: 0.75 } : null },
      });
      const trials = [trial("02-b", "done", 0.5), trial("01-a", "diverged", NaN)];
      if (script.abortAfter === 0) return Promise.reject(new Zo2Error("ZO2_ERR_ABORTED", "stopped"));
      for (const [index, { name, dir, values }] of trials.entries())
        hooks.onTrial?.({ name, dir, values, steps: 4, index, count: 2, resumed: index === 1 });
      for (const one of trials) hooks.onTrialEnd?.(one);
      return Promise.resolve({ trials, report: join(options.dir, "report.html") });
    },
    loadTask(name, options) {
      calls.push(["loadTask", name, options]);
      const part = (of: string) => new HeldDataset(of, []);
      return Promise.resolve({
        ...{ sizes: { train: 1000, dev: 500, test: 1000 }, options: { truncation: "left" } as const },
        train: () => part("train"),
        dev: () => part("dev"),
        objective: () => ({
          data: part("prompts"),
          objective: { from: "text" as const, loss: () => 0, generate: { maxNewTokens: 50 } },
        }),
        evaluate(_model, { signal: _s, ...o } = {}) {
          calls.push(["evaluateTask", o]);
          const metric = {
            task: name,
            shots: o.shots ?? 0,
            metric: "f1",
            accuracy: null,
            f1: 0.5,
            exactMatch: 0.25,
          } as const;
          return Promise.resolve({ ...metric, loss: null, examples: 1000, tokens: 9000, seconds: 2 });
        },
        close() {
          calls.push(["closeTask"]);
          return Promise.resolve();
        },
      });
    },
    writeTimeline(name, out, options) {
      calls.push(["writeTimeline", name, out, options]);
      if (script.addonError !== undefined) return Promise.reject(script.addonError);
      return Promise.resolve({ out, bytes: 2 ** 20, predicted: 0.5, measured: 0.512 });
    },
    systemInfo: () =>
      script.addonError !== undefined
        ? Promise.reject(script.addonError)
        : Promise.resolve({
            build: "g++ 12, OpenBLAS 0.3.21, CUDA off",
            file: "/pkg/build/Release/zo2.node",
            backends: [
              { kind: "cpu", devices: 1 },
              { kind: "cuda", devices: 0, reason: "not compiled in" },
            ],
            cpu: {
              name: "a CPU",
              features: "avx2 fma",
              threads: 2,
              threadsLimitedBy: "/sys/fs/cgroup/cpu.max",
              memoryLimitedBy: "",
              memoryTotal: 2 ** 33,
              memoryFree: 2 ** 32,
            },
          }),
  };
  const context: Context = {
    loadApi: () => Promise.resolve(api),
    buildAddon(options) {
      calls.push(["buildAddon", options]);
      return Promise.resolve(script.buildFails !== true);
    },
    stdin: Readable.from(script.stdin ?? []),
    stdout,
    stderr,
    signal: abort.signal,
    packageRoot: "/pkg",
    version: "9.9.9",
  };
  return {
    context,
    calls,
    stdout,
    stderr,
    named: (name: string) => calls.filter(([n]) => n === name).map(([, ...rest]) => rest),
  };
}

/** Runs `zo2` on a fake. */
export async function zo2(args: readonly string[], script: Script = {}) {
  const fake = fakeContext(script);
  const code = await runCli(args, fake.context);
  return { ...fake, code, out: fake.stdout.text, err: fake.stderr.text };
}

/** The least that `zo2 train` needs, with `tuned` in `dir` for the model, and more. */
export function trainArguments(dir: string, ...more: string[]): string[] {
  const flags = ["--model", "m", "--data", "train.jsonl", "--out", join(dir, "tuned"), "--steps", "4"];
  return ["train", ...flags, "--learning-rate", "1e-4", ...more];
}
