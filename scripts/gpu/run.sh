#!/usr/bin/env bash
# Unpacks the folder that scripts/gpu/pack.mjs made (this file lies in it) and runs one stage: bash run.sh 1 | 2 | 3 [arguments of the stage]
# ZO2_GPU_DIR: where to unpack, kept for the next stage (default /tmp/zo2-gpu). OUT: where results go (default gpu-out/ here).
set -euo pipefail
pack=$(cd "$(dirname "$0")" && pwd)
work=${ZO2_GPU_DIR:-/tmp/zo2-gpu}
stage=${1:?"which stage: 1 (build and test), 2 (sanitizer) or 3 (benches)"}
shift

field() { sed -n "s/^ *\"$1\": \"\{0,1\}\([^\",]*\)\"\{0,1\},\{0,1\}$/\1/p" "$pack/pack.json"; }

if [ "$(cat "$work/.pack" 2>/dev/null || true)" != "$(field id)" ]; then
  rm -rf "$work"
  mkdir -p "$work/bin"
  tar -xzf "$pack/tree.tar.gz" -C "$work"
  gzip -dc "$pack/node.gz" > "$work/bin/node"
  chmod +x "$work/bin/node"
  field id > "$work/.pack"
fi

export OUT=${OUT:-$PWD/gpu-out}
export PATH="$work/bin:$PATH"
export GIT_COMMIT=${GIT_COMMIT:-$(field commit)}
case $stage in
  1) exec bash "$work/scripts/gpu/1-build-and-test.sh" "$@" ;;
  2) exec bash "$work/scripts/gpu/2-sanitize.sh" "$@" ;;
  3) exec bash "$work/scripts/gpu/3-bench.sh" "$@" ;;
  *) echo "run.sh: no stage $stage" >&2; exit 2 ;;
esac
