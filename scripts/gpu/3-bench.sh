#!/usr/bin/env bash
# Stage 3 of 3: the benches of bench/gpu with their predictions and PyTorch beside them. Under 8 minutes; one JSON in $OUT (default gpu-out/).
# ZO2_CUDA=emulated: tiny sizes on the CPU, to see that the programs run; no figure of that means anything.
set -euo pipefail
exec node "$(dirname "$0")/bench.mjs" "$@"
