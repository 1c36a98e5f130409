#!/usr/bin/env bash
# Stage 2 of 3: compute-sanitizer's memcheck and racecheck over the C++ tests that sanitize.mjs names. Under 8 minutes; one JSON in $OUT
# (default gpu-out/). ZO2_CUDA=emulated: the same tests without the tool.
set -euo pipefail
exec node "$(dirname "$0")/sanitize.mjs" "$@"
