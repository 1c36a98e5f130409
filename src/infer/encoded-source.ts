import {
  type CheckOptions,
  type CheckResult,
  choicesRemark,
  type DataIssues,
  type Dataset,
  type EncodedExample,
  encodeExampleInSlices,
  type Example,
  type Indexed,
  IssueLog,
  LineError,
  type Reduction,
  type Truncation,
} from "../data/index.js";
import type { Tokenizer } from "../tokenizer/index.js";
import { ExampleSizes } from "./example-sizes.js";
import { KeptExamples } from "./kept-examples.js";
import { type DataSource, openSource, type OpenSource, type SourceOptions } from "./source.js";

/** What the check of a data set has found. */
export interface DataReport {
  /** The path, or "examples". */
  readonly name: string;
  /** Lines that are not blank, or examples. */
  readonly lines: number;
  /** Lines that were left out. */
  readonly skipped: DataIssues;
  /** Lines that are used and of which something is to be said: they are cut, or their choices begin alike. */
  readonly remarks: DataIssues;
  /** The longest sequence, as it goes through the model, and where it comes from. */
  readonly longest: { readonly tokens: number; readonly place: string };
}

/** Collects what a report says of the examples that are used. */
export class ReportBuilder {
  private readonly remarks = new IssueLog();
  private longest = { tokens: 0, place: "" };

  /** @param lengths tokens of its sequences, as they are used. */
  add(place: string, lengths: readonly number[]): void {
    const tokens = Math.max(0, ...lengths);
    if (tokens > this.longest.tokens) this.longest = { tokens, place };
  }

  remark(kind: "length" | "choices", place: string, what: string): void {
    const code = kind === "length" ? "ZO2_ERR_LENGTH" : "ZO2_ERR_DATA";
    this.remarks.add({ kind, code, place, line: null, message: `${place}: ${what}` });
  }

  finish({ name }: Dataset, { lines, skipped }: CheckResult): DataReport {
    return { name, lines, skipped, remarks: this.remarks, longest: this.longest };
  }
}

/** How the lines of a data set become tokens. */
export interface EncodingOptions extends Pick<SourceOptions, "head" | "template" | "labelMap"> {
  readonly vocabSize: number;
  readonly maxLength: number;
  readonly truncation: Truncation;
  readonly reduction: Reduction;
}

export interface EncodedSourceOptions extends CheckOptions {
  readonly encoding: EncodingOptions;
  readonly checkData: boolean;
}

/** A data set in tokens, by index. What its check has encoded is kept as far as it fits, the rest is read anew. */
export class EncodedSource implements Indexed<EncodedExample>, AsyncDisposable {
  private constructor(
    private readonly source: OpenSource,
    private readonly encode: (example: Example) => Promise<EncodedExample>,
    private readonly kept: KeptExamples,
    /** Null where nothing was checked. */
    readonly report: DataReport | null,
    /** Of every example; null where nothing was checked. */
    readonly sizes: ExampleSizes | null,
  ) {}

  /** @throws Zo2Error what `readDataset` throws; DataError with ZO2_ERR_LENGTH, ZO2_ERR_TOKENIZER as well */
  static async open(
    tokenizer: Tokenizer | null,
    data: DataSource,
    { encoding, ...check }: EncodedSourceOptions,
  ): Promise<EncodedSource> {
    const { vocabSize, head, template, labelMap, maxLength, truncation, reduction } = encoding;
    const sizes = new ExampleSizes();
    const kept = new KeptExamples();
    const builder = new ReportBuilder();
    let kind: EncodedExample["kind"] | undefined;
    const encode = (example: Example, onCut?: (tokens: number) => void) =>
      encodeExampleInSlices(tokenizer, example, { vocabSize, maxLength, truncation, onCut });
    const examine = async (example: Example) => {
      const { place } = example;
      let whole = 0;
      const encoded = await encode(example, (tokens) => {
        whole = tokens;
      });
      kind ??= encoded.kind;
      if (encoded.kind !== kind)
        throw new LineError(
          "shape",
          place,
          `makes ${encoded.kind}, and lines before it ${kind}; all must make the same`,
        );
      const remark = encoded.kind === "choices" ? choicesRemark(encoded, reduction, place) : undefined;
      sizes.add(encoded);
      kept.add(encoded);
      builder.add(
        place,
        encoded.kind === "choices" ? encoded.choices.map(({ ids }) => ids.length) : [encoded.ids.length],
      );
      if (whole > 0) builder.remark("length", place, `${whole} tokens, cut to ${maxLength}`);
      if (remark !== undefined) builder.remark("choices", place, remark);
    };
    const source = await openSource(data, { ...check, vocabSize, head, template, labelMap }, examine);
    return source.check === null
      ? new EncodedSource(source, encode, kept, null, null)
      : new EncodedSource(source, encode, kept, builder.finish(source.dataset, source.check), sizes);
  }

  get name(): string {
    return this.source.dataset.name;
  }

  get size(): number {
    return this.source.dataset.size;
  }

  async at(index: number): Promise<EncodedExample> {
    return this.kept.get(index) ?? this.encode(await this.source.dataset.at(index));
  }

  [Symbol.asyncDispose](): PromiseLike<void> {
    return this.source[Symbol.asyncDispose]();
  }
}
