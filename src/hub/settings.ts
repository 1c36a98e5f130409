/**
 * Where the Hub is, where its files are kept and who asks: the variables of huggingface_hub (Python), with the same
 * meaning.
 */
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { readTextFile } from "../base/files.js";
import { Zo2Error } from "../base/errors.js";

export interface HubSettings {
  /** No slash at its end. */
  readonly endpoint: string;
  /** Absolute. Holds one folder per repository. */
  readonly cacheDir: string;
  readonly offline: boolean;
  /** Secret: in no message, and sent to the origin of `endpoint` only. */
  readonly token: string | undefined;
}

const DEFAULT_ENDPOINT = "https://huggingface.co";
const TRUE = new Set(["1", "ON", "YES", "TRUE"]);

/**
 * Options first, then the environment, then the defaults of huggingface_hub.
 *
 * @throws Zo2Error ZO2_ERR_CONFIG for an endpoint or a token that cannot be used, ZO2_ERR_IO for a token file that
 *   cannot be read
 */
export async function hubSettings(
  o: { readonly cacheDir?: string; readonly token?: string; readonly endpoint?: string; readonly offline?: boolean },
  env: NodeJS.ProcessEnv,
): Promise<HubSettings> {
  const home = expand(
    set(env, "HF_HOME") ?? join(set(env, "XDG_CACHE_HOME") ?? join(homeFolder(env), ".cache"), "huggingface"),
    env,
  );
  const cache =
    o.cacheDir ?? expand(set(env, "HF_HUB_CACHE") ?? set(env, "HUGGINGFACE_HUB_CACHE") ?? join(home, "hub"), env);
  const offline = o.offline ?? isTrue(set(env, "HF_HUB_OFFLINE") ?? set(env, "TRANSFORMERS_OFFLINE"));
  return {
    endpoint: checkEndpoint(o.endpoint ?? set(env, "HF_ENDPOINT") ?? DEFAULT_ENDPOINT),
    cacheDir: resolve(cache),
    offline,
    token: offline ? undefined : checkToken(o.token ?? (await storedToken(home, env))),
  };
}

/** An empty variable counts as one that is not set. */
function set(env: NodeJS.ProcessEnv, name: string): string | undefined {
  const value = env[name];
  return value === undefined || value === "" ? undefined : value;
}

function isTrue(value: string | undefined): boolean {
  return value !== undefined && TRUE.has(value.toUpperCase());
}

function homeFolder(env: NodeJS.ProcessEnv): string {
  return set(env, "HOME") ?? homedir();
}

/** `~` at the start, `$NAME` and `${NAME}`; a name that is not set stays as it is written. */
function expand(path: string, env: NodeJS.ProcessEnv): string {
  const fromHome = path === "~" || path.startsWith("~/") ? homeFolder(env) + path.slice(1) : path;
  return fromHome.replace(
    /\$(?:\{(\w+)\}|(\w+))/g,
    (text, braced?: string, bare?: string) => env[braced ?? bare ?? ""] ?? text,
  );
}

function checkEndpoint(text: string): string {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw new Zo2Error(
      "ZO2_ERR_CONFIG",
      `endpoint ${JSON.stringify(text)}: not a URL; give one like ${DEFAULT_ENDPOINT} ("endpoint" or HF_ENDPOINT)`,
    );
  }
  if (url.protocol !== "https:" && url.protocol !== "http:") {
    throw new Zo2Error(
      "ZO2_ERR_CONFIG",
      `endpoint ${JSON.stringify(text)}: neither https nor http ("endpoint" or HF_ENDPOINT)`,
    );
  }
  if (url.username !== "" || url.password !== "" || url.search !== "" || url.hash !== "") {
    throw new Zo2Error(
      "ZO2_ERR_CONFIG",
      `endpoint ${url.origin}: holds a user name, a query or a fragment; leave them out, and give HF_TOKEN for access`,
    );
  }
  return url.origin + url.pathname.replace(/\/+$/, "");
}

async function storedToken(home: string, env: NodeJS.ProcessEnv): Promise<string | undefined> {
  if (isTrue(set(env, "HF_HUB_DISABLE_IMPLICIT_TOKEN"))) return undefined;
  const given = set(env, "HF_TOKEN") ?? set(env, "HUGGING_FACE_HUB_TOKEN");
  if (given !== undefined) return given;
  const path = set(env, "HF_TOKEN_PATH");
  return readTextFile(path === undefined ? join(home, "token") : expand(path, env), "ZO2_ERR_CONFIG");
}

/** A header with any other character fails with a message that shows it, so this comes first. */
function checkToken(token: string | undefined): string | undefined {
  const text = token?.trim();
  if (text === undefined || text === "") return undefined;
  if (!/^[\x21-\x7e]+$/.test(text)) {
    throw new Zo2Error(
      "ZO2_ERR_CONFIG",
      `the Hub's token (${text.length} characters) holds spaces or characters beyond ASCII; set HF_TOKEN again`,
    );
  }
  return text;
}
