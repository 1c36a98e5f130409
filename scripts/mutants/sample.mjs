/**
 * A checker for Stryker that lets through the mutants of a sample. Which ones these are is a function of the seed and
 * of the mutant's own place and text, so that a mutant's fate does not depend on the files that others are in.
 */
import { createHash } from "node:crypto";
import path from "node:path";
import process from "node:process";

/** @param sample.share from 0 to 1 */
function isSampled({ fileName, location, mutatorName, replacement }, root, { seed, share }) {
  const { start, end } = location;
  const place = [start.line, start.column, end.line, end.column].join(":");
  const file = path.relative(root, fileName).replace(/^.*?(?=src\/)/, "");
  const digest = createHash("sha256").update([seed, file, place, mutatorName, replacement].join("\0")).digest();
  return digest.readUInt32BE() < share * 2 ** 32;
}

class SampleChecker {
  async init() {
    const { seed, share } = JSON.parse(process.env.ZO2_MUTANTS_SAMPLE);
    this.sample = { seed, share };
  }

  async check(mutants) {
    const verdict = (mutant) =>
      isSampled(mutant, process.cwd(), this.sample)
        ? { status: "passed" }
        : { status: "compileError", reason: "not sampled" };
    return Object.fromEntries(mutants.map((mutant) => [mutant.id, verdict(mutant)]));
  }

  async group(mutants) {
    return [mutants.map(({ id }) => id)];
  }
}

export const strykerPlugins = [{ kind: "Checker", name: "sample", injectableClass: SampleChecker }];
