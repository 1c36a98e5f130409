"""What tuned libraries take for the products and the attention that linear_bench and attention_bench have measured: cuBLAS through PyTorch with
the same epilogue, flash attention and cuDNN by name, timed the same way (random operands, CUDA events around each run, the median after warm-up).

    python3 bench/gpu/torch_peers.py ROWS       ROWS: the benches' lines of JSON; those of bench linear and attention get a peer

One JSON object on a line of standard output for each: the row's own fields that name the case, `peer`, `how`, `seconds`; or `absent`, why there is
none. Exit status 3, and the reason on standard error, where there is no PyTorch with a CUDA device.
"""

import json
import statistics
import sys

NO_PEER = 3
REPEATS = 20
WARMUP = 3
NAMES = ["bench", "case", "dtype", "epilogue", "m", "n", "k", "sequences", "length"]


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


def show(row, peer, **found):
    print(json.dumps({**{name: row[name] for name in NAMES if name in row}, "peer": peer, **found}), flush=True)


def timed(torch, row, peer, how, work):
    try:
        show(row, peer, how=how, seconds=seconds(torch, work))
    except (RuntimeError, NotImplementedError) as error:
        show(row, peer, how=how, absent=str(error).split("\n")[0])


def linear(torch, row, dtype):
    m, n, k = (int(row[name]) for name in "mnk")
    x = torch.randn(m, k, device="cuda").to(dtype)
    weight = (torch.randn(n, k, device="cuda") * 0.02).to(dtype)
    bias = torch.randn(n, device="cuda").to(dtype)
    product = torch.nn.functional.linear
    if row["epilogue"] == "none":
        return timed(torch, row, "cuBLAS", "linear", lambda: product(x, weight))
    if row["epilogue"] == "bias":
        return timed(torch, row, "cuBLAS", "linear with its bias", lambda: product(x, weight, bias))
    if row["epilogue"] == "bias, relu":
        fused = lambda: torch._addmm_activation(bias, x, weight.t(), use_gelu=False)
        return timed(torch, row, "cuBLAS", "addmm with relu in its epilogue", fused)
    residual = torch.randn(m, n, device="cuda")
    return timed(torch, row, "cuBLAS", "linear, then an addition in fp32", lambda: residual.add_(product(x, weight, bias)))


def attention(torch, row, dtype):
    sequences, length, heads, size = (int(row[name]) for name in ["sequences", "length", "heads", "headSize"])
    q, k, v = (torch.randn((sequences, heads, length, size), device="cuda").to(dtype) for _ in range(3))
    from torch.nn.attention import SDPBackend, sdpa_kernel

    for peer, backend in [("flash", SDPBackend.FLASH_ATTENTION), ("cuDNN", SDPBackend.CUDNN_ATTENTION)]:
        with sdpa_kernel(backend):
            work = lambda: torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            timed(torch, row, peer, f"scaled_dot_product_attention, {backend.name}", work)


def main():
    try:
        import torch
    except ImportError as error:
        print(f"no PyTorch: {error}", file=sys.stderr)
        return NO_PEER
    if not torch.cuda.is_available():
        print(f"PyTorch {torch.__version__} has no CUDA device", file=sys.stderr)
        return NO_PEER
    version = {"torch": torch.__version__, "cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}
    print(json.dumps({"bench": "peer", **version, "device": torch.cuda.get_device_name(0)}), flush=True)
    dtypes = {"fp16": torch.float16, "bf16": torch.bfloat16}
    with open(sys.argv[1], encoding="utf-8") as file:
        rows = [json.loads(line) for line in file if line.strip()]
    for row in rows:
        if row["bench"] == "linear" and row["kernel"] == "chosen":
            linear(torch, row, dtypes[row["dtype"]])
        elif row["bench"] == "attention":
            attention(torch, row, dtypes[row["dtype"]])
    return 0


if __name__ == "__main__":
    sys.exit(main())
