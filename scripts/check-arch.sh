#!/usr/bin/env bash
# Compiles every kernel for an architecture that the package is not built for, down to its machine code, with warnings as errors:
#   bash scripts/check-arch.sh sm_120
set -euo pipefail
cd "$(dirname "$0")/.."
arch=${1:?usage: check-arch.sh ARCH}
nvcc=${CUDACXX:-nvcc}
command -v "$nvcc" >/dev/null || { echo "arch $arch: skipped, there is no nvcc"; exit 0; }
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
find cuda -name '*.cu' | sort |
  xargs -P 2 -I{} sh -c '"$0" -std=c++17 -arch="$1" -Werror=all-warnings -I. -cubin -o "$2/$(basename "$3").cubin" "$3" || { echo "failed: $3"; exit 255; }' "$nvcc" "$arch" "$out" {}
echo "arch $arch: $(ls "$out" | wc -l) kernel files compile"
