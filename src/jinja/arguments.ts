/** Arguments of calls, bound to parameters as Python binds them. */
import { TemplateError } from "./errors.js";
import { isInt, isTrue, type Named, typeOf, Undefined, type Value } from "./values.js";

/** By parameter; undefined where none was given. Throws for too many, for unknown names, and for one given twice. */
export function bind<Name extends string>(
  callee: string,
  parameters: readonly Name[],
  args: readonly Value[],
  named: Named,
): { readonly [name in Name]?: Value | undefined } {
  if (args.length > parameters.length)
    throw new TemplateError(`${callee}() takes at most ${parameters.length} arguments (${args.length} given)`);
  const bound: { [name in Name]?: Value | undefined } = {};
  for (const [i, value] of args.entries()) bound[parameters[i] as Name] = value;
  for (const [name, value] of named) {
    if (!parameters.includes(name as Name))
      throw new TemplateError(`${callee}() got an unexpected keyword argument '${name}'`);
    if (bound[name as Name] !== undefined)
      throw new TemplateError(`${callee}() got multiple values for argument '${name}'`);
    bound[name as Name] = value;
  }
  return bound;
}

export function needed(callee: string, name: string, value: Value | undefined): Value {
  if (value === undefined) throw new TemplateError(`${callee}() is missing its argument '${name}'`);
  return value;
}

export function needText(callee: string, value: Value | undefined): string {
  if (typeof value === "string") return value;
  if (value instanceof Undefined) return value.fail();
  throw new TemplateError(`${callee}() needs a text, not ${value === undefined ? "nothing" : typeOf(value)}`);
}

export function needInt(callee: string, value: Value | undefined, otherwise: number): number {
  if (value === undefined) return otherwise;
  if (value instanceof Undefined) return value.fail();
  if (!isInt(value)) throw new TemplateError(`${callee}() needs an integer, not ${typeOf(value)}`);
  return Math.max(-(2 ** 40), Math.min(2 ** 40, Number(value)));
}

export function flag(value: Value | undefined, otherwise = false): boolean {
  return value === undefined ? otherwise : isTrue(value);
}
