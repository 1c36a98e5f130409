/** Which names a pattern of PEFT means. Its patterns are Python's regular expressions, most of them plain names. */
import { runInNewContext } from "node:vm";
import { broken } from "../../checkpoint/index.js";

/** A pattern comes with a file that nobody has to trust, and one can be made to run for years. */
const MOST_MILLISECONDS = 1000;

/**
 * By each of `names`: whether all of it matches `pattern` ("whole"), or what stands behind some dot of it, or all
 * ("end"), as `re.fullmatch(p, name)` and `re.match(f"(.*\\.)?({p})$", name)`.
 * @param field of `file` that has the pattern. @throws Zo2Error ZO2_ERR_CHECKPOINT for a pattern that is none
 */
export function matching(
  pattern: string,
  names: readonly string[],
  form: "whole" | "end",
  place: { readonly file: string; readonly field: string },
): readonly boolean[] {
  if (/^[\w.-]*$/.test(pattern))
    return names.map((name) => name === pattern || (form === "end" && name.endsWith(`.${pattern}`)));
  // What JavaScript writes otherwise.
  const own = pattern.replaceAll("(?P<", "(?<").replaceAll("\\Z", "$").replaceAll("\\A", "^");
  const source = form === "whole" ? `^(?:${own})$` : `^(.*\\.)?(${own})$`;
  try {
    const found: unknown = runInNewContext(
      "const e = new RegExp(source); JSON.stringify(names.map((name) => e.test(name)))",
      { source, names },
      { timeout: MOST_MILLISECONDS },
    );
    return JSON.parse(String(found)) as boolean[];
  } catch (error) {
    throw broken(place.file, `${place.field} = ${JSON.stringify(pattern)} cannot be used as a pattern`, error);
  }
}
