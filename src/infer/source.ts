import { openDataset, type Dataset, type DatasetSource, type ExampleOptions } from "../data/index.js";

/** Examples, a path to JSON Lines, or a data set that is open already (and stays open). */
export type DataSource = DatasetSource | Dataset;

/** A data set, and what closes it if it was opened for this. */
export interface OpenSource extends AsyncDisposable {
  readonly dataset: Dataset;
}

/** @param o.prompts whether lines are prompts of an objective that the caller computes. */
export async function openSource(
  data: DataSource,
  o: Pick<ExampleOptions, "vocabSize" | "head" | "template" | "prompts">,
): Promise<OpenSource> {
  if (isDataset(data)) return { dataset: data, [Symbol.asyncDispose]: () => Promise.resolve() };
  const dataset = await openDataset(data, o);
  return { dataset, [Symbol.asyncDispose]: () => dataset.close() };
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
