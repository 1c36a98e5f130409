/** A folder that cannot be put in its place: whatever step fails, the old one is there as it was. */
import fs from "node:fs/promises";
import { join } from "node:path";
import { replaceFolder } from "../../../src/checkpoint/replace.js";
import { cleanUp, failure, temporaryFolder } from "./support.js";

jest.mock("node:fs/promises", () => {
  const actual = jest.requireActual<typeof fs>("node:fs/promises");
  return { ...actual, rename: jest.fn(actual.rename), rm: jest.fn(actual.rm) };
});

const rename = jest.mocked(fs.rename);
const rm = jest.mocked(fs.rm);
const actual = jest.requireActual<typeof fs>("node:fs/promises");
const denied = () => Object.assign(new Error("EACCES: denied"), { code: "EACCES", syscall: "rename" });

beforeEach(() => {
  rename.mockReset().mockImplementation(actual.rename);
  rm.mockReset().mockImplementation(actual.rm);
});
afterAll(async () => {
  rm.mockReset().mockImplementation(actual.rm);
  await cleanUp();
});

async function older(): Promise<{ parent: string; dir: string }> {
  const parent = await temporaryFolder();
  const dir = join(parent, "out");
  await fs.mkdir(dir);
  await fs.writeFile(join(dir, "config.json"), '{"model_type": "opt"}');
  await fs.writeFile(join(dir, "notes.txt"), "mine");
  return { parent, dir };
}
const save = (dir: string) =>
  replaceFolder(dir, 10, (folder) => fs.writeFile(join(folder, "config.json"), '{"model_type": "gpt2"}'));
const config = (dir: string) => fs.readFile(join(dir, "config.json"), "utf8");

it.each([
  ["the old folder cannot step aside", 1],
  ["the new one cannot take its place", 2],
])("%s: it is where it was, and nothing is beside it", async (_, failing) => {
  const { parent, dir } = await older();
  rename.mockImplementation(async (from, to) => {
    if (rename.mock.calls.length === failing) throw denied();
    await actual.rename(from, to);
  });
  const saved = save(dir);
  await expect(saved).rejects.toThrow(failure("ZO2_ERR_IO", dir, "cannot be written", "EACCES"));
  await expect(saved).rejects.toMatchObject({ cause: { code: "EACCES" } });
  expect(await config(dir)).toBe('{"model_type": "opt"}');
  expect((await fs.readdir(dir)).sort()).toEqual(["config.json", "notes.txt"]);
  expect(await fs.readdir(parent)).toEqual(["out"]);
  rename.mockImplementation(actual.rename);
  await save(dir);
  expect(await config(dir)).toBe('{"model_type": "gpt2"}');
  expect((await fs.readdir(dir)).sort()).toEqual(["config.json", "notes.txt"]);
});

it("a folder that is not there yet, or empty, is not there, or empty, when it cannot be put there", async () => {
  const parent = await temporaryFolder();
  const empty = join(parent, "empty");
  await fs.mkdir(empty);
  rename.mockRejectedValue(denied());
  for (const name of ["absent", "empty"])
    await expect(save(join(parent, name))).rejects.toMatchObject({ code: "ZO2_ERR_IO" });
  expect(await fs.readdir(parent)).toEqual(["empty"]);
  expect(await fs.readdir(empty)).toEqual([]);
});

it("what cannot be cleared away is named, and the new folder is in place", async () => {
  const { parent, dir } = await older();
  rm.mockRejectedValueOnce(denied());
  const saved = save(dir);
  await expect(saved).rejects.toThrow(failure("ZO2_ERR_IO", "saved, but the folder it replaced", "EACCES"));
  await expect(saved).rejects.toMatchObject({ cause: { code: "EACCES" } });
  expect(await config(dir)).toBe('{"model_type": "gpt2"}');
  expect(await fs.readFile(join(dir, "notes.txt"), "utf8")).toBe("mine");
  expect(await fs.readdir(parent)).toHaveLength(2);
});
