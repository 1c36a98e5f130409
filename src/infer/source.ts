import {
  checkDataset,
  type CheckOptions,
  type CheckResult,
  readDataset,
  type Dataset,
  type DatasetSource,
  type Examine,
  type ExampleOptions,
} from "../data/index.js";

/** Examples, a path to JSON Lines or Parquet, or a data set that is open already (and stays open). */
export type DataSource = DatasetSource | Dataset;

/** A data set, what its check has found, and what closes it if it was opened for this. */
export interface OpenSource extends AsyncDisposable {
  readonly dataset: Dataset;
  /** Null where nothing was checked. */
  readonly check: CheckResult | null;
}

export interface SourceOptions
  extends CheckOptions,
    Pick<ExampleOptions, "vocabSize" | "head" | "template" | "labelMap" | "prompts"> {
  /** Whether all of it is read at once, to find what is wrong with it. */
  readonly checkData: boolean;
}

/** @param examine sees every example of a data set that is checked, as in `readDataset`. */
export async function openSource(data: DataSource, o: SourceOptions, examine: Examine): Promise<OpenSource> {
  if (!isDataset(data)) {
    const { checkData, ...options } = o;
    const opened = await readDataset(data, { ...options, check: checkData }, examine);
    return { ...opened, [Symbol.asyncDispose]: () => opened.dataset.close() };
  }
  const opened = o.checkData ? await checkDataset(data, o, examine) : { dataset: data, check: null };
  return { ...opened, [Symbol.asyncDispose]: () => Promise.resolve() };
}

function isDataset(data: DataSource): data is Dataset {
  return (
    typeof data === "object" &&
    "at" in data &&
    "size" in data &&
    typeof data.size === "number" &&
    typeof data.at === "function" &&
    !Array.isArray(data)
  );
}
