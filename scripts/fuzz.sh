#!/usr/bin/env bash
# Long run of the decoders' fuzzing: scripts/fuzz.sh [inputs] [first seed]. CI runs 20,000 inputs as part of the tests.
set -euo pipefail
cd "$(dirname "$0")/.."
RESTITCH_FUZZ_RUNS="${1:-1000000}"
export RESTITCH_FUZZ_RUNS
if [ -n "${2:-}" ]; then export RESTITCH_FUZZ_SEED="$2"; fi
exec nice node_modules/.bin/vitest run test/fuzz --reporter=default
