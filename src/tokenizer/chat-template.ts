import { join } from "node:path";
import { Zo2Error } from "../base/errors.js";
import { readJsonFile, readTextFile } from "../base/files.js";
import { isRecord } from "../base/guards.js";
import type { ChatTemplate } from "./types.js";

/** The files of a folder that may hold its chat template, besides `tokenizer_config.json`. */
export const CHAT_FILES = ["chat_template.jinja", "chat_template.json"] as const;

/**
 * The chat template of the folder `dir`: `chat_template.jinja`, or else `chat_template.json`, or else `chat_template`
 * in `config` (the tokenizer's). Undefined where there is none. Throws `ZO2_ERR_TOKENIZER` for one that is no text.
 */
export async function readChatTemplate(
  dir: string,
  config: Readonly<Record<string, unknown>>,
): Promise<ChatTemplate | undefined> {
  const [jinja, json] = CHAT_FILES.map((name) => join(dir, name)) as [string, string];
  const text = await readTextFile(jinja, "ZO2_ERR_TOKENIZER");
  if (text !== undefined) return text;
  const file = await readJsonFile(json, "ZO2_ERR_TOKENIZER");
  if (file !== undefined && !isRecord(file)) throw new Zo2Error("ZO2_ERR_TOKENIZER", `${json}: not a JSON object`);
  const given = file?.["chat_template"];
  if (given !== undefined && given !== null) return templateOf(json, given);
  return config["chat_template"] === undefined
    ? undefined
    : templateOf(join(dir, "tokenizer_config.json"), config["chat_template"]);
}

function templateOf(path: string, value: unknown): ChatTemplate {
  if (typeof value === "string") return value;
  const named = new Map<string, string>();
  for (const entry of Array.isArray(value) ? value : [undefined]) {
    if (!isRecord(entry) || typeof entry["name"] !== "string" || typeof entry["template"] !== "string") {
      throw new Zo2Error(
        "ZO2_ERR_TOKENIZER",
        `${path}: "chat_template" is neither a text nor a list of {"name", "template"}`,
      );
    }
    named.set(entry["name"], entry["template"]);
  }
  return Object.fromEntries(named);
}
