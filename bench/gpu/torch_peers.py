"""The matrix products and the attention of linear_bench and attention_bench in PyTorch (cuBLAS, scaled_dot_product_attention), timed the same
way: random operands, CUDA events around each run, the median after warm-up. One JSON object on a line of standard output for each.

    python3 bench/gpu/torch_peers.py        exit status 3, and the reason on standard error, where there is no PyTorch with a CUDA device
"""

import json
import statistics
import sys

NO_PEER = 3
REPEATS = 20
WARMUP = 3
OPT = [("opt-1.3b", 2048, 32), ("opt-6.7b", 4096, 32), ("opt-13b", 5120, 40)]
TOKENS = [2048, 4096]
# Sequences, and the length of each.
PACKINGS = [(1, 2048), (2, 2048), (16, 256)]


def seconds(torch, work):
    events = [torch.cuda.Event(enable_timing=True) for _ in range(REPEATS + 1)]
    for _ in range(WARMUP):
        work()
    events[0].record()
    for event in events[1:]:
        work()
        event.record()
    torch.cuda.synchronize()
    return statistics.median(a.elapsed_time(b) for a, b in zip(events, events[1:])) * 1e-3


def show(**fields):
    print(json.dumps(fields), flush=True)


def linear(torch, dtype, name):
    for model, hidden, _ in OPT:
        for m in TOKENS:
            for layer, n, k in [("projection", hidden, hidden), ("fc1", 4 * hidden, hidden), ("fc2", hidden, 4 * hidden)]:
                x = torch.randn(m, k, device="cuda").to(dtype)
                weight = (torch.randn(n, k, device="cuda") * 0.02).to(dtype)
                taken = seconds(torch, lambda: torch.nn.functional.linear(x, weight))
                show(bench="linear", case=f"{model} {layer}", kernel="torch", dtype=name, epilogue="none", m=m, n=n, k=k, seconds=taken,
                     flopsPerSecond=2 * m * n * k / taken)


def attention(torch, dtype, name):
    for model, hidden, heads in OPT:
        for sequences, length in PACKINGS:
            shape = (sequences, heads, length, hidden // heads)
            q, k, v = (torch.randn(shape, device="cuda").to(dtype) for _ in range(3))
            taken = seconds(torch, lambda: torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True))
            flops = 4 * sequences * length * (length + 1) // 2 * hidden
            show(bench="attention", case=model, kernel="torch", dtype=name, sequences=sequences, length=length, seconds=taken,
                 flopsPerSecond=flops / taken)


def main():
    try:
        import torch
    except ImportError as error:
        print(f"no PyTorch: {error}", file=sys.stderr)
        return NO_PEER
    if not torch.cuda.is_available():
        print(f"PyTorch {torch.__version__} has no CUDA device", file=sys.stderr)
        return NO_PEER
    show(bench="peer", torch=torch.__version__, cuda=torch.version.cuda, device=torch.cuda.get_device_name(0))
    for dtype, name in [(torch.bfloat16, "bf16"), (torch.float16, "fp16")]:
        linear(torch, dtype, name)
        attention(torch, dtype, name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
