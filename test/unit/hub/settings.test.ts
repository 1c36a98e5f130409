import { mkdir, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { parseRepository } from "../../../src/hub/repository.js";
import { hubSettings } from "../../../src/hub/settings.js";
import { failure, temporaryFolder, tidy } from "./support.js";

afterAll(tidy);

describe("where things are", () => {
  test.each<[string, NodeJS.ProcessEnv, string]>([
    ["nothing set", {}, join(homedir(), ".cache/huggingface/hub")],
    ["HOME", { HOME: "/h" }, "/h/.cache/huggingface/hub"],
    ["XDG_CACHE_HOME", { HOME: "/h", XDG_CACHE_HOME: "/x" }, "/x/huggingface/hub"],
    ["HF_HOME before XDG_CACHE_HOME", { XDG_CACHE_HOME: "/x", HF_HOME: "/hf" }, "/hf/hub"],
    [
      "HF_HOME with ~ and a variable",
      { HOME: "/h", WHO: "me", HF_HOME: "~/$WHO/${WHO}x/$NOBODY" },
      "/h/me/mex/$NOBODY/hub",
    ],
    ["HUGGINGFACE_HUB_CACHE before HF_HOME", { HF_HOME: "/hf", HUGGINGFACE_HUB_CACHE: "/old" }, "/old"],
    ["HF_HUB_CACHE before all", { HF_HOME: "/hf", HUGGINGFACE_HUB_CACHE: "/old", HF_HUB_CACHE: "/new" }, "/new"],
    ["an empty HF_HUB_CACHE is none", { HF_HOME: "/hf", HF_HUB_CACHE: "" }, "/hf/hub"],
  ])("the cache: %s", async (_, env, expected) => {
    expect((await hubSettings({}, env)).cacheDir).toBe(expected);
  });

  test("an option goes before the environment", async () => {
    const env = { HF_HUB_CACHE: "/e", HF_ENDPOINT: "http://e", HF_TOKEN: "e", HF_HUB_OFFLINE: "1" };
    expect(
      await hubSettings({ cacheDir: "/o", endpoint: "https://o:1/hub/", token: "o", offline: false }, env),
    ).toEqual({ cacheDir: "/o", endpoint: "https://o:1/hub", token: "o", offline: false });
  });

  test.each([
    ["1", true],
    ["on", true],
    ["Yes", true],
    ["TRUE", true],
    ["0", false],
    ["no", false],
    ["2", false],
    ["", false],
  ])("HF_HUB_OFFLINE=%s means %s", async (value, expected) => {
    expect((await hubSettings({}, { HF_HUB_OFFLINE: value })).offline).toBe(expected);
  });

  const endpoints = ["huggingface.co", "file:///etc", "https://u:secret@h", "https://h/?a=secret", "https://h/#secret"];
  test.each(endpoints)("endpoint %s is refused", async (endpoint) => {
    const error: unknown = await hubSettings({ endpoint }, { HOME: "/h" }).catch((e: unknown) => e);
    expect(error).toEqual(failure("ZO2_ERR_CONFIG", "endpoint"));
    expect(String(error)).not.toContain("secret");
  });
});

describe("who asks", () => {
  test("HF_TOKEN goes before HF_TOKEN_PATH before HF_HOME/token, without the line's end", async () => {
    const home = await temporaryFolder();
    await writeFile(join(home, "token"), "hf_home\r\n");
    await writeFile(join(home, "elsewhere"), " hf_path \n");
    const tokenOf = async (env: NodeJS.ProcessEnv, token?: string) =>
      (await hubSettings(token === undefined ? {} : { token }, { HF_HOME: home, ...env })).token;
    expect(await tokenOf({})).toBe("hf_home");
    expect(await tokenOf({ HF_TOKEN_PATH: join(home, "elsewhere") })).toBe("hf_path");
    expect(await tokenOf({ HF_TOKEN_PATH: join(home, "elsewhere"), HF_TOKEN: "hf_env" })).toBe("hf_env");
    expect(await tokenOf({ HF_TOKEN: "hf_env" }, "hf_option")).toBe("hf_option");
    expect(await tokenOf({ HF_TOKEN: "hf_env" }, "")).toBeUndefined();
    expect(await tokenOf({ HF_TOKEN: "hf_env", HF_HUB_DISABLE_IMPLICIT_TOKEN: "1" })).toBeUndefined();
    expect(await tokenOf({ HF_TOKEN: "hf_env", HF_HUB_OFFLINE: "1" })).toBeUndefined();
    expect(await tokenOf({ HF_TOKEN_PATH: join(home, "nowhere") })).toBeUndefined();
  });

  test("a token that no header can carry is refused and not shown", async () => {
    const error: unknown = await hubSettings({}, { HF_HOME: "/h", HF_TOKEN: "hf_sec\nret" }).catch((e: unknown) => e);
    expect(error).toEqual(failure("ZO2_ERR_CONFIG", "10 characters"));
    expect(String(error)).not.toMatch(/sec|ret/);
  });

  test("a token file that cannot be read is an error, not no token", async () => {
    const home = await temporaryFolder();
    await mkdir(join(home, "token"));
    await expect(hubSettings({}, { HF_HOME: home })).rejects.toEqual(failure("ZO2_ERR_IO", join(home, "token")));
  });
});

describe("what a name may mean", () => {
  test.each([
    ["facebook/opt-1.3b", "facebook/opt-1.3b", "main"],
    ["gpt2", "gpt2", "main"],
    ["a_b/c.d-e_f@v1.0", "a_b/c.d-e_f", "v1.0"],
    ["org/name@refs/pr/1", "org/name", "refs/pr/1"],
  ])("%s is repository %s at %s", (text, id, revision) => {
    expect(parseRepository(text)).toEqual({ kind: "model", id, revision });
  });

  const notIds = [
    "",
    ".",
    "..",
    "./x",
    "../x",
    "/x",
    "a/b/c",
    "a//b",
    "-a/b",
    "a/b.",
    "a/..",
    "a/b..c",
    "a--b/c",
    "a/b.git",
    "a b",
    "a/b\n",
    "a/b\0",
    "~/x",
    "a\\b",
    "C:/x",
    "https://huggingface.co/a",
  ];
  test.each(notIds)("%j is no repository's id", (text) => {
    expect(parseRepository(text)).toBeUndefined();
  });

  const notRevisions = [
    "",
    "..",
    "../x",
    "a/../b",
    "/a",
    "a/",
    "a//b",
    "a/.b",
    "a.lock",
    "a b",
    "a\nb",
    "a\\b",
    "-a",
    "a".repeat(251),
  ];
  test.each(notRevisions)("%j is no revision", (revision) => {
    expect(() => parseRepository("org/name", revision)).toThrow(failure("ZO2_ERR_CONFIG", "org/name", "revision"));
  });
});
