import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { COMMIT, digests, digestsIn, failure, repository, setUp, tidy, treeOf, without } from "./support.js";

afterAll(tidy);

const OTHER = "fedcba9876543210fedcba9876543210fedcba98";
const CONFIG = { configOnly: true } as const;
const pathsOf = ({ log }: { log: readonly { method: string; path: string }[] }) =>
  log.map(({ path }) => path.split("/").slice(3).join("/"));

test("of a repository config.json alone is fetched, and kept for the model that may follow", async () => {
  const { hub, cache, get } = await setUp();
  const repo = repository();
  hub.repositories.set("org/model", repo);
  const folder = await get("org/model", CONFIG);
  expect(folder).toBe(join(cache, "models--org--model", "snapshots", COMMIT));
  expect(await readFile(join(folder, "config.json"), "utf8")).toBe('{"model_type":"opt"}');
  expect(Object.keys(await treeOf(folder))).toEqual(["config.json"]);
  expect(hub.log.filter(({ path }) => !path.startsWith("/api/")).every(({ path }) => /config\.json$/.test(path))).toBe(
    true,
  );
  // What the branch stands at, what is there, and the file.
  expect(pathsOf(hub).filter((path) => path !== "")).toHaveLength(new Set(pathsOf(hub)).size);
  expect(new Set(pathsOf(hub)).size).toBe(3);

  hub.log.length = 0;
  expect(await get("org/model", CONFIG)).toBe(folder);
  expect(hub.log).toHaveLength(1);

  expect(await digestsIn(await get("org/model"))).toEqual(digests(without(repo.files, "README.md")));
});

test("offline the cached one is used, and what is not there is said", async () => {
  const { hub, get } = await setUp();
  hub.repositories.set("org/model", repository());
  await expect(get("org/model", { ...CONFIG, offline: true })).rejects.toEqual(
    failure("ZO2_ERR_CHECKPOINT", "offline, and ", " has no config.json of it; allow the network once"),
  );
  const folder = await get("org/model", CONFIG);
  hub.log.length = 0;
  expect(await get("org/model", { ...CONFIG, offline: true })).toBe(folder);
  expect(await get(`org/model@${COMMIT}`, CONFIG)).toBe(folder);
  expect(hub.log).toEqual([]);
  await expect(get("org/model", { offline: true })).rejects.toEqual(failure("ZO2_ERR_CHECKPOINT", "lacks"));
});

test("weights that are in the cache are found offline after the config of a newer commit was looked at", async () => {
  const { hub, get } = await setUp();
  hub.repositories.set("org/model", repository());
  const folder = await get("org/model");
  hub.repositories.set("org/model", repository({ "config.json": '{"model_type":"gpt2"}' }, { commit: OTHER }));
  const newer = await get("org/model", CONFIG);
  expect(await readFile(join(newer, "config.json"), "utf8")).toContain("gpt2");
  expect(await get("org/model", { offline: true })).toBe(folder);
});

test("a repository without a config is none of a model", async () => {
  const { hub, get } = await setUp();
  const repo = repository();
  hub.repositories.set("org/model", { ...repo, files: without(repo.files, "config.json") });
  await expect(get("org/model", CONFIG)).rejects.toEqual(
    failure("ZO2_ERR_CHECKPOINT", "has no config.json at its root"),
  );
});
