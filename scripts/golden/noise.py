#!/usr/bin/env python3
"""Writes test/fixtures/noise/golden.txt: the noise of zo2 from its definition, in exact integers and double precision.

Nothing here is shared with numerics/: Philox4x32-10 is written from the paper, logarithm and trigonometry are the C library's.
Run: python3 scripts/golden/noise.py > test/fixtures/noise/golden.txt

Columns (integers decimal but for the words):
  words    seed step purpose direction q x0 x1 x2 x3     the four Philox words at position q, hexadecimal
  normal   seed step direction index z                   standard normal noise of an element
  sign     seed step direction index s                   Rademacher noise of an element
"""
import math

MASK = 0xFFFFFFFF


def philox(counter, key):
    c, k = list(counter), list(key)
    for _ in range(10):
        p0, p1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(p1 >> 32) ^ c[1] ^ k[0], p1 & MASK, (p0 >> 32) ^ c[3] ^ k[1], p0 & MASK]
        k = [(k[0] + 0x9E3779B9) & MASK, (k[1] + 0xBB67AE85) & MASK]
    return c


def words(seed, step, purpose, direction, q):
    return philox((q & MASK, q >> 32, step, purpose << 24 | direction), (seed & MASK, seed >> 32))


def normal(seed, step, direction, index):
    x = words(seed, step, 0, direction, index >> 2)
    radius_word, angle_word = (x[0], x[1]) if index & 2 == 0 else (x[2], x[3])
    u = ((radius_word >> 9) * 2 + 1) / 2**24
    signed = angle_word - 2**32 if angle_word >= 2**31 else angle_word
    t = ((signed >> 8) * 2 + 1) / 2**25
    radius = math.sqrt(-2.0 * math.log(u)) * (-1.0 if angle_word & 1 else 1.0)
    return radius * (math.sin(math.pi * t) if index & 1 else math.cos(math.pi * t))


def sign(seed, step, direction, index):
    x = words(seed, step, 1, direction, index >> 7)
    return -1 if x[(index >> 5) & 3] >> (index & 31) & 1 else 1


SEEDS = [0, 1, 42, 2**31, 2**32 - 1, 2**32, 2**63, 2**64 - 1, 0x243F6A8885A308D3]
STEPS = [0, 1, 1999, 2**31, 2**32 - 1]
DIRECTIONS = [0, 1, 63, 2**24 - 1]
INDICES = [0, 1, 2, 3, 4, 5, 31, 32, 63, 127, 128, 129, 511, 512, 515, 768 * 50272 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**32 + 1,
           2**34 - 1, 2**34, 2**34 + 3, 2**39 - 1, 2**39 + 37, 2**40 + 12345, 2**63 + 5, 2**64 - 2, 2**64 - 1]


def main():
    print("# Written by scripts/golden/noise.py; see there for the columns.")
    cases = [(seed, STEPS[n % len(STEPS)], DIRECTIONS[n % len(DIRECTIONS)]) for n, seed in enumerate(SEEDS)]
    cases += [(7, step, direction) for step in STEPS for direction in DIRECTIONS]
    for seed, step, direction in cases:
        for purpose in range(3):
            for q in (0, 1, 2**30, 2**32 - 1, 2**32, 2**62 - 1):
                print("words", seed, step, purpose, direction, q, *(f"{x:08x}" for x in words(seed, step, purpose, direction, q)))
        for index in INDICES:
            print("normal", seed, step, direction, index, f"{normal(seed, step, direction, index):.17g}")
            print("sign", seed, step, direction, index, sign(seed, step, direction, index))


if __name__ == "__main__":
    main()
