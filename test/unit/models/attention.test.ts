import { operandValue } from "../memory/ops.js";
import { define, opsOf, type Config } from "./support.js";

const attentions = (name: string, change: Config = {}) => opsOf(define(name, change), "attention");
const windows = (name: string, change: Config = {}) => attentions(name, change).map((op) => op.attributes.window);
/** fp32 rounding of a frequency, of its exponent (times ln base < 14) and of the blend. */
const ROTARY_TOLERANCE = 2e-6;

function frequencies(name: string, change: Config = {}): readonly number[] {
  const rotations = opsOf(define(name, change), "rope").map((op) => op.attributes.rotary.frequencies);
  // Queries and keys of all layers rotate alike.
  for (const other of rotations) expect(other).toEqual(rotations[0]);
  expect(rotations.length).toBeGreaterThanOrEqual(4);
  return rotations[0] ?? [];
}

function expectClose(ours: readonly number[], want: readonly number[]): void {
  expect(ours).toHaveLength(want.length);
  ours.forEach((f, j) => expect(Math.abs(f / want[j]! - 1)).toBeLessThan(ROTARY_TOLERANCE));
}

/** theta^(-2 j / d), in double precision. */
const plain = (base: number, columns: number) =>
  Array.from({ length: columns / 2 }, (_, j) => Math.exp((-2 * j * Math.log(base)) / columns));

describe("rotary frequencies", () => {
  test.each([
    ["llama", { rope_parameters: { rope_theta: 500_000, rope_type: "default" } }, 500_000, 64],
    ["llama", { rope_parameters: undefined, rope_theta: 500_000 }, 500_000, 64],
    ["llama", { rope_parameters: undefined }, 10_000, 64],
    ["llama", { rope_parameters: null, rope_scaling: null, head_dim: null }, 10_000, 64],
    ["llama", { head_dim: 128, rope_parameters: { rope_theta: 100_000 } }, 100_000, 128],
    ["qwen2-bf16", { rope_theta: 1_000_000 }, 1_000_000, 64],
    ["qwen3-bf16", { head_dim: undefined, rope_parameters: { rope_theta: 5_000_000 } }, 5_000_000, 128],
    ["mistral-window", { rope_theta: 1_000_000_000 }, 1_000_000_000, 64],
  ])("of %s with %j are powers of the base", (name, change, base, columns) => {
    expectClose(frequencies(name, change), plain(base, columns));
  });

  test("are divided by the factor of a linear scaling, in the old form and in the new one", () => {
    const want = plain(10_000, 64).map((f) => f / 2.5);
    expectClose(frequencies("mistral-window", { rope_scaling: { type: "linear", factor: 2.5 } }), want);
    expectClose(
      frequencies("llama", { rope_parameters: { rope_type: "linear", factor: 2.5, rope_theta: 10_000 } }),
      want,
    );
  });

  test("may be given in both forms, where these say the same", () => {
    const scaling = { rope_type: "linear", factor: 2.5 };
    const both = { rope_theta: 10_000, rope_scaling: scaling, rope_parameters: { ...scaling, rope_theta: 10_000 } };
    expect(frequencies("llama", both)).toEqual(frequencies("mistral-window", { rope_scaling: scaling }));
  });

  test("stay as they are under a dynamic scaling, which begins past the model's positions", () => {
    expect(frequencies("mistral-window", { rope_scaling: { type: "dynamic", factor: 4 } })).toEqual(
      frequencies("mistral-window"),
    );
  });

  test.each([
    ["of the fixture", {}, { base: 50_000, columns: 64, factor: 4, low: 1, high: 4, context: 32 }],
    [
      "of Llama 3.1",
      {
        rope_theta: 500_000,
        head_dim: 128,
        max_position_embeddings: 131_072,
        rope_scaling: {
          rope_type: "llama3",
          factor: 8,
          low_freq_factor: 1,
          high_freq_factor: 4,
          original_max_position_embeddings: 8192,
        },
      },
      { base: 500_000, columns: 128, factor: 8, low: 1, high: 4, context: 8192 },
    ],
    [
      "of Llama 3.2",
      {
        rope_theta: 500_000,
        head_dim: 64,
        max_position_embeddings: 131_072,
        rope_scaling: {
          rope_type: "llama3",
          factor: 32,
          low_freq_factor: 1,
          high_freq_factor: 4,
          original_max_position_embeddings: 8192,
        },
      },
      { base: 500_000, columns: 64, factor: 32, low: 1, high: 4, context: 8192 },
    ],
    [
      "without the trained context, which is then the model's positions,",
      {
        rope_theta: 50_000,
        max_position_embeddings: 2048,
        rope_scaling: { rope_type: "llama3", factor: 4, low_freq_factor: 1, high_freq_factor: 4 },
      },
      { base: 50_000, columns: 64, factor: 4, low: 1, high: 4, context: 2048 },
    ],
  ])(
    "%s follow the llama3 scaling: kept where they turn often in the trained context, slowed where they do " +
      "not, blended between",
    (_, change, o) => {
      const kinds = { kept: 0, slowed: 0, blended: 0 };
      const want = plain(o.base, o.columns).map((f) => {
        const turns = (o.context * f) / (2 * Math.PI);
        const kept = Math.min(1, Math.max(0, (turns - o.low) / (o.high - o.low)));
        kinds[kept === 1 ? "kept" : kept === 0 ? "slowed" : "blended"]++;
        return f * (kept + (1 - kept) / o.factor);
      });
      expectClose(frequencies("llama3-scaled-bf16", change), want);
      expect(Math.min(...Object.values(kinds))).toBeGreaterThan(0);
    },
  );

  test("are exact in fp32: angles grow with them times thousands of positions", () => {
    for (const f of [...frequencies("llama"), ...frequencies("llama3-scaled-bf16")]) expect(Math.fround(f)).toBe(f);
  });
});

describe("windows", () => {
  test.each([
    ["as the config says", {}, [16, 16]],
    ["of transformers' default where it does not say", { sliding_window: undefined }, [4096, 4096]],
    ["none where it says null", { sliding_window: null }, [0, 0]],
  ])("of Mistral: %s", (_, change, want) => {
    expect(windows("mistral-window", change)).toEqual(want);
  });

  const four = { num_hidden_layers: 4, layer_types: undefined };
  test.each([
    ["are off though a window is given", { sliding_window: 8 }, [0, 0, 0, 0]],
    ["begin at max_window_layers", { use_sliding_window: true, sliding_window: 8, max_window_layers: 3 }, [0, 0, 0, 8]],
    [
      "are on everywhere where it is 0",
      { use_sliding_window: true, sliding_window: 8, max_window_layers: 0 },
      [8, 8, 8, 8],
    ],
    [
      "begin at layer 28 by default",
      { use_sliding_window: true, sliding_window: 8, max_window_layers: undefined },
      [0, 0, 0, 0],
    ],
    [
      "have transformers' default size",
      { use_sliding_window: true, sliding_window: undefined, max_window_layers: 2 },
      [0, 0, 4096, 4096],
    ],
    [
      "are none where the size is null",
      { use_sliding_window: true, sliding_window: null, max_window_layers: 0 },
      [0, 0, 0, 0],
    ],
    [
      "follow layer_types where those are given",
      {
        use_sliding_window: true,
        sliding_window: 8,
        max_window_layers: 0,
        layer_types: ["full_attention", "sliding_attention", "sliding_attention", "full_attention"],
      },
      [0, 8, 8, 0],
    ],
  ])("of Qwen2 and Qwen3 %s", (_, change, want) => {
    for (const name of ["qwen2-bf16", "qwen3-bf16"]) expect(windows(name, { ...four, ...change })).toEqual(want);
  });

  test("are none in OPT, GPT-2 and Llama", () => {
    for (const name of ["opt", "gpt2", "llama"]) expect(windows(name)).toEqual([0, 0]);
  });
});

describe("attention", () => {
  test.each([
    ["opt", 2, 2, 64],
    ["opt-sharded-fp16", 2, 2, 80],
    ["opt-bin-sharded-bf16", 1, 1, 128],
    ["gpt2", 2, 2, 64],
    ["llama", 2, 1, 64],
    ["llama3-scaled-bf16", 4, 2, 64],
    ["mistral-window", 2, 1, 64],
    ["qwen2-bf16", 2, 2, 64],
    ["qwen3-bf16", 4, 2, 64],
  ])("of %s has %d heads over %d keys and divides by the root of %d", (name, heads, kvHeads, size) => {
    for (const op of attentions(name)) {
      expect(op.attributes).toMatchObject({ heads, kvHeads });
      expect(op.attributes.scale).toBeCloseTo(size ** -0.5, 15);
      expect(
        [operandValue(op, "q"), operandValue(op, "k"), operandValue(op, "v")].map(({ columns }) => columns),
      ).toEqual([heads * size, kvHeads * size, kvHeads * size]);
    }
  });

  test("has as many keys as queries in a Llama that does not say, and eight in such a Mistral", () => {
    const keys = (name: string, change: Config) => attentions(name, change)[0].attributes.kvHeads;
    expect(keys("llama", { num_key_value_heads: undefined })).toBe(2);
    expect(keys("mistral-window", { num_key_value_heads: undefined, num_attention_heads: 16 })).toBe(8);
  });

  test("of GPT-2 is scaled, or not, and by the layer too, as its config says", () => {
    const scales = (change: Config) => attentions("gpt2", change).map((op) => op.attributes.scale);
    expect(scales({ scale_attn_weights: false })).toEqual([1, 1]);
    expect(scales({ scale_attn_by_inverse_layer_idx: true })).toEqual([1 / 8, 1 / 16]);
  });
});

test("position p reads row p + 2 of OPT's table, and row p elsewhere", () => {
  expect([0, 5].map(define("opt").positionRow)).toEqual([2, 7]);
  for (const name of ["gpt2", "llama", "qwen3-bf16"]) expect([0, 5].map(define(name).positionRow)).toEqual([0, 5]);
});

test.each([
  ["gelu", "gelu"],
  ["gelu_new", "geluTanh"],
  ["gelu_pytorch_tanh", "geluTanh"],
  ["gelu_fast", "geluTanh"],
  ["relu", "relu"],
  ["silu", "silu"],
  ["swish", "silu"],
])("the activation %s is computed as %s", (given, want) => {
  const used = (name: string, field: string) =>
    opsOf(define(name, { [field]: given }), "linear")
      .map((op) => op.attributes.activation)
      .filter((activation) => activation !== "none");
  expect(used("opt", "activation_function")).toEqual([want, want]);
  expect(used("gpt2", "activation_function")).toEqual([want, want]);
  expect(
    opsOf(define("llama", { hidden_act: given }), "gatedActivation").map((op) => op.attributes.activation),
  ).toEqual([want, want]);
});
