import fs from "node:fs";
import path from "node:path";
import { transformSync } from "@swc/core";
import { Trainer, type Model, type Step } from "../../../src/index.js";
import { withModel } from "./helpers.js";

const root = path.join(__dirname, "../../..");
const EXAMPLES = 8;

/** The TypeScript blocks of a page, with runs of two small steps over the package's own sentences. */
function blocks(page: string): string[] {
  const text = fs.readFileSync(path.join(root, page), "utf8");
  return [...text.matchAll(/^```ts\n([\s\S]*?)^```/gm)].map(([, code = ""]) =>
    code
      .replace(/steps: \d+/, "steps: 2")
      .replace(/batchSize: \d+/, `batchSize: ${EXAMPLES}`)
      .replace('"reviews/', `"${path.join(root, "docs/demo/reviews")}/`),
  );
}

/** Runs a block that prints the index and the loss of each step. */
async function run(code: string, model: Model): Promise<Pick<Step, "index" | "loss">[]> {
  const script = transformSync(`async function block() { ${code} }`, {
    jsc: { parser: { syntax: "typescript" }, target: "es2022" },
  }).code;
  const printed: Pick<Step, "index" | "loss">[] = [];
  const log = (index: number, loss: number) => printed.push({ index, loss });
  await (
    new Function("model", "Trainer", "console", `${script}; return block();`) as (...args: unknown[]) => Promise<void>
  )(model, Trainer, { log });
  return printed;
}

describe("the examples of docs/objectives.md", () => {
  const [fromLogits = "", fromText = "", ...more] = blocks("docs/objectives.md");
  const load = (body: (model: Model) => Promise<void>) =>
    withModel(path.join(root, "docs/demo/tiny-opt"), { offload: { wire: "fp32" } }, body);

  it("are two", () => expect(more).toHaveLength(0));

  it("run as they are written: shares of wrong answers, from logits", async () => {
    await load(async (model) => {
      const steps = await run(fromLogits, model);
      expect(steps.map(({ index }) => index)).toEqual([0, 1]);
      for (const { loss } of steps) {
        expect(loss).toBeGreaterThan(0);
        expect(loss).toBeLessThan(1);
        // The mean of two branches' shares of the batch.
        expect(Number.isInteger(loss * 2 * EXAMPLES)).toBe(true);
      }
    });
  });

  it("run as they are written: lengths of sentences, from generated text", async () => {
    await load(async (model) => {
      const steps = await run(fromText, model);
      expect(steps.map(({ index }) => index)).toEqual([0, 1]);
      // At most 16 tokens are at most 16 words, and each branch's mean is of whole numbers.
      for (const { loss } of steps) {
        expect(loss).toBeLessThanOrEqual(11);
        expect(Number.isInteger(loss * 2 * EXAMPLES)).toBe(true);
      }
    });
  });
});
