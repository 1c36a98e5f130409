/**
 * Packs built addons as packages of their own, which spare whoever installs them compiler and minutes:
 * `@zo2/linux-x64` (CPU backend) and `@zo2/linux-x64-cuda` (both), by the architecture of this machine.
 *
 *   npm run prebuild                     both, into prebuilt/
 *   npm run prebuild -- cpu --out DIR    one of them, somewhere else
 *   npm run prebuild -- --force          compiled even where an earlier build is there: for a release
 *
 * ZO2_BLAS is "on" unless the environment says otherwise: what is packed has OpenBLAS. docs/install.md says what these
 * packages ask of a system; what does not keep to it is not packed.
 */
import fs from "node:fs";
import { spawnSync } from "node:child_process";
import path from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { buildAddon } from "./addon/build.mjs";
import { BuildError, contractVersion, defaultArchitectures, root, settingsOf } from "./addon/settings.mjs";
import { checkFlavours, needsOf } from "./prebuild/elf.mjs";
import { packageFiles } from "./prebuild/package-files.mjs";

/** By variant: the backends, as CMake chooses them. */
const VARIANTS = {
  cpu: { suffix: "", environment: { ZO2_CUDA: "off" } },
  cuda: { suffix: "-cuda", environment: { ZO2_CUDA: "on", ZO2_CUDA_ARCHITECTURES: defaultArchitectures().join(";") } },
};
/** Of the compressed package. */
const LIMIT = 100e6;

async function prebuild(variant, out, force) {
  const { suffix, environment } = VARIANTS[variant];
  const name = `@zo2/${process.platform}-${process.arch}${suffix}`;
  const settings = settingsOf({
    ZO2_BLAS: "on",
    ...process.env,
    ...environment,
    ZO2_PORTABLE: "on",
    ZO2_BUILD_DIR: path.join("build-prebuilt", variant),
  });
  const say = (line) => console.log(`${name}: ${line}`);
  await buildAddon(settings, { force, say });
  if (!checkFlavours(settings.buildDir))
    say("nothing was compiled here, so its object files were not looked at; --force compiles");
  const needs = needsOf(settings.addon);
  const folder = path.join(settings.buildDir, "package");
  fs.rmSync(folder, { recursive: true, force: true });
  fs.mkdirSync(folder, { recursive: true });
  fs.copyFileSync(settings.addon, path.join(folder, "zo2.node"));
  const { version } = JSON.parse(fs.readFileSync(path.join(root, "package.json"), "utf8"));
  const build = fs.readFileSync(path.join(settings.buildDir, "generated", "build_info.h"), "utf8");
  const linked = { openBlas: /matrix product: OpenBLAS/.test(build), liburing: /files: io_uring/.test(build) };
  const about = { name, variant, version, ...linked, contract: contractVersion(), glibc: needs.glibc };
  for (const [file, text] of packageFiles(about)) fs.writeFileSync(path.join(folder, file), text);
  fs.mkdirSync(out, { recursive: true });
  const args = ["pack", "--json", "--ignore-scripts", "--pack-destination", out];
  const packed = spawnSync("npm", args, { cwd: folder, encoding: "utf8" });
  if (packed.status !== 0) throw new BuildError(`npm pack failed: ${packed.stderr}`);
  // A list of packages, or by name: npm has had both.
  const [{ filename, size }] = Object.values(JSON.parse(packed.stdout));
  if (size > LIMIT) throw new BuildError(`${name} is packed into ${size} bytes; ${LIMIT} are allowed`);
  const file = path.join(out, path.basename(filename));
  console.log(
    `${name}: ${file}, ${(size / 1e6).toFixed(1)} MB; needs glibc ${needs.glibc}, ${needs.libraries.join(", ")}`,
  );
}

const { values, positionals } = parseArgs({
  options: { out: { type: "string" }, force: { type: "boolean", default: false } },
  allowPositionals: true,
});
try {
  for (const variant of positionals.length === 0 ? Object.keys(VARIANTS) : positionals) {
    if (VARIANTS[variant] === undefined)
      throw new BuildError(`"${variant}" is not a variant; use ${Object.keys(VARIANTS).join(", ")}`);
    await prebuild(variant, path.resolve(values.out ?? path.join(root, "prebuilt")), values.force);
  }
} catch (error) {
  if (!(error instanceof BuildError)) throw error;
  console.error([`prebuild: ${error.message}`, ...error.missing].join("\n"));
  process.exitCode = 1;
}
