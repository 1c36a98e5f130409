import { access, constants, realpath, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { messageOf } from "../base/guards.js";
import { type FolderKind, stateOf } from "../checkpoint/replace.js";
import { Zo2Error } from "../base/errors.js";

/**
 * Finds out before the work starts whether a model, or an adapter, can be saved to `out` when it is done.
 * @param from what it is made from.
 * @throws Zo2Error `ZO2_ERR_CONFIG` when `out` is the folder of one of these, `ZO2_ERR_IO` when nothing can be written
 *   there
 */
export async function checkTarget(
  out: string,
  from: { readonly model: string; readonly adapter?: string | undefined },
  kind: FolderKind = "model",
): Promise<void> {
  for (const [what, dir] of Object.entries(from)) {
    if (dir === undefined || (await realOf(out)) !== (await realOf(dir))) continue;
    throw new Zo2Error(
      "ZO2_ERR_CONFIG",
      `--out ${out} is the folder of the ${what} itself, which is never overwritten; choose another --out`,
    );
  }
  await stateOf(resolve(out), kind).catch((error: unknown) => {
    if (error instanceof Zo2Error) {
      const message = error.message.replace(/choose (another folder|(a folder inside it))$/, (_, __, inside) =>
        inside === undefined ? "choose another --out" : `choose ${inside} as --out`,
      );
      throw new Zo2Error(error.code, message, { cause: error });
    }
    throw new Zo2Error("ZO2_ERR_IO", `${out}: ${messageOf(error)}; choose another --out`, { cause: error });
  });
  const parent = await nearestFolder(dirname(resolve(out)));
  await access(parent, constants.W_OK | constants.X_OK).catch((error: unknown) => {
    throw new Zo2Error("ZO2_ERR_IO", `${parent}: no folder can be made there; choose another --out`, { cause: error });
  });
}

async function nearestFolder(path: string): Promise<string> {
  const info = await stat(path).catch(() => undefined);
  return info !== undefined || dirname(path) === path ? path : nearestFolder(dirname(path));
}

async function realOf(path: string): Promise<string> {
  return realpath(path).catch(() => resolve(path));
}
