import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { resolveModel } from "../../../src/hub/index.js";
import { hubSettings } from "../../../src/hub/settings.js";
import { snapshotFolder } from "../../../src/hub/snapshot.js";
import { refuse, sha256 } from "./server.js";
import {
  COMMIT,
  digests,
  digestsIn,
  failure,
  repository,
  setUp,
  startHub,
  temporaryFolder,
  tidy,
  treeOf,
  without,
  QUICK,
} from "./support.js";

afterAll(tidy);

describe("what is not there, or not allowed", () => {
  test("a path that is no folder and no id says so of both, a file is named as one", async () => {
    const { hub, get, home } = await setUp();
    await expect(get("./no/such/folder")).rejects.toEqual(
      failure("ZO2_ERR_CHECKPOINT", "no such folder", "not the id of a Hub repository"),
    );
    await writeFile(join(home, "file"), "");
    await expect(get(join(home, "file"))).rejects.toEqual(failure("ZO2_ERR_CHECKPOINT", "is a file"));
    expect(hub.log).toEqual([]);
  });

  test("no such repository: both readings, the address, and how to see a private one", async () => {
    const { hub, get } = await setUp();
    const both = ["no folder of that name here", `no such repository at ${hub.endpoint}`];
    await expect(get("org/none")).rejects.toEqual(
      failure("ZO2_ERR_CHECKPOINT", "org/none", ...both, "HF_TOKEN", "status 401"),
    );
    await expect(get("org/none", { token: "hf_x" })).rejects.toEqual(
      failure("ZO2_ERR_CHECKPOINT", ...both, "may not read it", "status 404"),
    );
  });

  test("no such revision is named", async () => {
    const { hub, get } = await setUp();
    hub.repositories.set("org/model", repository());
    await expect(get("org/model@v9")).rejects.toEqual(failure("ZO2_ERR_CHECKPOINT", "org/model", "no revision", "v9"));
  });

  test("a gated repository says where to accept the licence; with the right token it comes", async () => {
    const { hub, get } = await setUp();
    const repo = repository({}, { gated: true, token: "hf_right" });
    hub.repositories.set("org/model", repo);
    const gated = (hint: string, status: number) =>
      failure("ZO2_ERR_CHECKPOINT", "gated", `${hub.endpoint}/org/model`, hint, `status ${status}`);
    await expect(get("org/model")).rejects.toEqual(gated("set HF_TOKEN", 401));
    await expect(get("org/model", { token: "hf_wrong" })).rejects.toEqual(gated("wait until access is granted", 403));
    expect(await digestsIn(await get("org/model", { token: "hf_right" }))).toEqual(
      digests(without(repo.files, "README.md")),
    );
  });

  test.each([
    ["no config.json", ["config.json"], "no config.json"],
    ["no weights at all", ["model.safetensors"], "no weights that can be read; they must be model.safetensors"],
  ])("%s is said before anything is downloaded", async (_, absent, message) => {
    const { hub, get } = await setUp();
    hub.repositories.set("org/model", { commit: COMMIT, files: without(repository().files, ...absent) });
    await expect(get("org/model")).rejects.toEqual(failure("ZO2_ERR_CHECKPOINT", "org/model@main", message));
    expect(hub.sent()).toBe(0);
  });

  test("weights of other forms are named", async () => {
    const { hub, get } = await setUp();
    const { files } = repository({ "model.gguf": "x", "tf_model.h5": "y" });
    hub.repositories.set("org/model", { commit: COMMIT, files: without(files, "model.safetensors") });
    await expect(get("org/model")).rejects.toEqual(
      failure("ZO2_ERR_CHECKPOINT", "2 of other forms (model.gguf, tf_model.h5)"),
    );
  });
});

describe("the token", () => {
  test("goes to the Hub with every request, and never to the content server", async () => {
    const { hub, env, get } = await setUp();
    hub.repositories.set("org/model", repository({}, { token: "hf_secret" }));
    env["HF_TOKEN"] = "hf_secret";
    await get("org/model");
    const seen = (host: string) => [...new Set(hub.log.filter((l) => l.host === host).map((l) => l.authorization))];
    expect(seen("hub")).toEqual(["Bearer hf_secret"]);
    expect(seen("cdn")).toEqual([undefined]);
  });

  test("does not follow a list's next page, or a renamed repository, to another host", async () => {
    const { hub, get } = await setUp();
    const repo = repository();
    hub.repositories.set("org/model", repo);
    const other = await startHub();
    other.repositories.set("org/model", repo);
    hub.fault = (host, request, response) => {
      if (host === "cdn" || request.url?.includes("/resolve/")) return false;
      const here = request.url?.includes("/revision/") && !request.url.includes("moved=1");
      response.writeHead(307, { location: here ? `${request.url}&moved=1` : `${other.endpoint}${request.url}` }).end();
      return true;
    };
    expect(await digestsIn(await get("org/model", { token: "hf_secret" }))).toEqual(
      digests(without(repo.files, "README.md")),
    );
    expect(hub.log.filter((l) => l.path.includes("/revision/")).map((l) => l.authorization)).toEqual([
      "Bearer hf_secret",
      "Bearer hf_secret",
    ]);
    expect(other.log.length).toBeGreaterThan(0);
    expect(other.log.map((l) => l.authorization).filter((a) => a !== undefined)).toEqual([]);
  });

  test("is in no message, and neither is the query of a signed address", async () => {
    const { hub, env } = await setUp();
    hub.repositories.set("org/model", repository());
    const settings = await hubSettings({ token: "hf_secret" }, env);
    for (const status of [400, 401, 403, 404, 410, 500]) {
      hub.fault = (host, _, response) => host === "cdn" && (refuse(response, status, ""), true);
      const error: unknown = await snapshotFolder({ kind: "model", id: "org/model", revision: "main" }, settings, {
        timing: QUICK,
      }).catch((e: unknown) => e);
      expect(error).toEqual(failure("ZO2_ERR_IO", `status ${status}`));
      expect(JSON.stringify([String(error), (error as Error).stack, String((error as Error).cause)])).not.toMatch(
        /secret|Signature/,
      );
    }
  });

  test("a signed address that has run out is asked for again", async () => {
    const { hub, get } = await setUp();
    const repo = repository();
    hub.repositories.set("org/model", repo);
    let expired = 1;
    hub.fault = (host, _, response) => host === "cdn" && expired-- > 0 && (refuse(response, 403, ""), true);
    expect(await digestsIn(await get("org/model"))).toEqual(digests(without(repo.files, "README.md")));
  });
});

describe("a Hub that means harm", () => {
  const evil = "../../../../evil";

  test.each([
    ["a shard's name", evil],
    ["an absolute one", "/tmp/evil.safetensors"],
    ["a hidden one", ".evil"],
    ["one with a backslash", "a\\evil"],
    ["no text", 7],
  ])("%s that leads out of the folder is refused", async (_, shard) => {
    const { hub, home, get } = await setUp();
    const { files } = repository({
      "model.safetensors.index.json": JSON.stringify({ weight_map: { "a.weight": shard } }),
      [String(shard)]: "x",
    });
    hub.repositories.set("org/model", { commit: COMMIT, files: without(files, "model.safetensors") });
    await expect(get("org/model")).rejects.toEqual(
      failure("ZO2_ERR_CHECKPOINT", "a.weight", "not the name of a file in this folder"),
    );
    expect(Object.keys(await treeOf(home)).filter((path) => path.includes("evil"))).toEqual([]);
  });

  test.each([
    ["a checksum that is a path", { oid: evil }],
    ["a checksum in capitals", { oid: "A".repeat(40) }],
    ["no checksum", { oid: undefined }],
    ["a length below zero", { size: -1 }],
    ["a length that is no number", { size: "9" }],
    ["a large file's checksum that is a path", { lfs: { oid: evil, size: 1, pointerSize: 1 } }],
  ])("%s in the list of files is refused", async (_, entry) => {
    const { hub, get } = await setUp();
    hub.repositories.set("org/model", repository());
    hub.listed.set("config.json", entry);
    await expect(get("org/model")).rejects.toEqual(failure("ZO2_ERR_IO", hub.endpoint, "config.json"));
    expect(hub.sent()).toBe(0);
  });

  test.each(["../../evil", "main", 7, null, COMMIT.toUpperCase()])("commit %j is refused", async (sha) => {
    const { hub, get } = await setUp();
    const info = JSON.stringify({ _id: "1", id: "org/model", sha, siblings: [{ rfilename: "config.json" }] });
    hub.fault = (_, __, response) => (response.writeHead(200).end(info), true);
    await expect(get("org/model")).rejects.toEqual(failure("ZO2_ERR_IO", "is it a Hub?"));
  });

  test.each(["", "{", "<html>", "[]", "null", '"x"', '{"siblings":7}'])(
    "the answer %j is refused with a code",
    async (body) => {
      const { hub, get } = await setUp();
      hub.fault = (_, __, response) => (response.writeHead(200).end(body), true);
      await expect(get("org/model")).rejects.toEqual(failure("ZO2_ERR_IO", hub.endpoint));
    },
  );

  test("an endless list of pages, an endless page and a circle of redirects end", async () => {
    const { hub, get } = await setUp();
    hub.repositories.set("org/model", repository());
    hub.fault = (_, request, response) => {
      if (!request.url?.includes("/tree/")) return false;
      response.writeHead(200, { link: `<${hub.endpoint}${request.url}>; rel="next"` }).end("[]");
      return true;
    };
    await expect(get("org/model")).rejects.toEqual(failure("ZO2_ERR_IO", "1000 pages"));
    const block = Buffer.alloc(2 ** 20, " ");
    hub.fault = (_, __, response) => {
      const more = () => void (response.destroyed || response.write(block, more));
      more();
      return true;
    };
    await expect(get("org/model")).rejects.toEqual(failure("ZO2_ERR_IO", `${64 * 2 ** 20} bytes`));
    hub.fault = (_, request, response) => (response.writeHead(302, { location: request.url ?? "" }).end(), true);
    await expect(get("org/model")).rejects.toEqual(failure("ZO2_ERR_IO", "redirected more than"));
  });

  test.each(["file:///etc/passwd", "data:text/plain,{}", "http://[", ""])(
    "a redirect to %j is not followed",
    async (location) => {
      const { hub, get } = await setUp();
      hub.fault = (_, __, response) => (response.writeHead(302, location === "" ? {} : { location }).end(), true);
      await expect(get("org/model")).rejects.toEqual(failure("ZO2_ERR_IO", "may be followed"));
    },
  );

  test("a file larger than the disk is refused before it is begun", async () => {
    const { hub, get } = await setUp();
    const repo = repository();
    hub.repositories.set("org/model", repo);
    const size = 2 ** 52;
    const small = repo.files["config.json"].length + repo.files["tokenizer.json"].length;
    hub.listed.set("model.safetensors", {
      size,
      lfs: { oid: sha256(repo.files["model.safetensors"]), size, pointerSize: 135 },
    });
    await expect(get("org/model")).rejects.toEqual(failure("ZO2_ERR_IO", `${size + small} bytes`, "are free"));
    expect(hub.sent()).toBe(0);
  });

  test("a cache that cannot be written says where", async () => {
    const { hub, env } = await setUp();
    hub.repositories.set("org/model", repository());
    const file = join(await temporaryFolder(), "file");
    await writeFile(file, "");
    await expect(resolveModel("org/model", { env, cacheDir: join(file, "hub") })).rejects.toEqual(
      failure("ZO2_ERR_IO", join(file, "hub")),
    );
  });
});
