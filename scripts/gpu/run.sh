#!/usr/bin/env bash
# Copies the checkout that is the current folder, unpacks what scripts/gpu/pack.mjs made (this file lies in it) over the
# copy, and runs one stage: bash gpu-pack/run.sh 1 | 2 | 3 [arguments of the stage]
# ZO2_GPU_DIR: where the copy is, kept for the next stage (default /tmp/zo2-gpu). OUT: where results go (default
# gpu-out/ here).
set -euo pipefail
pack=$(cd "$(dirname "$0")" && pwd)
[ -f contract/zo2.h ] || { echo "run.sh: call it in a checkout of zo2" >&2; exit 2; }
work=${ZO2_GPU_DIR:-/tmp/zo2-gpu}
stage=${1:?"which stage: 1 (build and test), 2 (sanitizer) or 3 (benches)"}
shift

field() { sed -n "s/^ *\"$1\": \"\{0,1\}\([^\",]*\)\"\{0,1\},\{0,1\}$/\1/p" "$pack/pack.json"; }

if [ "$(cat "$work/.pack" 2>/dev/null || true)" != "$(field id)" ]; then
  rm -rf "$work"
  mkdir -p "$work/bin"
  tar --exclude=./node_modules --exclude='./build*' --exclude=./dist --exclude=./.git --exclude="./${pack##*/}" -c . |
    tar -x -C "$work"
  tar -xJf "$pack/tree.tar.xz" -C "$work"
  xz -dc "$pack/node.xz" > "$work/bin/node"
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
