/** OPT-125M (arXiv 2205.01068, table 1). */
export const OPT_125M = { layers: 12, hidden: 768, ffn: 3072, heads: 12, vocab: 50272, maxpos: 2048 };

const opt = (layers, hidden, heads) => ({ layers, hidden, heads, ffn: 4 * hidden, vocab: 50272, maxpos: 2048 });

/** The larger ones, by name. */
export const OPT_MODELS = {
  "OPT-1.3B": opt(24, 2048, 32),
  "OPT-6.7B": opt(32, 4096, 32),
  "OPT-13B": opt(40, 5120, 40),
  "OPT-30B": opt(48, 7168, 56),
  "OPT-66B": opt(64, 9216, 72),
  "OPT-175B": opt(96, 12288, 96),
};

/** The position table has two rows in front. */
const POSITION_OFFSET = 2;

/** `config.json` of a pre-LN OPT model of this shape with a tied head, as transformers names the fields. */
export function optConfig(shape) {
  return {
    architectures: ["OPTForCausalLM"],
    model_type: "opt",
    torch_dtype: "float32",
    vocab_size: shape.vocab,
    hidden_size: shape.hidden,
    word_embed_proj_dim: shape.hidden,
    num_hidden_layers: shape.layers,
    num_attention_heads: shape.heads,
    ffn_dim: shape.ffn,
    max_position_embeddings: shape.maxpos,
    activation_function: "relu",
    do_layer_norm_before: true,
    enable_bias: true,
    layer_norm_elementwise_affine: true,
    dropout: 0,
    attention_dropout: 0,
    tie_word_embeddings: true,
    pad_token_id: 1,
    bos_token_id: 2,
    eos_token_id: 2,
  };
}

/** The tensors of such a model: names, shapes and how their values are made. */
export function optTensors({ layers, hidden, ffn, vocab, maxpos }) {
  const tensors = [];
  const matrix = (name, rows, columns) => tensors.push({ name, shape: [rows, columns], values: "normal" });
  const bias = (name, length) => tensors.push({ name, shape: [length], values: "zeros" });
  const norm = (name) => {
    tensors.push({ name: `${name}.weight`, shape: [hidden], values: "ones" });
    bias(`${name}.bias`, hidden);
  };
  const linear = (name, rows, columns) => {
    matrix(`${name}.weight`, rows, columns);
    bias(`${name}.bias`, rows);
  };
  matrix("model.decoder.embed_tokens.weight", vocab, hidden);
  matrix("model.decoder.embed_positions.weight", maxpos + POSITION_OFFSET, hidden);
  for (let i = 0; i < layers; i++) {
    const layer = `model.decoder.layers.${i}.`;
    for (const name of ["k_proj", "v_proj", "q_proj", "out_proj"]) linear(`${layer}self_attn.${name}`, hidden, hidden);
    norm(`${layer}self_attn_layer_norm`);
    linear(`${layer}fc1`, ffn, hidden);
    linear(`${layer}fc2`, hidden, ffn);
    norm(`${layer}final_layer_norm`);
  }
  norm("model.decoder.final_layer_norm");
  return tensors;
}

export function elementsOf(tensor) {
  return tensor.shape.reduce((product, n) => product * n, 1);
}

export function parameterCount(shape) {
  return optTensors(shape).reduce((sum, t) => sum + elementsOf(t), 0);
}
