#!/usr/bin/env bash
# Copies the checkout that is the current folder, unpacks what scripts/gpu/pack.mjs made (this file lies in it) over the
# copy, and runs stages there: bash gpu-pack/run.sh [1 | 2 | 3] [arguments of scripts/gpu/run.mjs]
# ZO2_GPU_DIR: where the copy is, kept for the next call (default /tmp/zo2-gpu). OUT: where results go (default
# gpu-out/ here).
set -euo pipefail
pack=$(cd "$(dirname "$0")" && pwd)
[ -f contract/zo2.h ] || { echo "run.sh: call it in a checkout of zo2" >&2; exit 2; }
work=${ZO2_GPU_DIR:-/tmp/zo2-gpu}

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
exec node "$work/scripts/gpu/run.mjs" "$@"
