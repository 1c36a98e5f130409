import { join } from "node:path";
import { readJsonFile } from "../../base/files.js";
import { isRecord } from "../../base/guards.js";
import { Zo2Error } from "../../base/errors.js";
import type { Tokenizer } from "../../tokenizer/index.js";

/**
 * The tokens that end a text: `eos_token_id` of the folder's `generation_config.json`, else of `config`, else the
 * tokenizer's. None where none of them says.
 * @throws Zo2Error ZO2_ERR_CHECKPOINT for a malformed file or field
 */
export async function readEndIds(
  dir: string,
  config: Readonly<Record<string, unknown>>,
  tokenizer: Tokenizer | null,
): Promise<ReadonlySet<number>> {
  const path = join(dir, "generation_config.json");
  const generation = await readJsonFile(path, "ZO2_ERR_CHECKPOINT");
  if (generation !== undefined && !isRecord(generation))
    throw new Zo2Error("ZO2_ERR_CHECKPOINT", `${path}: not a JSON object`);
  const own = tokenizer?.eosId;
  return (
    idsIn(generation ?? {}, path) ?? idsIn(config, join(dir, "config.json")) ?? new Set(own === undefined ? [] : [own])
  );
}

function idsIn(fields: Readonly<Record<string, unknown>>, path: string): ReadonlySet<number> | undefined {
  const given = fields["eos_token_id"];
  if (given === undefined || given === null) return undefined;
  const ids: readonly unknown[] = Array.isArray(given) ? given : [given];
  const integers = ids.filter((id): id is number => Number.isInteger(id));
  if (integers.length < ids.length) {
    throw new Zo2Error(
      "ZO2_ERR_CHECKPOINT",
      `${path}: eos_token_id is ${JSON.stringify(given)}; it must be a token id, or a list of some`,
    );
  }
  return new Set(integers);
}
