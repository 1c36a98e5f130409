"""MeZO steps of the original ZO2 (arXiv 2503.12668; https://github.com/liangyuwang/zo2) on an OPT model without a checkpoint, timed as timeline.mjs
times ours: one JSON object on standard output, {"seconds": [...], "peakBytes": ...}.

    python3 bench/gpu/original_zo2.py --original FOLDER [--layers 40 --hidden 5120 --ffn 20480 --heads 40 --seq 2048 --steps 3]

FOLDER: a checkout of it. Exit status 3, and the reason on standard error, where it or what it needs (PyTorch with a device, transformers) is not there.
"""

import argparse
import json
import sys
import time

ABSENT = 3


def options():
    parser = argparse.ArgumentParser()
    parser.add_argument("--original", required=True)
    for name, value in [("layers", 40), ("hidden", 5120), ("ffn", 20480), ("heads", 40), ("vocab", 50272), ("seq", 2048), ("steps", 3)]:
        parser.add_argument(f"--{name}", type=int, default=value)
    return parser.parse_args()


def main():
    o = options()
    sys.path.insert(0, o.original)
    try:
        import torch
        from zo2 import ZOConfig, zo_hf_init

        config = ZOConfig(method="mezo-sgd", zo2=True, offloading_device="cpu", working_device="cuda", lr=1e-7)
        with zo_hf_init(config):
            from transformers import OPTConfig, OPTForCausalLM
    except ImportError as error:
        print(f"{error}", file=sys.stderr)
        return ABSENT
    if not torch.cuda.is_available():
        print(f"PyTorch {torch.__version__} has no CUDA device", file=sys.stderr)
        return ABSENT
    shape = OPTConfig(num_hidden_layers=o.layers, hidden_size=o.hidden, ffn_dim=o.ffn, num_attention_heads=o.heads, vocab_size=o.vocab,
                      word_embed_proj_dim=o.hidden, max_position_embeddings=o.seq, torch_dtype="float16")
    torch.set_default_dtype(torch.float16)
    with zo_hf_init(config):
        model = quickly(torch, lambda: OPTForCausalLM(shape))
        model.zo_init(config)
    seconds = []
    for _ in range(1 + o.steps):
        ids = torch.randint(0, o.vocab, (1, o.seq), device="cuda")
        begin = time.perf_counter()
        model.zo_train()
        model(input_ids=ids, labels=ids)
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begin)
    print(json.dumps({"seconds": seconds[1:], "peakBytes": torch.cuda.max_memory_allocated(), "torch": torch.__version__}))
    return 0


def quickly(torch, build):
    """Builds a model whose initialisation does not draw: for billions of weights a CPU takes longer over that than all steps."""
    drawn = torch.Tensor.normal_
    torch.Tensor.normal_ = lambda self, *_, **__: self.fill_(0.01)
    try:
        return build()
    finally:
        torch.Tensor.normal_ = drawn


if __name__ == "__main__":
    sys.exit(main())
