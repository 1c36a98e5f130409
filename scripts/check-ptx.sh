#!/bin/sh
# Compiles numerics/ as device code and fails when the PTX holds a floating point operation that does not name its rounding, flushes
# subnormals, or approximates: such an operation may be contracted, and then CPU and GPU no longer agree bit for bit.
# Needs nvcc (no GPU). Usage: scripts/check-ptx.sh [architecture], default sm_80.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
arch=${1:-sm_80}
nvcc=${NVCC:-nvcc}
if ! command -v "$nvcc" >/dev/null 2>&1; then
  echo "check-ptx: skipped, no nvcc on PATH"
  exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

check() { # file, flags...
  source=$1
  shift
  "$nvcc" -std=c++17 -arch="$arch" -Werror all-warnings -I"$root" "$@" --ptx "$source" -o "$work/out.ptx"
  operations=$(grep -cE '\b(add|sub|mul|fma|div|sqrt)\.rn\.f(32|64)' "$work/out.ptx" || true)
  if grep -nE '\b(add|sub|mul|mad|fma|div|sqrt|rcp|rsqrt|sin|cos|lg2|ex2)(\.[a-z0-9]+)*\.f(32|64)' "$work/out.ptx" |
    grep -vE '\b(add|sub|mul|fma|div|sqrt)\.rn\.f(32|64)' >"$work/bad"; then
    echo "check-ptx: $source: operations without an explicit rounding to nearest, or flushed, or approximate:" >&2
    cat "$work/bad" >&2
    exit 1
  fi
  if [ "$operations" -lt 30 ]; then
    echo "check-ptx: $source: only $operations floating point operations found, expected at least 30: is the probe still complete?" >&2
    exit 1
  fi
  echo "check-ptx: $source ($arch $*): $operations operations, all rounded to nearest"
}

check "$root/test/native/cpp/numerics_probe.cu" -fmad=false
# Every operation is an intrinsic, so contraction has nothing to take hold of even where it is on.
check "$root/test/native/cpp/numerics_probe.cu" -fmad=true
