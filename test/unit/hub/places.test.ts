/** Caches in places that take nothing: read-only ones, and full disks. Each row in a process of its own. */
import { spawn } from "node:child_process";
import { chmod, copyFile, mkdir, readdir, readlink, rename, rm, unlink, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { compiledPackage, inMounts, permitted, WITHOUT_ROOTS_RIGHTS } from "../compiled.js";
import type { FakeHub } from "./server.js";
import { COMMIT, noise, repository, setUp, tidy, without } from "./support.js";

let pkg: string;
beforeAll(async () => {
  pkg = await compiledPackage();
  await writeFile(join(pkg, "dist/esm/resolve.mjs"), RESOLVE);
  await writeFile(join(pkg, "dist/esm/fill.mjs"), FILL);
});
afterAll(async () => {
  await rm(pkg, { recursive: true, force: true });
  await tidy();
});

const RESOLVE = `
  import { resolveModel } from "./hub/index.js";
  process.on("warning", (warning) => console.log("warning: " + warning.message));
  resolveModel(process.argv[2]).then(
    (folder) => console.log("folder: " + folder),
    (error) => console.log(error.code + ": " + error.message));
`;

/** Fills the disk when a byte of weights has come, and empties it again for a second call. */
const FILL = `
  import { readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
  import { join } from "node:path";
  import { resolveModel } from "./hub/index.js";
  const [, , name, when] = process.argv;
  const disk = process.env.HF_HUB_CACHE;
  const filler = join(disk, "filler");
  const fill = () => {
    for (const chunk of [65536, 1]) {
      try { for (;;) writeFileSync(filler, Buffer.alloc(chunk), { flag: "a" }); }
      catch (error) { if (error.code !== "ENOSPC") throw error; }
    }
  };
  if (when === "before") fill();
  let filled = when !== "during";
  const onProgress = (p) => { if (filled || p.fileBytes < 1e6 || p.done === 0) return; filled = true; fill(); };
  await resolveModel(name, { onProgress }).then(
    (folder) => console.log("folder: " + folder),
    (error) => console.log(error.code + ": " + error.message));
  const blobs = join(disk, "models--org--model/blobs");
  try {
    for (const blob of readdirSync(blobs)) console.log("blob: " + blob + " " + statSync(join(blobs, blob)).size);
  } catch {}
  rmSync(filler, { force: true });
  console.log("again");
  await resolveModel(name).then(
    (folder) => console.log("folder: " + folder),
    (error) => console.log(error.code + ": " + error.message));
`;

function said(command: readonly string[], env: NodeJS.ProcessEnv): Promise<string> {
  const [program = "", ...args] = command;
  return new Promise((settle, fail) => {
    const child = spawn(program, args, {
      env: { PATH: process.env["PATH"], ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let out = "";
    child.stdout.on("data", (chunk: Buffer) => (out += chunk.toString()));
    child.stderr.on("data", (chunk: Buffer) => (out += chunk.toString()));
    child.on("error", fail).on("close", () => settle(out));
  });
}

const INDEX = (...shards: string[]) =>
  JSON.stringify({ weight_map: Object.fromEntries(shards.map((shard, i) => [`t${i}`, shard])) });
const SHARDED = {
  "model.safetensors.index.json": INDEX("model-1.safetensors", "model-2.safetensors"),
  "model-1.safetensors": noise(5000, 1),
  "model-2.safetensors": noise(6000, 2),
};
const NEXT = COMMIT.replace("0", "f");

/** Asks for the model under a name in a cache that was filled, prepared, and may not be written. */
interface Row {
  readonly what: string;
  readonly name?: string;
  readonly files?: Record<string, string | Buffer>;
  readonly leaveOut?: readonly string[];
  /** What else was done to the cache, or to the Hub, before it is asked for. */
  readonly prepare?: (where: { repo: string; snapshot: string; hub: FakeHub }) => Promise<unknown> | unknown;
  readonly answer: RegExp;
}

const used = new RegExp(`^folder: .*/models--org--model/snapshots/${COMMIT}\n$`);
const refused = (...parts: string[]) => new RegExp(`^ZO2_ERR_IO: .*${parts.join(".*")}.*\n$`);
const remove =
  (...names: string[]) =>
  ({ snapshot }: { snapshot: string }) =>
    Promise.all(names.map((name) => unlink(join(snapshot, name))));

const ROWS: Row[] = [
  { what: "a branch", answer: used },
  { what: "a full commit hash", name: `org/model@${COMMIT}`, answer: used },
  { what: "a tag", name: "org/model@v1", answer: used },
  {
    what: "shards with their index",
    files: SHARDED,
    leaveOut: ["model.safetensors"],
    name: `org/model@${COMMIT}`,
    answer: used,
  },
  {
    what: "pytorch_model.bin",
    files: { "pytorch_model.bin": noise(5000, 3) },
    leaveOut: ["model.safetensors"],
    answer: used,
  },
  {
    what: "no licence, which Python's tools leave out",
    files: { LICENSE: "free", "USE_POLICY.md": "be good" },
    prepare: remove("LICENSE", "USE_POLICY.md"),
    answer: used,
  },
  {
    what: "no note of where the branch stands",
    prepare: ({ repo }) => rm(join(repo, "refs"), { recursive: true }),
    answer: used,
  },
  {
    what: "a note of where the branch stood before",
    prepare: ({ repo }) => writeFile(join(repo, "refs/main"), NEXT),
    answer: used,
  },
  {
    what: "copies in place of links",
    prepare: async ({ snapshot }) => {
      for (const file of await readdir(snapshot)) {
        const link = join(snapshot, file);
        const blob = resolve(snapshot, await readlink(link));
        await copyFile(blob, `${link}.copy`);
        await rename(`${link}.copy`, link);
      }
    },
    answer: used,
  },
  {
    what: "a branch that has moved on: the commit of the cache, and a warning that names both",
    prepare: ({ hub }) => hub.repositories.set("org/model", repository({}, { commit: NEXT })),
    answer: new RegExp(
      `^(folder: .*/${COMMIT}\n|warning: .*cannot be written.*commit ${COMMIT}; "main" stands at ${NEXT} now\n){2}$`,
    ),
  },
  {
    what: "no tokenizer.json, which the commit has",
    prepare: remove("tokenizer.json"),
    answer: refused("lacks tokenizer.json of commit", "HF_HUB_CACHE", "HF_HUB_OFFLINE=1"),
  },
  {
    what: "no weights",
    prepare: remove("model.safetensors"),
    answer: refused("lacks model.safetensors of commit", "HF_HUB_CACHE"),
  },
  {
    what: "a shard missing",
    files: SHARDED,
    leaveOut: ["model.safetensors"],
    prepare: remove("model-2.safetensors"),
    answer: refused("lacks model-2.safetensors of commit", "HF_HUB_CACHE"),
  },
  {
    what: "another commit, of which there is nothing",
    name: `org/model@${NEXT}`,
    prepare: ({ hub }) => hub.repositories.set("org/model", repository({}, { commit: NEXT })),
    answer: refused("lacks config.json, model.safetensors, tokenizer.json of commit", "HF_HUB_CACHE"),
  },
  {
    what: "an empty cache",
    prepare: ({ repo }) => rm(repo, { recursive: true }),
    answer: refused(
      "lacks config.json, model.safetensors, tokenizer.json of commit",
      "cannot be written",
      "HF_HUB_CACHE",
    ),
  },
];

const inMount = inMounts('mount --bind "$HF_HUB_CACHE" "$HF_HUB_CACHE" && mount -o remount,ro,bind "$HF_HUB_CACHE"');
const PLACES: { place: string; command: readonly string[]; reason: string; able: boolean }[] = [
  {
    place: "folders of another's",
    command: WITHOUT_ROOTS_RIGHTS,
    reason: "EACCES",
    able: permitted([...WITHOUT_ROOTS_RIGHTS, "true"]),
  },
  {
    place: "a disk that is mounted read-only",
    command: inMount,
    reason: "EROFS",
    able: permitted([...inMounts("mount --bind /tmp /tmp"), "true"]),
  },
];

describe.each(PLACES)("a read-only cache ($place)", ({ command, reason, able }) => {
  (able ? test : test.skip).each(ROWS)(
    "$what",
    async ({ name = "org/model", files = {}, leaveOut = [], prepare, answer }) => {
      const { hub, cache, env, get } = await setUp();
      const repo = repository(files, { refs: ["v1"] });
      hub.repositories.set("org/model", { ...repo, files: without(repo.files, ...leaveOut) });
      for (const filled of ["org/model", "org/model@v1"]) await get(filled);
      const where = join(cache, "models--org--model");
      // As Python's tools leave it.
      await rm(join(where, ".no_exist"), { recursive: true, force: true });
      await prepare?.({ repo: where, snapshot: join(where, "snapshots", COMMIT), hub });
      await setModes(cache, reason === "EACCES" ? 0o555 : 0o755);
      try {
        const text = await said(
          [...command, process.execPath, "--no-warnings", join(pkg, "dist/esm/resolve.mjs"), name],
          {
            ...env,
            HF_HUB_CACHE: cache,
          },
        );
        expect(text).toMatch(answer);
        if (text.startsWith("ZO2_ERR")) expect(text).toContain(reason);
      } finally {
        await setModes(cache, 0o755);
      }
    },
  );
});

async function setModes(folder: string, mode: number): Promise<void> {
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true }))
    if (entry.isDirectory()) await chmod(join(entry.parentPath ?? entry.path, entry.name), mode);
  await chmod(folder, mode);
}

describe("a full disk", () => {
  const mayMount = permitted([...inMounts("mount -t tmpfs tmpfs /mnt"), "true"]);
  const weights = noise(3_000_000, 5);
  const shards = {
    "model.safetensors.index.json": INDEX("model-1.safetensors", "model-2.safetensors"),
    "model-1.safetensors": noise(2_500_000, 1),
    "model-2.safetensors": noise(2_600_000, 2),
  };

  /** What was said of the first call, of the blobs that it left, and of the second call, when there is room again. */
  async function run(mount: string, when: "before" | "during" | "never", files: Record<string, string | Buffer>) {
    const { hub, cache, env } = await setUp();
    await mkdir(cache, { recursive: true });
    const repo = repository(files);
    hub.repositories.set("org/model", {
      ...repo,
      files: "model.safetensors" in files ? repo.files : without(repo.files, "model.safetensors"),
    });
    const command = inMounts(`mount -t tmpfs -o ${mount} tmpfs "$HF_HUB_CACHE"`);
    const script = join(pkg, "dist/esm/fill.mjs");
    const text = await said([...command, process.execPath, script, "org/model", when], { ...env, HF_HUB_CACHE: cache });
    const [first = "", again = ""] = text.split("again\n");
    const [headline = "", ...blobs] = first.trimEnd().split("\n");
    return { headline, blobs, again, hub };
  }

  (mayMount ? test : test.skip).each([
    ["one file", { "model.safetensors": weights }],
    ["shards", shards],
    ["a .bin file", { "pytorch_model.bin": weights }],
  ])("%s on the way: a coded line, and the next call goes on from what has come", async (_, files) => {
    const { headline, blobs, again, hub } = await run("size=8m", "during", files as Record<string, Buffer>);
    expect(headline).toMatch(
      /^ZO2_ERR_IO: .*\/blobs\/.*: cannot be written: ENOSPC.*what has come is kept.*HF_HUB_CACHE/,
    );
    expect(blobs.some((blob) => blob.includes(".incomplete"))).toBe(true);
    expect(again).toMatch(/^folder: /);
    const weights = Object.keys(files).filter((name) => /\.(safetensors|bin)$/.test(name));
    const resumed = weights.filter((name) =>
      /^bytes=[1-9]\d*-$/.test(
        hub.log.filter((l) => l.host === "cdn" && l.path.endsWith(`/${name}`)).at(-1)?.range ?? "",
      ),
    );
    expect(resumed).not.toEqual([]);
  });

  (mayMount ? test : test.skip).each([
    ["too small for the model", "size=2m", "never" as const, /bytes are to be downloaded, \d+ are free.*HF_HUB_CACHE/],
    ["full from the start", "size=8m", "before" as const, /are to be downloaded, \d+ are free.*HF_HUB_CACHE|ENOSPC/],
    ["out of inodes at once", "nr_inodes=2", "never" as const, /ENOSPC.*HF_HUB_CACHE/],
    ["out of inodes at the locks", "nr_inodes=4", "never" as const, /ENOSPC.*HF_HUB_CACHE/],
    ["out of inodes at the blobs", "nr_inodes=7", "never" as const, /ENOSPC.*HF_HUB_CACHE/],
    ["out of inodes at the links", "nr_inodes=11", "never" as const, /ENOSPC.*HF_HUB_CACHE/],
  ])("%s: a coded line with what to do", async (_, mount, when, message) => {
    const { headline } = await run(mount, when, { "model.safetensors": weights });
    expect(headline).toMatch(/^ZO2_ERR_IO: /);
    expect(headline).toMatch(message);
  });

  test("a limit on the size of a file: a coded line, and what has come stays", async () => {
    const { hub, cache, env } = await setUp();
    hub.repositories.set("org/model", repository({ "model.safetensors": weights }));
    const text = await said(
      ["sh", "-c", 'ulimit -f 3000; exec "$@"', "sh", process.execPath, join(pkg, "dist/esm/resolve.mjs"), "org/model"],
      env,
    );
    expect(text).toMatch(
      /^ZO2_ERR_IO: .*\/blobs\/.*: cannot be written: EFBIG.*what has come is kept.*HF_HUB_CACHE.*\n$/,
    );
    const again = await said([process.execPath, join(pkg, "dist/esm/resolve.mjs"), "org/model"], env);
    expect(again).toMatch(new RegExp(`^folder: ${cache}`));
    expect(hub.log.filter((l) => l.host === "cdn").at(-1)?.range).toMatch(/^bytes=[1-9]\d*-$/);
  });
});
