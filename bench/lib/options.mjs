import { parseArgs } from "node:util";

/**
 * Reads `--name value` options. `defaults` names them all: a number's option has to be a number, `true` or `false`
 * makes a switch, and `null` is text without a default.
 * @throws Error for an unknown option or a value that is not a number
 */
export function readOptions(argv, defaults) {
  const options = Object.fromEntries(
    Object.entries(defaults).map(([name, value]) => [
      name,
      { type: typeof value === "boolean" ? "boolean" : "string" },
    ]),
  );
  const { values } = parseArgs({ args: argv, options, strict: true, allowPositionals: false });
  const read = Object.entries(defaults).map(([name, fallback]) => {
    const given = values[name];
    if (given === undefined) return [name, fallback];
    return [name, typeof fallback === "number" ? toNumber(name, given) : given];
  });
  return Object.fromEntries(read);
}

function toNumber(name, text) {
  const value = Number(text);
  if (text.trim() === "" || !Number.isFinite(value))
    throw new Error(`--${name} is ${JSON.stringify(text)}; it has to be a number`);
  return value;
}

/** `"8x128,1x512"` as batch and sequence length. */
export function readShapes(text) {
  return text.split(",").map((part) => {
    const match = /^\s*([1-9]\d*)x([1-9]\d*)\s*$/.exec(part);
    if (match === null)
      throw new Error(`--shapes has ${JSON.stringify(part)}; it has to be BATCHxSEQUENCE, as in 8x128,1x512`);
    return { name: `${match[1]}x${match[2]}`, batch: Number(match[1]), seq: Number(match[2]) };
  });
}

/** @throws Error unless the value of the option is among `allowed` */
export function oneOf(options, name, allowed) {
  if (!allowed.includes(options[name]))
    throw new Error(`--${name} is ${JSON.stringify(options[name])}; it has to be ${allowed.join(" or ")}`);
  return options[name];
}

/** Runs a program's main function; an error is one line and exit status 1. */
export async function runMain(name, main) {
  try {
    process.exitCode = (await main()) ?? 0;
  } catch (error) {
    console.error(`${name}: ${error instanceof Error ? error.message : String(error)}`);
    if (process.env.ZO2_BENCH_DEBUG !== undefined) console.error(error);
    process.exitCode = 1;
  }
}
