#!/usr/bin/env bash
# Stage 1 of 3: builds for the device that is here, runs the C++ tests and the native suite on it. Fails when anything skips. Under 8 minutes;
# one JSON in $OUT (default gpu-out/). ZO2_CUDA=emulated: a dry run on the CPU.
set -euo pipefail
exec node "$(dirname "$0")/build-and-test.mjs" "$@"
