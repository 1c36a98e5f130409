#!/usr/bin/env python3
"""Writes test/fixtures/trajectories/methods-A.json: 20 steps of every method on model A, in double precision.

Nothing here is shared with src/, cpu/ or cuda/: the forward pass of OPT is written from its paper and config.json, the methods from
theirs (work of reference: docs/methods.md), noise from its definition in noise.py beside this file, which checks what is vectorised.
Weights are never rounded, so that zo2's runs differ by what fp32 rounds. Needs NumPy.
Run: python3 scripts/golden/methods.py > test/fixtures/trajectories/methods-A.json
"""
import json
import pathlib
import struct

import noise
import numpy as np

FIXTURES = pathlib.Path(__file__).resolve().parents[2] / "test/fixtures/trajectories"
STEPS = 20
SEED = 0x5EED0000BEEF
LAYERS, HEADS = 3, 4


def read_safetensors(path):
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size])
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        assert entry["dtype"] == "F32"
        begin, end = entry["data_offsets"]
        values = np.frombuffer(data[8 + size + begin : 8 + size + end], dtype="<f4")
        tensors[name] = values.astype(np.float64).reshape(entry["shape"])
    return tensors


def named_parameters():
    """In the order of transformers' OPTForCausalLM; the head is tied."""
    base = "model.decoder."
    names = [base + name for name in ("embed_tokens.weight", "embed_positions.weight", "final_layer_norm.weight", "final_layer_norm.bias")]
    modules = ["self_attn.k_proj", "self_attn.v_proj", "self_attn.q_proj", "self_attn.out_proj", "self_attn_layer_norm", "fc1", "fc2", "final_layer_norm"]
    for layer in range(LAYERS):
        names += [f"{base}layers.{layer}.{module}.{kind}" for module in modules for kind in ("weight", "bias")]
    return names


def philox(q, key, step, purpose, direction):
    """Ten rounds of Philox4x32 for many positions q at once."""
    mask = np.uint64(0xFFFFFFFF)
    q = np.asarray(q, np.uint64)
    c = [q & mask, q >> np.uint64(32), np.full_like(q, step), np.full_like(q, purpose << 24 | direction)]
    k = [key & 0xFFFFFFFF, key >> 32]
    for _ in range(10):
        p0, p1 = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
        c = [(p1 >> np.uint64(32)) ^ c[1] ^ np.uint64(k[0]), p1 & mask, (p0 >> np.uint64(32)) ^ c[3] ^ np.uint64(k[1]), p0 & mask]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return np.stack(c, axis=-1)


def gaussian(step, direction, begin, count, purpose=0, factor=0):
    assert begin % 4 == 0
    x = philox(np.arange(begin // 4, (begin + count + 3) // 4) + (factor << 56), SEED, step, purpose, direction)
    z = np.empty((len(x), 4))
    for half in (0, 1):
        radius_word, angle_word = x[:, 2 * half], x[:, 2 * half + 1]
        u = ((radius_word >> np.uint64(9)).astype(np.float64) * 2 + 1) / 2**24
        signed = angle_word.astype(np.int64)
        signed = np.where(signed >= 2**31, signed - 2**32, signed)
        t = ((signed >> 8).astype(np.float64) * 2 + 1) / 2**25
        radius = np.sqrt(-2 * np.log(u)) * np.where(angle_word & np.uint64(1), -1.0, 1.0)
        z[:, 2 * half], z[:, 2 * half + 1] = radius * np.cos(np.pi * t), radius * np.sin(np.pi * t)
    return z.reshape(-1)[:count]


def rademacher(step, direction, begin, count):
    assert begin % 128 == 0
    x = philox(np.arange(begin // 128, (begin + count + 127) // 128), SEED, step, 1, direction)
    bits = (x[:, :, None] >> np.arange(32, dtype=np.uint64)) & np.uint64(1)
    return 1.0 - 2.0 * bits.reshape(-1)[:count].astype(np.float64)


def low_rank(rank, interval, step, direction, begin, shape):
    """LOZO's: u v^T with u of each step and v of each interval; a row's u has the index of its first element, v those of the first row."""
    rows, columns = shape
    z = np.zeros(shape)
    for k in range(rank):
        u = gaussian(step, direction, begin, rows * columns, 4, k)[::columns]
        v = gaussian(step // interval * interval, direction, begin, columns, 5, k)
        z += np.outer(u, v)
    return z


class Noise:
    """Places every parameter at its canonical index: bases are rounded up to 128 elements."""

    def __init__(self, weights):
        self.places, base = {}, 0
        for name, value in weights.items():
            self.places[name] = (base, value.shape)
            base += -(-value.size // 128) * 128

    def draw(self, kind, step, direction):
        def of(base, shape):
            if isinstance(kind, dict):
                if len(shape) == 2:
                    return low_rank(kind["rank"], kind["interval"], step, direction, base, shape)
                return gaussian(step, direction, base, shape[0])
            return {"gaussian": gaussian, "rademacher": rademacher}[kind](step, direction, base, int(np.prod(shape))).reshape(shape)

        return {name: of(base, shape) for name, (base, shape) in self.places.items()}


def check_noise():
    for begin in (0, 128 * 77, 2**34):
        for i, z in enumerate(gaussian(3, 5, begin, 9)):
            assert abs(z - noise.normal(SEED, 3, 5, begin + i)) < 1e-12
        for i, s in enumerate(rademacher(3, 5, begin, 200)):
            assert s == noise.sign(SEED, 3, 5, begin + i)


def layer_norm(x, w, name):
    mean = x.mean(-1, keepdims=True)
    return (x - mean) / np.sqrt(((x - mean) ** 2).mean(-1, keepdims=True) + 1e-5) * w[name + ".weight"] + w[name + ".bias"]


def linear(x, w, name):
    return x @ w[name + ".weight"].T + w[name + ".bias"]


def logits_of(w, ids):
    base, rows = "model.decoder.", len(ids)
    x = w[base + "embed_tokens.weight"][ids] + w[base + "embed_positions.weight"][np.arange(rows) + 2]
    width = x.shape[1] // HEADS
    split = lambda y: y.reshape(rows, HEADS, width).transpose(1, 0, 2)
    for layer in range(LAYERS):
        at = f"{base}layers.{layer}."
        h = layer_norm(x, w, at + "self_attn_layer_norm")
        q, k, v = (split(linear(h, w, f"{at}self_attn.{name}_proj")) for name in "qkv")
        scores = q @ k.transpose(0, 2, 1) / np.sqrt(width)
        scores = np.where(np.tril(np.ones((rows, rows), bool)), scores, -np.inf)
        p = np.exp(scores - scores.max(-1, keepdims=True))
        h = ((p / p.sum(-1, keepdims=True)) @ v).transpose(1, 0, 2).reshape(rows, -1)
        x = x + linear(h, w, at + "self_attn.out_proj")
        h = np.maximum(linear(layer_norm(x, w, at + "final_layer_norm"), w, at + "fc1"), 0)
        x = x + linear(h, w, at + "fc2")
    return layer_norm(x, w, base + "final_layer_norm") @ w[base + "embed_tokens.weight"].T


def loss_of(w, batch):
    losses = []
    for ids, mask, labels in zip(batch["input_ids"], batch["attention_mask"], batch["labels"]):
        real = [t for t, m in enumerate(mask) if m]
        logits = logits_of(w, np.array([ids[t] for t in real]))
        for row, t in enumerate(real[1:]):
            if labels[t] != -100:
                most = logits[row].max()
                losses.append(most + np.log(np.exp(logits[row] - most).sum()) - logits[row][labels[t]])
    return sum(losses) / len(losses)


def ranks_of(losses):
    order = sorted(losses)
    # Two that fp32 might change round would be no test.
    assert min(b - a for a, b in zip(order, order[1:])) > 4e-6, order
    return np.array([order.index(loss) / (len(losses) - 1) - 0.5 for loss in losses])


def fitness_of(kind, losses):
    losses = np.array(losses)
    return ranks_of(list(losses)) if kind == "rank" else (losses - losses.mean()) / (losses.std() + 1e-8)


def coefficients_of(method, losses):
    n, eps = method["directions"], method["eps"]
    if method["name"] in ("mezo-sgd", "lozo"):
        return [(losses[2 * d] - losses[2 * d + 1]) / (2 * eps) for d in range(n)]
    if method["name"] == "fzoo":
        s = np.std(losses[1:], ddof=1)
        return [(loss - losses[0]) / eps / s for loss in losses[1:]]
    y = fitness_of(method["fitness"], losses)
    return [(y[2 * d] - y[2 * d + 1]) / 2 for d in range(n)] if method["antithetic"] else list(y)


def probes_of(method):
    directions = range(method["directions"])
    if method["name"] in ("mezo-sgd", "lozo") or method.get("antithetic"):
        return [(d, sign) for d in directions for sign in (1, -1)]
    return ([(None, 0)] if method["name"] == "fzoo" else []) + [(d, 1) for d in directions]


def run(method, weights, batches, places):
    w = {name: value.copy() for name, value in weights.items()}
    steps = []
    for step in range(STEPS):
        kind = method if method["name"] == "lozo" else method["noise"]
        z = [places.draw(kind, step, d) for d in range(method["directions"])]
        losses = []
        for d, sign in probes_of(method):
            moved = w if d is None else {name: value + sign * method["eps"] * z[d][name] for name, value in w.items()}
            losses.append(float(loss_of(moved, batches[step])))
        coefficients = [float(c) for c in coefficients_of(method, losses)]
        rate = method["learningRate"]
        for name, value in w.items():
            update = sum(c * z[d][name] for d, c in enumerate(coefficients)) / method["directions"]
            w[name] = value - rate * update - (rate * method["weightDecay"] * value if value.ndim > 1 else 0)
        steps.append({"losses": losses, "coefficients": coefficients})
    summary = lambda v: {"sum": float(v.sum()), "first4": [float(x) for x in v[:4]], "last4": [float(x) for x in v[-4:]]}
    return {"method": method, "steps": steps, "params": {name: summary(value.reshape(-1)) for name, value in w.items()}}


CASES = [
    {"name": "mezo-sgd", "directions": 4, "learningRate": 2e-4, "noise": "gaussian", "weightDecay": 0.1},
    {"name": "fzoo", "directions": 4, "learningRate": 1e-5, "noise": "rademacher", "weightDecay": 0},
    {"name": "fzoo", "directions": 8, "learningRate": 2e-5, "noise": "rademacher", "weightDecay": 0.1},
    {"name": "es", "directions": 6, "learningRate": 1e-3, "noise": "gaussian", "weightDecay": 0, "fitness": "zscore", "antithetic": False},
    {"name": "es", "directions": 6, "learningRate": 2e-3, "noise": "gaussian", "weightDecay": 0, "fitness": "rank", "antithetic": False},
    {"name": "es", "directions": 3, "learningRate": 1e-3, "noise": "rademacher", "weightDecay": 0.1, "fitness": "zscore", "antithetic": True},
    {"name": "es", "directions": 3, "learningRate": 2e-3, "noise": "gaussian", "weightDecay": 0, "fitness": "rank", "antithetic": True},
    {"name": "lozo", "directions": 1, "learningRate": 2e-4, "rank": 2, "interval": 7, "weightDecay": 0},
    {"name": "lozo", "directions": 3, "learningRate": 3e-4, "rank": 1, "interval": 50, "weightDecay": 0.1},
]


def main():
    check_noise()
    stored = read_safetensors(FIXTURES / "models/A/model.safetensors")
    weights = {name: stored[name] for name in named_parameters()}
    batches = json.loads((FIXTURES / "inputs-A.json").read_text())["train"]
    places = Noise(weights)
    runs = [run({**case, "eps": 1e-2}, weights, batches, places) for case in CASES]
    # As many digits as a double has are of no use beside fp32.
    rounded = json.loads(json.dumps({"made": "scripts/golden/methods.py", "seed": str(SEED), "runs": runs}), parse_float=lambda t: float(f"{float(t):.12g}"))
    print(json.dumps(rounded))


if __name__ == "__main__":
    main()
