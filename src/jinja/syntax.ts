/** What the parser makes of a template. */
import type { Arithmetic, Comparison } from "./operators.js";
import type { Value } from "./values.js";

export interface Arguments {
  readonly args: readonly Expression[];
  readonly named: readonly (readonly [name: string, value: Expression])[];
  /** `*values` and `**values`. */
  readonly spread: Expression | undefined;
  readonly namedSpread: Expression | undefined;
}

export type Expression = { readonly line: number } & (
  | { readonly kind: "constant"; readonly value: Value }
  | { readonly kind: "name"; readonly name: string }
  | { readonly kind: "list" | "tuple" | "concat"; readonly items: readonly Expression[] }
  | { readonly kind: "dict"; readonly entries: readonly (readonly [Expression, Expression])[] }
  | { readonly kind: "attribute"; readonly of: Expression; readonly name: string }
  | { readonly kind: "item"; readonly of: Expression; readonly key: Expression }
  | {
      readonly kind: "slice";
      readonly start: Expression | undefined;
      readonly stop: Expression | undefined;
      readonly step: Expression | undefined;
    }
  | ({ readonly kind: "call"; readonly callee: Expression } & Arguments)
  /** A filter without `of` is one of a block. */
  | ({ readonly kind: "filter"; readonly name: string; readonly of: Expression | undefined } & Arguments)
  | ({ readonly kind: "test"; readonly name: string; readonly of: Expression } & Arguments)
  | { readonly kind: "not" | "negative" | "positive"; readonly of: Expression }
  | { readonly kind: "and" | "or"; readonly left: Expression; readonly right: Expression }
  | {
      readonly kind: "arithmetic";
      readonly operator: Arithmetic;
      readonly left: Expression;
      readonly right: Expression;
    }
  | {
      readonly kind: "compare";
      readonly first: Expression;
      readonly rest: readonly (readonly [operator: Comparison | "in" | "not in", operand: Expression])[];
    }
  | {
      readonly kind: "condition";
      readonly test: Expression;
      readonly yes: Expression;
      readonly no: Expression | undefined;
    }
);

export type Target =
  | { readonly kind: "name"; readonly name: string }
  | { readonly kind: "attribute"; readonly namespace: string; readonly name: string }
  | { readonly kind: "tuple"; readonly items: readonly Target[] };

export interface Signature {
  readonly parameters: readonly string[];
  /** Of the last parameters. */
  readonly defaults: readonly Expression[];
}

export type Block = readonly Statement[];

export type Statement = { readonly line: number } & (
  | { readonly kind: "data"; readonly text: string }
  | { readonly kind: "output"; readonly value: Expression }
  | { readonly kind: "set"; readonly target: Target; readonly value: Expression }
  | { readonly kind: "capture"; readonly target: Target; readonly filter: Expression | undefined; readonly body: Block }
  | {
      readonly kind: "for";
      readonly target: Target;
      readonly over: Expression;
      readonly test: Expression | undefined;
      readonly recursive: boolean;
      readonly body: Block;
      readonly otherwise: Block | undefined;
    }
  | { readonly kind: "if"; readonly branches: readonly (readonly [Expression, Block])[]; readonly otherwise: Block }
  | { readonly kind: "with"; readonly bindings: readonly (readonly [Target, Expression])[]; readonly body: Block }
  | { readonly kind: "macro"; readonly name: string; readonly signature: Signature; readonly body: Block }
  | { readonly kind: "callBlock"; readonly signature: Signature; readonly call: Expression; readonly body: Block }
  | { readonly kind: "filterBlock"; readonly filter: Expression; readonly body: Block }
  | { readonly kind: "generation" | "scope"; readonly body: Block }
  | { readonly kind: "break" | "continue" }
  /** A tag that needs other templates, of which there are none. */
  | { readonly kind: "other"; readonly tag: string }
);
