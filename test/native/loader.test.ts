import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { packageRoot } from "zo2/native";
import { runScript } from "./support.js";

const REPORT =
  'try { loadNative(); console.log("loaded"); } catch (error) { console.log(error.code + "\\n" + error.message); ' +
  "}";

async function inFolder(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(path.join(os.tmpdir(), "zo2-loader-"));
  try {
    await body(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test("without a build the error lists every file that was tried and what to do; requiring does not fail", async () => {
  await inFolder(async (folder) => {
    const { code, output } = await runScript(REPORT, { environment: { ZO2_BUILD_DIR: folder } });
    expect(code).toBe(0);
    const lines = output.split("\n");
    expect(lines[0]).toBe("ZO2_ERR_ADDON");
    for (const name of ["Debug", "Release"])
      expect(output).toContain(`${path.join(folder, name, "zo2.node")}: no such file`);
    expect(output).toMatch(/Possible solutions:\n.*npm run build:native/);
  });
});

test("a file that is no addon is reported with the linker's own words", async () => {
  await inFolder(async (folder) => {
    mkdirSync(path.join(folder, "Release"));
    writeFileSync(path.join(folder, "Release", "zo2.node"), "not a shared object");
    const { output } = await runScript(REPORT, { environment: { ZO2_BUILD_DIR: folder } });
    expect(output).toMatch(/^ZO2_ERR_ADDON/);
    expect(output).toMatch(/Release.zo2\.node: .*(invalid ELF header|too short)/);
  });
});

test("packageRoot is the folder of the package", () => {
  expect(path.basename(require.resolve(path.join(packageRoot, "package.json")))).toBe("package.json");
});
