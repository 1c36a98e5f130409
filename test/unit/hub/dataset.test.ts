import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { resolveDataset, type ResolveDatasetOptions, type SplitOf } from "../../../src/hub/index.js";
import { COMMIT, failure, noise, setUp, tidy, treeOf } from "./support.js";

afterAll(tidy);

const OTHER = COMMIT.replace("0", "f");
const CONVERTED = "refs/convert/parquet";
const both = (config: string): SplitOf[] => ["train", "validation"].map((split) => ({ config, split }));

async function hubWith(files: Record<string, Buffer>, converted?: Record<string, Buffer>) {
  const { hub, env, cache } = await setUp();
  hub.datasets.set("org/data", { commit: COMMIT, files });
  if (converted !== undefined)
    hub.datasets.set(`org/data@${CONVERTED}`, { commit: OTHER, files: converted, refs: [CONVERTED] });
  const get = (splits: readonly SplitOf[], o: ResolveDatasetOptions = {}) =>
    resolveDataset("org/data", splits, { env, ...o });
  return { hub, cache, get };
}

const SST2 = {
  "README.md": Buffer.from("read me"),
  "cola/train-00000-of-00001.parquet": noise(100, 1),
  "sst2/train-00001-of-00002.parquet": noise(2000, 2),
  "sst2/train-00000-of-00002.parquet": noise(3000, 3),
  "sst2/validation-00000-of-00001.parquet": noise(400, 4),
};

test("the parts of each split come in order, alone, into the cache that all tools share", async () => {
  const { hub, cache, get } = await hubWith(SST2);
  const snapshot = join(cache, "datasets--org--data/snapshots", COMMIT);
  const files = await get(both("sst2"));
  expect(files).toEqual([
    [0, 1].map((part) => join(snapshot, `sst2/train-0000${part}-of-00002.parquet`)),
    [join(snapshot, "sst2/validation-00000-of-00001.parquet")],
  ]);
  for (const path of files.flat())
    expect(await readFile(path)).toEqual(SST2[path.slice(snapshot.length + 1) as keyof typeof SST2]);
  const tree = Object.keys(await treeOf(join(cache, "datasets--org--data")));
  expect(tree.filter((name) => name.startsWith("snapshots"))).toHaveLength(3);
  expect(tree).toContain("refs/main");
  const before = hub.sent();
  expect(await get(both("sst2"))).toEqual(files);
  expect(hub.sent()).toBe(before);
  expect(await get(both("sst2"), { offline: true })).toEqual(files);
});

test.each([
  ["data/", "data/train-00000-of-00001-0123456789abcdef.parquet", "data/validation-00000-of-00001.parquet"],
  ["the root", "train.parquet", "validation.parquet"],
  ["default/", "default/train/0000.parquet", "default/validation/0000.parquet"],
])("of the only config the files are found in %s", async (_, train, validation) => {
  const { get } = await hubWith({ [train]: noise(10, 1), [validation]: noise(10, 2) });
  const [[first = ""] = [], [second = ""] = []] = await get(both(""));
  expect(first.endsWith(train)).toBe(true);
  expect(second.endsWith(validation)).toBe(true);
});

test("a data set that is no Parquet itself is taken from the branch of converted files", async () => {
  const converted = { "wsc.fixed/train/0000.parquet": noise(10, 1), "wsc.fixed/validation/0000.parquet": noise(10, 2) };
  const { cache, get } = await hubWith({ "super_glue.py": Buffer.from("") }, converted);
  const files = await get(both("wsc.fixed"));
  expect(files.flat()).toEqual(
    Object.keys(converted).map((name) => join(cache, "datasets--org--data/snapshots", OTHER, name)),
  );
  expect(await readFile(join(cache, "datasets--org--data/refs", CONVERTED), "utf8")).toBe(OTHER);
  expect(await get(both("wsc.fixed"), { offline: true })).toEqual(files);
});

test("what is not there is named", async () => {
  const { get } = await hubWith(SST2);
  await expect(get(both("rte"))).rejects.toEqual(
    failure("ZO2_ERR_CHECKPOINT", "org/data@main", "no Parquet files of rte/train and rte/validation", CONVERTED),
  );
  await expect(get(both("sst2"), { offline: true })).rejects.toEqual(failure("ZO2_ERR_CHECKPOINT", "offline"));
  await expect(resolveDataset("no such/name", both(""))).rejects.toEqual(failure("ZO2_ERR_CONFIG", "no such/name"));
  const { env } = await setUp();
  await expect(resolveDataset("org/none", both(""), { env })).rejects.toEqual(
    failure("ZO2_ERR_CHECKPOINT", "org/none: no such data set"),
  );
});

test("a part that is missing in the cache counts as missing, and a Hub out of reach as the cache", async () => {
  const { hub, get } = await hubWith(SST2);
  const files = await get(both("sst2"));
  hub.fault = (_, __, response) => (response.destroy(), true);
  const warned = jest.spyOn(process, "emitWarning").mockImplementation(() => undefined);
  expect(await get(both("sst2"))).toEqual(files);
  expect(warned.mock.calls.join()).toContain("org/data is used as the cache holds it");
  warned.mockRestore();
  await rm(files[0]?.[1] ?? "");
  await expect(get(both("sst2"), { offline: true })).rejects.toEqual(failure("ZO2_ERR_CHECKPOINT", "offline"));
}, 60_000);
