/**
 * Calls into the ES modules of bench/ from tests, which jest runs as CommonJS: each call is a process of its own, in
 * and out as JSON.
 */
import { spawnSync } from "node:child_process";
import { join, resolve } from "node:path";

export const root = resolve(__dirname, "../../..");

export interface Ended {
  readonly status: number | null;
  readonly out: string;
  readonly err: string;
}

/** Runs a script of the repository. */
export function runScript(script: string, ...args: string[]): Ended {
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(root, script), ...args], { encoding: "utf8" });
  return { status, out: stdout.trim(), err: stderr.trim() };
}

/**
 * What `body`, the body of a function of the module `m` and `args`, returns. Throws with the message of what it throws.
 */
export function inModule(module: string, body: string, ...args: unknown[]): unknown {
  const code = `
    import * as m from ${JSON.stringify(join(root, module))};
    const f = (args) => { ${body} };
    try {
      console.log(JSON.stringify({ value: f(${JSON.stringify(args)}) }));
    } catch (error) {
      console.log(JSON.stringify({ error: error.message }));
    }`;
  const { status, stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", code], {
    encoding: "utf8",
  });
  if (status !== 0) throw new Error(stderr);
  const answer = JSON.parse(stdout) as { readonly value?: unknown; readonly error?: string };
  if (answer.error !== undefined) throw new Error(answer.error);
  return answer.value;
}
