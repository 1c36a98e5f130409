import { transformFile } from "@swc/core";
import { spawnSync } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";

const ROOT = resolve(__dirname, "../..");

/**
 * A package of the sources as they are now, without an addon, for processes of their own: a `dist` may be old, or not
 * there. Modules lie in `dist/esm` of the folder that is returned, which the caller removes.
 */
export async function compiledPackage(): Promise<string> {
  const pkg = await mkdtemp(join(tmpdir(), "zo2-pkg-"));
  const files = (await readdir(join(ROOT, "src"), { recursive: true })).filter((name) => name.endsWith(".ts"));
  for (const name of files) {
    const { code } = await transformFile(join(ROOT, "src", name), {
      swcrc: false,
      configFile: false,
      jsc: { target: "es2022", parser: { syntax: "typescript" } },
      module: { type: "es6" },
    });
    const target = join(pkg, "dist/esm", name.replace(/\.ts$/, ".js"));
    await mkdir(dirname(target), { recursive: true });
    await writeFile(target, code);
  }
  await writeFile(join(pkg, "package.json"), await readFile(join(ROOT, "package.json")));
  await symlink(join(ROOT, "node_modules"), join(pkg, "node_modules"));
  return pkg;
}

/** A command line in front of another: what runs behind it is held to the rights of files, as root is not. */
export const WITHOUT_ROOTS_RIGHTS =
  process.getuid?.() === 0 ? ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] : [];

/** Whether `command` runs here: some systems forbid namespaces and mounts. */
export function permitted(command: readonly string[]): boolean {
  const [program = "", ...args] = command;
  return spawnSync(program, args, { stdio: "ignore" }).status === 0;
}

/** In front of a command: a shell that may mount, in a namespace of its own, runs `script` first. */
export function inMounts(script: string): string[] {
  return ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", `${script} && exec "$@"`, "sh"];
}
