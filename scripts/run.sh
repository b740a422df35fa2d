#!/usr/bin/env bash
# Sets up quietly, then runs one restitch command: `npm run demo` and `npm run bench -- NAME`.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ "${1:-}" = bench ]; then scripts/setup.sh bench; else scripts/setup.sh; fi
exec node packages/cli/bin/restitch.js "$@"
