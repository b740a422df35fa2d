#!/usr/bin/env bash
# Sets up, then runs all tests: npm test [-- vitest arguments].
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh
exec node_modules/.bin/vitest run --reporter=default --reporter=./scripts/closing-line.mjs "$@"
