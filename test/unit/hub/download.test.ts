import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, readFile, stat, truncate, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { DownloadProgress } from "../../../src/hub/index.js";
import { hubSettings } from "../../../src/hub/settings.js";
import { snapshotFolder } from "../../../src/hub/snapshot.js";
import { etagOf, gitSha1, refuse, sha256 } from "./server.js";
import {
  COMMIT,
  digests,
  digestsIn,
  failure,
  noise,
  repository,
  setUp,
  temporaryFolder,
  tidy,
  treeOf,
  without,
  QUICK,
} from "./support.js";

afterAll(tidy);

const INDEX = (form: string, count: number) =>
  JSON.stringify({
    weight_map: Object.fromEntries(
      Array.from({ length: count }, (_, i) => [`t${i}`, form.replace("N", String(i + 1))]),
    ),
  });

describe("what is downloaded and where it goes", () => {
  test("blobs by checksum, snapshots of relative links, refs with the commit: huggingface_hub's layout", async () => {
    const { hub, cache, get } = await setUp();
    const repo = repository();
    hub.repositories.set("org/model", repo);
    const folder = await get("org/model");
    expect(folder).toBe(join(cache, "models--org--model", "snapshots", COMMIT));
    const tree = await treeOf(cache);
    const expected: Record<string, string | number> = { "models--org--model/refs/main": 40 };
    for (const name of ["config.json", "tokenizer.json", "model.safetensors"]) {
      const etag = etagOf(name, repo.files[name]);
      expected[`models--org--model/blobs/${etag}`] = repo.files[name].length;
      expected[`models--org--model/snapshots/${COMMIT}/${name}`] = `-> ../../blobs/${etag}`;
    }
    const shared = Object.fromEntries(
      Object.entries(tree).filter(([path]) => !path.startsWith(".locks/") && !path.includes("/.no_exist/")),
    );
    expect(shared).toEqual(expected);
    expect(await readFile(join(cache, "models--org--model", "refs", "main"), "utf8")).toBe(COMMIT);
    expect(tree[`models--org--model/.no_exist/${COMMIT}/tokenizer_config.json`]).toBe(0);
    expect(tree[`.locks/models--org--model/${sha256(repo.files["model.safetensors"])}.lock`]).toBe(0);
    expect(await digestsIn(folder)).toEqual(digests(without(repo.files, "README.md")));
  });

  test("a folder is returned as it was named, and nothing is asked of the Hub", async () => {
    const { hub, get } = await setUp();
    const dir = await temporaryFolder();
    expect(await get(dir)).toBe(dir);
    expect(hub.log).toEqual([]);
  });

  test("only what the model needs comes: no other framework's weights, precision or folder", async () => {
    const { hub, get } = await setUp();
    const repo = repository({
      "generation_config.json": "{}",
      "chat_template.jinja": "{{ x }}",
      "LICENSE.txt": "free",
      "tf_model.h5": "tf",
      "model.gguf": "gg",
      "pytorch_model.bin": noise(1000, 3),
      "model.fp16.safetensors": noise(1000, 4),
      "original/model.safetensors": noise(1000, 5),
      "onnx/config.json": "{}",
    });
    hub.repositories.set("gpt", repo);
    const folder = await get("gpt");
    expect(Object.keys(await digestsIn(folder))).toEqual([
      "LICENSE.txt",
      "chat_template.jinja",
      "config.json",
      "generation_config.json",
      "model.safetensors",
      "tokenizer.json",
    ]);
  });

  test.each([
    ["safetensors", "model.safetensors.index.json", "model-0000N-of-00003.safetensors"],
    ["pytorch .bin", "pytorch_model.bin.index.json", "pytorch_model-0000N-of-00003.bin"],
  ])(
    "a sharded model (%s) brings its index and the shards that it names, over several pages of the list",
    async (_, index, shard) => {
      const { hub, get } = await setUp();
      const shards = Object.fromEntries([1, 2, 3, 4].map((i) => [shard.replace("N", String(i)), noise(5000 + i, i)]));
      const { files } = repository({ [index]: INDEX(shard, 3), ...shards });
      hub.repositories.set("org/model", { commit: COMMIT, files: without(files, "model.safetensors") });
      hub.pageSize = 2;
      const folder = await get("org/model");
      expect(await digestsIn(folder)).toEqual(
        digests(without(files, "model.safetensors", "README.md", shard.replace("N", "4"))),
      );
    },
  );

  test("pytorch_model.bin comes where there are no safetensors", async () => {
    const { hub, get } = await setUp();
    const { files } = repository({ "pytorch_model.bin": noise(70_000, 9) });
    hub.repositories.set("org/model", { commit: COMMIT, files: without(files, "model.safetensors") });
    expect(await digestsIn(await get("org/model"))).toEqual(digests(without(files, "model.safetensors", "README.md")));
  });

  test("a revision with slashes gets a ref of its own, and @revision means the same as the option", async () => {
    const { hub, cache, get } = await setUp();
    hub.repositories.set("org/model", repository({}, { refs: ["refs/pr/7"] }));
    const folder = await get("org/model@refs/pr/7");
    expect(await readFile(join(cache, "models--org--model/refs/refs/pr/7"), "utf8")).toBe(COMMIT);
    expect(await get("org/model", { revision: "refs/pr/7" })).toBe(folder);
    await expect(get("org/model@v1", { revision: "v2" })).rejects.toEqual(failure("ZO2_ERR_CONFIG", "v1", "v2"));
  });

  test("an empty file and two files of the same bytes come right", async () => {
    const { hub, get } = await setUp();
    const repo = repository({ "merges.txt": "", "vocab.json": "{}" });
    hub.repositories.set("org/model", repo);
    expect(await digestsIn(await get("org/model"))).toEqual(digests(without(repo.files, "README.md")));
  });

  test("progress counts every byte once and ends at the total", async () => {
    const { hub, get } = await setUp();
    const repo = repository({ "model.safetensors": noise(5_000_000, 2) });
    hub.repositories.set("org/model", repo);
    const seen: DownloadProgress[] = [];
    await get("org/model", { onProgress: (p) => seen.push(p) });
    const total = Object.values(without(repo.files, "README.md")).reduce((sum, b) => sum + b.length, 0);
    expect(seen.every((p) => p.totalBytes === total)).toBe(true);
    expect(seen.map((p) => p.totalDone)).toEqual(seen.map((p) => p.totalDone).sort((a, b) => a - b));
    expect(seen.at(-1)?.totalDone).toBe(total);
    const ends = new Map(seen.map((p) => [p.file, p]));
    expect([...ends.keys()].sort()).toEqual(["config.json", "model.safetensors", "tokenizer.json"]);
    for (const [name, p] of ends)
      expect([p.done, p.fileBytes]).toEqual([repo.files[name].length, repo.files[name].length]);
    expect(seen.filter((p) => p.file === "model.safetensors").length).toBeGreaterThan(3);
  });
});

describe("what the cache holds", () => {
  test("a second call asks for the revision once and for no file", async () => {
    const { hub, get } = await setUp();
    hub.repositories.set("org/model", repository());
    const first = await get("org/model");
    hub.log.length = 0;
    expect(await get("org/model")).toBe(first);
    expect(hub.log.map((l) => l.path)).toEqual(["/api/models/org/model/revision/main"]);
  });

  test("a commit that is complete needs no request at all", async () => {
    const { hub, get } = await setUp();
    hub.repositories.set("org/model", repository());
    const first = await get(`org/model@${COMMIT}`);
    hub.log.length = 0;
    expect(await get(`org/model@${COMMIT}`)).toBe(first);
    expect(hub.log).toEqual([]);
  });

  test("a commit of which the tokenizer is missing is completed", async () => {
    const { hub, cache, get } = await setUp();
    const repo = repository();
    hub.repositories.set("org/model", repo);
    const snapshot = join(cache, "models--org--model/snapshots", COMMIT);
    await mkdir(snapshot, { recursive: true });
    for (const name of ["config.json", "model.safetensors"]) await writeFile(join(snapshot, name), repo.files[name]);
    await get(`org/model@${COMMIT}`);
    expect(await readFile(join(snapshot, "tokenizer.json"))).toEqual(repo.files["tokenizer.json"]);
  });

  test("a new commit brings what changed and shares the rest", async () => {
    const { hub, get } = await setUp();
    const repo = repository();
    hub.repositories.set("org/model", repo);
    await get("org/model");
    const second = {
      commit: COMMIT.replace("0", "f"),
      files: { ...repo.files, "config.json": Buffer.from('{"model_type":"gpt2"}') },
    };
    hub.repositories.set("org/model", second);
    hub.log.length = 0;
    const folder = await get("org/model");
    expect(await digestsIn(folder)).toEqual(digests(without(second.files, "README.md")));
    expect(hub.sent()).toBe(second.files["config.json"].length);
  });

  test("offline, a complete snapshot is used, others are refused, and nobody is asked", async () => {
    const { hub, env, get } = await setUp();
    hub.repositories.set("org/model", repository());
    const folder = await get("org/model");
    hub.log.length = 0;
    env["HF_HUB_OFFLINE"] = "yes";
    expect(await get("org/model")).toBe(folder);
    expect(await get(`org/model@${COMMIT}`)).toBe(folder);
    await expect(get("org/other")).rejects.toEqual(failure("ZO2_ERR_CHECKPOINT", "offline", "no such revision"));
    await truncate(join(folder, "..", "..", "refs", "main"), 10);
    await expect(get("org/model")).rejects.toEqual(failure("ZO2_ERR_CHECKPOINT", "offline", "no such revision"));
    expect(hub.log).toEqual([]);
  });

  test("offline, a sharded snapshot that lacks a shard says which", async () => {
    const { hub, cache, get } = await setUp();
    const snapshot = join(cache, "models--org--model/snapshots", COMMIT);
    await mkdir(snapshot, { recursive: true });
    await writeFile(join(snapshot, "config.json"), "{}");
    await writeFile(join(snapshot, "model.safetensors.index.json"), INDEX("model-N.safetensors", 2));
    await writeFile(join(snapshot, "model-1.safetensors"), "");
    const asked = get(`org/model@${COMMIT}`, { offline: true });
    await expect(asked).rejects.toEqual(failure("ZO2_ERR_CHECKPOINT", `lacks model-2.safetensors of commit ${COMMIT}`));
    expect(hub.log).toEqual([]);
  });

  test("a blob of the wrong length is fetched again", async () => {
    const { hub, cache, get } = await setUp();
    const repo = repository();
    hub.repositories.set("org/model", repo);
    const blobs = join(cache, "models--org--model/blobs");
    await mkdir(blobs, { recursive: true });
    await writeFile(join(blobs, sha256(repo.files["model.safetensors"])), "short");
    expect(await digestsIn(await get("org/model"))).toEqual(digests(without(repo.files, "README.md")));
  });
});

describe("what goes wrong on the way", () => {
  test("a connection that is cut half way goes on where it stopped, within one call", async () => {
    const { hub, get } = await setUp();
    const repo = repository({ "model.safetensors": noise(3_000_000, 7) });
    hub.repositories.set("org/model", repo);
    hub.cut = { after: 1_000_000, times: 2 };
    const folder = await get("org/model");
    expect(await digestsIn(folder)).toEqual(digests(without(repo.files, "README.md")));
    expect(hub.sent("model.safetensors")).toBe(3_000_000);
    expect(hub.log.filter((l) => l.host === "cdn").map((l) => l.range)).toEqual([
      undefined,
      "bytes=1000000-",
      "bytes=2000000-",
    ]);
  });

  test("a connection that falls silent is given up, and the next one goes on", async () => {
    const { hub, env } = await setUp();
    const repo = repository();
    hub.repositories.set("org/model", repo);
    hub.cut = { after: 100_000, times: 1, silent: true };
    const settings = await hubSettings({}, env);
    const folder = await snapshotFolder({ kind: "model", id: "org/model", revision: "main" }, settings, {
      timing: { retryMs: 1, stallMs: 300 },
    });
    expect(await digestsIn(folder)).toEqual(digests(without(repo.files, "README.md")));
    expect(
      hub.log
        .filter((l) => l.host === "cdn")
        .map((l) => l.range)
        .sort(),
    ).toEqual(["bytes=100000-", undefined]);
  });

  test("a later call goes on from a partial file, also another tool's, without fetching its bytes again", async () => {
    const { hub, cache, get } = await setUp();
    const weights = noise(2_000_000, 8);
    const repo = repository({ "model.safetensors": weights });
    hub.repositories.set("org/model", repo);
    const blobs = join(cache, "models--org--model/blobs");
    await mkdir(blobs, { recursive: true });
    await writeFile(join(blobs, `${sha256(weights)}.incomplete`), weights.subarray(0, 1_500_000));
    const seen: DownloadProgress[] = [];
    expect(await digestsIn(await get("org/model", { onProgress: (p) => seen.push(p) }))).toEqual(
      digests(without(repo.files, "README.md")),
    );
    expect(hub.sent("model.safetensors")).toBe(500_000);
    expect(seen.find((p) => p.file === "model.safetensors")?.done).toBe(1_500_000);
  });

  test("a server without ranges sends everything again, and what we had is passed over", async () => {
    const { hub, get } = await setUp();
    const repo = repository({ "model.safetensors": noise(1_000_000, 8) });
    hub.repositories.set("org/model", repo);
    hub.ranges = false;
    hub.cut = { after: 600_000, times: 1 };
    expect(await digestsIn(await get("org/model"))).toEqual(digests(without(repo.files, "README.md")));
    expect(hub.sent("model.safetensors")).toBe(1_600_000);
  });

  test("an abort stops, and the next call goes on", async () => {
    const { hub, cache, get } = await setUp();
    const repo = repository({ "model.safetensors": noise(4_000_000, 8) });
    hub.repositories.set("org/model", repo);
    const control = new AbortController();
    const onProgress = (p: DownloadProgress) => p.file === "model.safetensors" && p.done > 0 && control.abort();
    await expect(get("org/model", { signal: control.signal, onProgress })).rejects.toEqual(
      failure("ZO2_ERR_ABORTED", "org/model@main"),
    );
    const partial = (
      await stat(join(cache, "models--org--model/blobs", `${sha256(repo.files["model.safetensors"])}.incomplete`))
    ).size;
    expect(partial).toBeGreaterThan(0);
    await expect(get("org/model", { signal: control.signal })).rejects.toEqual(failure("ZO2_ERR_ABORTED"));
    hub.log.length = 0;
    expect(await digestsIn(await get("org/model"))).toEqual(digests(without(repo.files, "README.md")));
    expect(hub.sent("model.safetensors")).toBe(4_000_000 - partial);
  });

  test.each([
    ["a large file, by SHA-256", "model.safetensors", noise(300_000, 99)],
    ["a large file that is too short", "model.safetensors", noise(299_999, 1)],
    ["a large file that is too long", "model.safetensors", noise(300_001, 1)],
  ])("%s: wrong bytes are noticed, deleted and named", async (_, name, bytes) => {
    const { hub, cache, get } = await setUp();
    const repo = repository();
    hub.repositories.set("org/model", repo);
    hub.tampered.set(name, bytes);
    await expect(get("org/model")).rejects.toEqual(failure("ZO2_ERR_CHECKPOINT", name, "deleted"));
    const tree = Object.keys(await treeOf(cache));
    expect(tree.filter((path) => path.includes(sha256(repo.files[name])) && !path.startsWith(".locks/"))).toEqual([]);
    hub.tampered.clear();
    expect(await digestsIn(await get("org/model"))).toEqual(digests(without(repo.files, "README.md")));
  });

  test("a small file's bytes are held against git's checksum", async () => {
    const { hub, get } = await setUp();
    hub.repositories.set("org/model", repository());
    hub.listed.set("config.json", { oid: gitSha1(Buffer.from("other")) });
    await expect(get("org/model")).rejects.toEqual(failure("ZO2_ERR_CHECKPOINT", "config.json", "checksum"));
  });

  test("a busy or failing server is asked again, and told of with its status when it goes on failing", async () => {
    const { hub, env, get } = await setUp();
    hub.repositories.set("org/model", repository());
    let failures = 2;
    hub.fault = (_, __, response) =>
      failures > 0 && (refuse(response, failures-- === 2 ? 429 : 503, "", { "retry-after": "0" }), true);
    await get("org/model");
    failures = Number.POSITIVE_INFINITY;
    const settings = await hubSettings({}, env);
    const before = hub.log.length;
    const asked = snapshotFolder({ kind: "model", id: "org/new", revision: "main" }, settings, { timing: QUICK });
    await expect(asked).rejects.toEqual(
      failure("ZO2_ERR_IO", `${hub.endpoint}/api/models/org/new/revision/main`, "5 attempts", "status 503"),
    );
    expect(hub.log.length - before).toBe(5);
  });

  test("a Hub that is not there is ZO2_ERR_IO with the address; what the cache holds is used, and said", async () => {
    const { hub, env, get } = await setUp();
    hub.repositories.set("org/model", repository());
    const folder = await get("org/model");
    await hub.stop();
    const settings = await hubSettings({}, env);
    const warn = jest.spyOn(process, "emitWarning").mockImplementation(() => undefined);
    try {
      expect(
        await snapshotFolder({ kind: "model", id: "org/model", revision: "main" }, settings, { timing: QUICK }),
      ).toBe(folder);
      expect(warn).toHaveBeenCalledWith(expect.stringContaining(`commit ${COMMIT}`), "Zo2Warning");
      const other = snapshotFolder({ kind: "model", id: "org/other", revision: "main" }, settings, { timing: QUICK });
      await expect(other).rejects.toEqual(failure("ZO2_ERR_IO", hub.endpoint, "ECONNREFUSED"));
    } finally {
      warn.mockRestore();
    }
  });
});

describe("side by side", () => {
  test("two calls for one model fetch each file once", async () => {
    const { hub, get } = await setUp();
    const repo = repository({ "model.safetensors": noise(2_000_000, 3) });
    hub.repositories.set("org/model", repo);
    const [a, b] = await Promise.all([get("org/model"), get("org/model")]);
    expect(a).toBe(b);
    expect(await digestsIn(a)).toEqual(digests(without(repo.files, "README.md")));
    expect(hub.sent("model.safetensors")).toBe(2_000_000);
  });

  test("while another process holds a blob's lock we wait, take what it brought, and can be stopped", async () => {
    const { hub, cache, get } = await setUp();
    const repo = repository();
    hub.repositories.set("org/model", repo);
    const etag = sha256(repo.files["model.safetensors"]);
    const lock = join(cache, ".locks/models--org--model", `${etag}.lock`);
    await mkdir(dirname(lock), { recursive: true });
    const holder = spawn("flock", ["-x", lock, "sh", "-c", "echo held && exec cat"], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    await once(holder.stdout, "data");
    const control = new AbortController();
    const stopped = get("org/model", { signal: control.signal });
    const waiting = get("org/model");
    const small = () => hub.log.filter((l) => l.path.endsWith(".json") && l.host === "hub").length;
    while (small() < 2) await new Promise((done) => setTimeout(done, 5));
    control.abort();
    await expect(stopped).rejects.toEqual(failure("ZO2_ERR_ABORTED"));
    await writeFile(join(cache, "models--org--model/blobs", etag), repo.files["model.safetensors"]);
    holder.stdin.end();
    expect(await digestsIn(await waiting)).toEqual(digests(without(repo.files, "README.md")));
    expect(hub.sent("model.safetensors")).toBe(0);
  });

  test("where the system has no flock(1), both fetch, and the bytes are right", async () => {
    const { hub, get } = await setUp();
    const repo = repository({ "model.safetensors": noise(2_000_000, 3) });
    hub.repositories.set("org/model", repo);
    const path = process.env["PATH"];
    process.env["PATH"] = await temporaryFolder();
    try {
      let open = () => undefined as void;
      hub.gate = new Promise((done) => (open = done));
      const both = Promise.all([get("org/model"), get("org/model")]);
      while (hub.log.filter((l) => l.status === 302).length < 2) await new Promise((done) => setTimeout(done, 5));
      open();
      const [a] = await both;
      expect(await digestsIn(a)).toEqual(digests(without(repo.files, "README.md")));
      expect(hub.sent("model.safetensors")).toBeGreaterThan(2_000_000);
    } finally {
      process.env["PATH"] = path;
    }
  });
});
