import { spawnSync } from "node:child_process";
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import os from "node:os";
import path from "node:path";
import { nativeFile, packageRoot } from "zo2/native";
import { native, runScript } from "./support.js";

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

test("without a build the error is two lines: what is missing, and the command that builds it", async () => {
  await inFolder(async (folder) => {
    for (const [agent, command] of [
      ["npm/11.19.1 node/v20.20.2 linux x64", "npx zo2 build"],
      ["pnpm/12.21.0 npm/? node/v20.20.2 linux x64", "pnpm exec zo2 build"],
      ["yarn/4.18.1 npm/? node/v20.20.2 linux x64", "yarn run zo2 build"],
      ["", "npx zo2 build"],
    ] as const) {
      const environment = { ZO2_BUILD_DIR: folder, npm_config_user_agent: agent };
      const { code, output } = await runScript(REPORT, { environment });
      expect(code).toBe(0);
      const [head, what, todo, ...rest] = output.trimEnd().split("\n");
      expect(head).toBe("ZO2_ERR_ADDON");
      expect(what).toContain(`there is no ${path.join(folder, "Release", "zo2.node")}`);
      expect(todo).toMatch(new RegExp(`^build it: ${command} \\(`));
      expect(rest).toEqual([]);
    }
  });
});

test("importing needs no addon; what needs it rejects with the two lines, and downloads nothing", async () => {
  await inFolder(async (folder) => {
    const { code, output } = await runScript(
      `require(${JSON.stringify(path.join(packageRoot, "dist/cjs/index.js"))}).loadModel("org/no-such-model")
        .catch((error) => console.log(error.code + ": " + error.message));`,
      { environment: { ZO2_BUILD_DIR: folder, HF_ENDPOINT: "http://127.0.0.1:9" } },
    );
    expect({ code, lines: output.trimEnd().split("\n").length }).toEqual({ code: 0, lines: 2 });
    expect(output).toMatch(/^ZO2_ERR_ADDON: the native addon is not built/);
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

describe("packages that bring a built addon", () => {
  const own = JSON.parse(readFileSync(path.join(packageRoot, "package.json"), "utf8")) as { version: string };
  const [plain, cuda] = ["", "-cuda"].map((variant) => `@zo2/linux-${process.arch}${variant}`) as [string, string];
  // The loader asks for the addon of this build, wherever ZO2_BUILD_DIR has it.
  const addon = nativeFile() ?? "";
  const contract = native.contractVersion;

  /** A project with this loader in node_modules/zo2, a build of it, and packages that bring an addon. */
  async function load(given: {
    build?: { asked: boolean };
    packages?: Readonly<Record<string, object>>;
    environment?: Readonly<Record<string, string>>;
  }): Promise<string> {
    const folder = realpathSync(mkdtempSync(path.join(os.tmpdir(), "zo2-prebuilt-")));
    const modules = path.join(folder, "node_modules");
    const place = (target: string) => {
      mkdirSync(path.dirname(target), { recursive: true });
      symlinkSync(addon, target);
    };
    try {
      const zo2 = path.join(modules, "zo2");
      cpSync(path.join(packageRoot, "binding"), path.join(zo2, "binding"), { recursive: true });
      writeFileSync(path.join(zo2, "package.json"), JSON.stringify({ name: "zo2", version: own.version }));
      for (const name of ["bindings", "file-uri-to-path"])
        symlinkSync(path.join(packageRoot, "node_modules", name), path.join(modules, name));
      for (const [name, manifest] of Object.entries(given.packages ?? {})) {
        place(path.join(modules, name, "zo2.node"));
        const all = { name, version: own.version, ...manifest };
        writeFileSync(path.join(modules, name, "package.json"), JSON.stringify(all));
      }
      if (given.build !== undefined) {
        place(path.join(zo2, "build", "Release", "zo2.node"));
        writeFileSync(path.join(zo2, "build", "Release", "zo2.stamp.json"), JSON.stringify(given.build));
      }
      const program = `const loader = require(${JSON.stringify(path.join(zo2, "binding/native.cjs"))});
        try { loader.loadNative(); console.log(loader.nativeFile()); }
        catch (error) { console.log(error.code + ": " + error.message); }`;
      const { ZO2_BUILD_DIR: _, ...clean } = process.env;
      const result = spawnSync(process.execPath, ["-e", program], {
        env: { ...clean, ...given.environment },
        encoding: "utf8",
      });
      expect({ status: result.status, stderr: result.stderr }).toEqual({ status: 0, stderr: "" });
      return result.stdout.trimEnd().replaceAll(`${modules}/`, "");
    } finally {
      rmSync(folder, { recursive: true });
    }
  }
  const fits = { zo2: { contract, glibc: "2.28" } };
  const local = "zo2/build/Release/zo2.node";

  test.each([
    ["the one for CUDA goes before the other", { packages: { [plain]: fits, [cuda]: fits } }, `${cuda}/zo2.node`],
    ["one is enough", { packages: { [plain]: fits } }, `${plain}/zo2.node`],
    [
      "before a build that an install script made",
      { packages: { [plain]: fits }, build: { asked: false } },
      `${plain}/zo2.node`,
    ],
    ["after a build that somebody asked for", { packages: { [plain]: fits }, build: { asked: true } }, local],
    [
      "ZO2_ADDON=local forces a build",
      { packages: { [plain]: fits }, build: { asked: false }, environment: { ZO2_ADDON: "local" } },
      local,
    ],
    [
      "ZO2_ADDON=prebuilt forces a package",
      { packages: { [plain]: fits }, build: { asked: true }, environment: { ZO2_ADDON: "prebuilt" } },
      `${plain}/zo2.node`,
    ],
    [
      "ZO2_ADDON forces one package",
      { packages: { [plain]: fits, [cuda]: fits }, environment: { ZO2_ADDON: plain } },
      `${plain}/zo2.node`,
    ],
    [
      "one that does not fit is passed over",
      { packages: { [cuda]: { ...fits, version: "0.0.9" }, [plain]: fits }, build: { asked: false } },
      `${plain}/zo2.node`,
    ],
    ["and a build stands in", { packages: { [plain]: { ...fits, version: "0.0.9" } }, build: { asked: false } }, local],
  ])("%s", async (_, given, file) => {
    expect(await load(given)).toBe(file);
  });

  test.each([
    ["another version", { ...fits, version: "0.0.9" }, `is version 0.0.9, and this is zo2 ${own.version}`],
    ["another contract", { zo2: { contract: contract + 1, glibc: "2.28" } }, `is for contract version ${contract + 1}`],
    ["a later C library", { zo2: { contract, glibc: "2.999" } }, "needs glibc 2.999 or later, and this system has 2."],
  ])("one for %s is refused with the reason", async (_, manifest, reason) => {
    const text = await load({ packages: { [plain]: manifest } });
    expect(text).toMatch(/^ZO2_ERR_ADDON: the native addon could not be loaded/);
    expect(text).toContain(`${plain} ${reason}`);
    expect(text).toMatch(/build it for this system: npx zo2 build/);
  });

  test("a kind that ZO2_ADDON asks for and that is not there is said in two lines", async () => {
    const text = await load({ build: { asked: true }, environment: { ZO2_ADDON: "prebuilt" } });
    expect(text.split("\n")).toEqual([
      expect.stringMatching(/^ZO2_ERR_ADDON: ZO2_ADDON is "prebuilt", and no such package/),
      expect.stringContaining("set ZO2_ADDON to local"),
    ]);
  });
});
