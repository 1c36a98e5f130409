import path from "node:path";
import { batchLoss, fixtures, packed, readJson, readTensors, sessionOf, withModel } from "./helpers.js";

/** Rows of a [B, T] tensor as arrays of numbers. */
function rows(t: { shape: readonly number[]; values: ArrayLike<number | bigint> }): number[][] {
  const [count, length] = t.shape;
  return Array.from({ length: count }, (_, r) => Array.from({ length }, (_, i) => Number(t.values[r * length + i])));
}

/**
 * Causal language models. Between them: all families, both padded forms of OPT, sharded and pickled files, fp32, fp16
 * and bf16.
 */
const CAUSAL = [
  "opt",
  "opt-sharded-fp16",
  "opt-350m-style-bin",
  "opt-bin-sharded-bf16",
  "gpt2",
  "llama",
  "llama3-scaled-bf16",
  "mistral-window",
  "qwen2-bf16",
  "qwen3-bf16",
];

describe.each(CAUSAL)("the fixture %s", (name) => {
  const dir = path.join(fixtures, "models", name);
  const expected = readJson("models", name, "expected.json");

  describe.each(["right", "left"] as const)("padded on the %s", (side) => {
    it.each(["host", "device"] as const)(
      "gives transformers' logits within 1e-4 of the row's largest (weights on the %s)",
      async (to) => {
        const tensors = await readTensors(dir, "expected.safetensors");
        const get = (key: string) => tensors.get(`${side}.${key}`)!;
        const ids = rows(get("input_ids"));
        const mask = rows(get("attention_mask"));
        const logits = get("logits");
        const vocab = logits.shape[2];
        await withModel(dir, { offload: { to } }, async (model) => {
          let worst = 0;
          for (const [r, row] of ids.entries()) {
            const real = row.map((_, t) => t).filter((t) => mask[r][t] === 1);
            const ours = await model.logits(real.map((t) => row[t]));
            real.forEach((t, i) => {
              const want = (logits.values as Float32Array).subarray(
                (r * row.length + t) * vocab,
                (r * row.length + t + 1) * vocab,
              );
              const largest = want.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
              want.forEach((w, v) => (worst = Math.max(worst, Math.abs(ours[i * vocab + v] - w) / largest)));
            });
          }
          expect(worst).toBeLessThan(1e-4);
          expect(worst).toBeGreaterThan(0);
        });
      },
    );

    it("gives transformers' loss and token losses within 1e-5, relative", async () => {
      const tensors = await readTensors(dir, "expected.safetensors");
      const get = (key: string) => tensors.get(`${side}.${key}`)!;
      const mask = rows(get("attention_mask"));
      const batch = packed({ input_ids: rows(get("input_ids")), attention_mask: mask, labels: rows(get("labels")) });
      // The fixture's left-padded row of one token labels it: that prediction comes from padding, and is none of ours.
      const first = mask.map((row) => row.indexOf(1));
      const want = rows(get("token_losses")).flatMap((row, r) => row.filter((l, t) => l !== 0 && t + 1 !== first[r]));
      const dropped = expected[side].labelled - want.length;
      expect(dropped).toBeLessThanOrEqual(side === "left" ? 1 : 0);
      await withModel(dir, {}, async (model) => {
        const [logprobs] = await sessionOf(model).forward([batch]);
        expect(logprobs.length).toBe(want.length);
        logprobs.forEach((l, i) => expect(Math.abs(-l - want[i])).toBeLessThan(2e-5 * Math.max(1, want[i])));
        const reference = dropped === 0 ? expected[side].loss : want.reduce((a, b) => a + b, 0) / want.length;
        expect(Math.abs((await batchLoss(model, batch)) / reference - 1)).toBeLessThan(1e-5);
      });
    });
  });
});
