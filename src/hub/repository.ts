/** What a name given for a model may mean on the Hub. Names end up in paths and URLs: nothing unusual gets through. */
import { Zo2Error } from "../base/errors.js";

/** What a repository holds; each kind has its own names on the Hub, and its own folders in the cache. */
export type RepositoryKind = "model" | "dataset";

/** A repository of the Hub, at a branch, a tag or a commit. */
export interface Repository {
  readonly kind: RepositoryKind;
  /** "org/name", or "name" for a few old ones. */
  readonly id: string;
  readonly revision: string;
}

const DEFAULT_REVISION = "main";
const COMMIT = /^[0-9a-f]{40}$/;
/** One part of an id: word characters, dots and dashes, not at its ends. */
const PART = /^[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?$/;
const REVISION = /^[A-Za-z0-9_][A-Za-z0-9_.+/-]{0,249}$/;

/** Whether `revision` names a commit, whose files never change. */
export function isCommit(revision: string): boolean {
  return COMMIT.test(revision);
}

/**
 * Reads "org/name", "name" or either with "@revision"; undefined for what cannot be the id of a repository.
 *
 * @throws Zo2Error ZO2_ERR_CONFIG for a revision that cannot be one, or two that differ
 */
export function parseRepository(
  text: string,
  revision?: string,
  kind: RepositoryKind = "model",
): Repository | undefined {
  const at = text.indexOf("@");
  const id = at === -1 ? text : text.slice(0, at);
  const parts = id.split("/");
  const looksRight =
    parts.length <= 2 && parts.every((part) => PART.test(part) && !part.includes("..") && !part.includes("--"));
  if (!looksRight || id.endsWith(".git")) return undefined;
  const own = at === -1 ? undefined : text.slice(at + 1);
  if (own !== undefined && revision !== undefined && own !== revision) {
    throw new Zo2Error(
      "ZO2_ERR_CONFIG",
      `${text}: names revision ${JSON.stringify(own)}, and the option "revision" names ` +
        `${JSON.stringify(revision)}; give one`,
    );
  }
  return { kind, id, revision: checkRevision(own ?? revision ?? DEFAULT_REVISION, id) };
}

function checkRevision(revision: string, id: string): string {
  const bad = !REVISION.test(revision) || /\.\.|\/\/|\/\.|\.lock(\/|$)|[/.]$/.test(revision);
  if (bad) {
    throw new Zo2Error(
      "ZO2_ERR_CONFIG",
      `${id}: ${JSON.stringify(revision)} cannot be a revision; give a branch, a tag or a commit of 40 ` +
        "hexadecimal digits",
    );
  }
  return revision;
}
