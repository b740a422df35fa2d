#!/usr/bin/env bash
# Sets up, then tries kernels in virtual machines: npm run vm -- 6.1 6.12 [--json]; see scripts/vm/main.mjs.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh
exec node scripts/vm/main.mjs "$@"
