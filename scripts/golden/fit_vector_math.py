"""Coefficients of cpu/ops/vector_math.h: least squares at Chebyshev nodes in double precision, rounded to fp32, printed as hex floats.

    python3 scripts/golden/fit_vector_math.py

Needs numpy. Prints the largest error of each polynomial in exact arithmetic; the error of the fp32 sequence is what the tests check.
"""

import math

import numpy


def show(name, coefficients, error):
    print(f"{name}: error {error:.2g}")
    for power, value in enumerate(coefficients):
        print(f"  [{power}] {float(numpy.float32(value)).hex()}")


def exponential():
    """Q of exp(r) = 1 + r + r^2 Q(r) on half a binade around 0; the weight makes the error relative to exp(r)."""
    half = math.log(2) / 2 * 1.001
    r = numpy.cos(numpy.pi * (numpy.arange(2000) + 0.5) / 2000) * half
    q = (numpy.expm1(r) - r) / (r * r)
    # Near 0 the quotient cancels; its series does not.
    q = numpy.where(numpy.abs(r) < 1e-3, 0.5 + r / 6 + r * r / 24, q)
    c = numpy.polynomial.polynomial.polyfit(r, q, 4, w=r * r / numpy.exp(r) + 1e-7)
    fitted = 1 + r + r * r * numpy.polynomial.polynomial.polyval(r, c)
    show("exponential, Q", c, numpy.abs(fitted / numpy.exp(r) - 1).max())


def normal_tail():
    """P of Phi(-s) = t exp(P(t) - s^2 / 2), t = 1 / (1 + 0.35 s), for s up to 14."""
    slope, furthest = 0.35, 14.0
    x = numpy.cos(numpy.pi * (numpy.arange(600) + 0.5) / 600)
    least = 1 / (1 + slope * furthest)
    t = (x + 1) / 2 * (1 - least) + least
    s = (1 / t - 1) / slope
    p = numpy.array([math.log(0.5 * math.erfc(v / math.sqrt(2))) for v in s]) + s * s / 2 - numpy.log(t)
    c = numpy.polynomial.polynomial.polyfit(t, p, 9)
    show("normal_tail, P", c, numpy.abs(numpy.polynomial.polynomial.polyval(t, c) - p).max())


exponential()
normal_tail()
