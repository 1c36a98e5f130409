/** Where values of a few ops lie. */
import { placeValues } from "../../../src/memory/places.js";
import { cutUnits } from "../../../src/memory/units.js";
import { numberParameters } from "../../../src/ops/parameter.js";
import { createRecorder } from "../../../src/ops/record.js";
import { capacity } from "./support.js";

test("a value takes the place of those that nothing needs any more, where it fits", () => {
  const WIDTH = 64;
  const names = ["embed", "a", "b", "c", "d"] as const;
  const r = createRecorder(numberParameters(names.map((name) => ({ name, shape: [WIDTH, WIDTH], decay: true }))));
  const weight = (name: (typeof names)[number]) => r.parameter(name);
  const x = r.block("embedding", "embedding", () => r.embed({ table: weight("embed"), index: r.inputs.tokens }));
  const { a, b, c, d, out } = r.block("layers.0", "layer", () => {
    const a = r.linear({ x, weight: weight("a") });
    const b = r.linear({ x, weight: weight("b") });
    const c = r.linear({ x: a, weight: weight("c") });
    // Only a is not needed here.
    const d = r.linear({ x: b, weight: weight("d") });
    return { a, b, c, d, out: r.attention({ q: c, k: d, v: d, heads: 1, kvHeads: 1, scale: 1 }) };
  });
  r.block("head", "head", () => r.head({ x: out, weight: weight("embed") }));
  const units = cutUnits(r.finish(), { wire: "fp32", compute: "fp32" });
  const { of, workspaceBytes } = placeValues(units, capacity, "fp32", "logits");
  const bytes = capacity.rows * WIDTH * 4;
  expect([a, b, c, d].map(({ id }) => of.get(id))).toEqual(
    [0, 1, 2, 0].map((n) => ({ space: "workspace", offset: n * bytes, bytes, type: "fp32" })),
  );
  expect(workspaceBytes).toBe(3 * bytes);
});
