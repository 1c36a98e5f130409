#!/usr/bin/env python3
"""Fits the polynomials of numerics/gaussian.h and prints them as hex floats.

Each fit is a weighted minimax fit by Lawson's iteration (least squares on a Chebyshev grid, weights multiplied by the
error until the error levels out). Coefficients are rounded to fp32 one at a time, lowest power first, and the rest are
fitted again, so that the later ones absorb the rounding of the earlier ones. Run: python3 scripts/golden/fit.py
"""
import numpy as np

GRID = 4000


def lawson(x, target, weight, powers):
    """Coefficients c minimising max |weight (sum_k c_k x^powers_k - target)|."""
    scale = np.max(np.abs(x))
    basis = np.stack([(x / scale) ** p for p in powers], axis=1)
    lawson_weight = np.ones_like(x)
    best, best_error = None, np.inf
    for _ in range(400):
        root = np.sqrt(lawson_weight) * weight
        c, *_ = np.linalg.lstsq(basis * root[:, None], target * root, rcond=None)
        error = np.abs(weight * (basis @ c - target))
        if error.max() < best_error:
            best, best_error = c, error.max()
        lawson_weight = lawson_weight * (error + 1e-3 * error.max())
        lawson_weight /= lawson_weight.max()
    return best / np.array([scale**p for p in powers]), best_error


def fit(name, lo, hi, function, weight, degree):
    """Prints the fp32 coefficients, highest power first, of a degree-`degree` fit on [lo, hi]."""
    k = np.arange(GRID)
    x = 0.5 * (lo + hi) + 0.5 * (hi - lo) * np.cos(np.pi * (k + 0.5) / GRID)
    target, w = function(x), weight(x)
    fixed = []
    for power in range(degree + 1):
        rest = target - sum((c * x**p for p, c in enumerate(fixed)), np.zeros_like(x))
        c, _ = lawson(x, rest, w, list(range(power, degree + 1)))
        fixed.append(float(np.float32(c[0])))
    value = sum(c * x**p for p, c in enumerate(fixed))
    print(f"{name}: weighted error {np.max(np.abs(w * (value - target))):.2e}")
    for p in range(degree, -1, -1):
        print(f"  x^{p}  {float.hex(fixed[p])}f")


def neg_two_log_core(f):
    """(-2 ln(1 + f) + 2 f) / f^2; a series near 0, where the quotient cancels."""
    series = sum((-2.0) * (-1.0) ** (k + 1) / k * f ** (k - 2) for k in range(2, 30))
    with np.errstate(divide="ignore", invalid="ignore"):
        quotient = (-2.0 * np.log1p(f) + 2.0 * f) / (f * f)
    return np.where(np.abs(f) < 0.05, series, quotient)


def sine_core(q):
    """sin(pi t) / t - 2 with q = t^2."""
    a = np.pi**2 * q
    return np.pi * sum((-1.0) ** k * a**k / np.prod(np.arange(1.0, 2 * k + 2)) for k in range(0, 14)) - 2.0


def cosine_core(q):
    """(cos(pi t) - 1) / t^2 with q = t^2."""
    a = np.pi**2 * q
    return np.pi**2 * sum((-1.0) ** k * a ** (k - 1) / np.prod(np.arange(1.0, 2 * k + 1)) for k in range(1, 14))


if __name__ == "__main__":
    # Weights turn the error of the core into the error of what it is multiplied into: relative for the logarithm, because
    # the radius is its square root; absolute for sine and cosine.
    fit("log", np.sqrt(0.5) - 1, np.sqrt(2.0) - 1, neg_two_log_core,
        lambda f: np.where(f == 0, 0, f * f / np.maximum(np.abs(2 * np.log1p(f)), 1e-9)), 8)
    fit("sine", 0.0, 0.25, sine_core, lambda q: np.sqrt(q), 4)
    fit("cosine", 0.0, 0.25, cosine_core, lambda q: q, 4)
    print("-2 ln 2", float.hex(float(np.float32(-2 * np.log(2.0)))))
