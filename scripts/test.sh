#!/usr/bin/env bash
# Sets up, then runs all tests: npm test [-- vitest arguments].
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh
# Node binaries that the endpoint's tests also run on (400 MB; apart, so that their `node` shadows nobody's).
if [ "$(uname -m)" = x86_64 ] && ! cmp -s test/node-versions/package-lock.json test/node-versions/node_modules/.restitch-lock; then
  (cd test/node-versions && npm ci --no-bin-links --ignore-scripts --no-fund --no-audit --loglevel=error >&2)
  cp test/node-versions/package-lock.json test/node-versions/node_modules/.restitch-lock
fi
exec node_modules/.bin/vitest run --reporter=default --reporter=./scripts/closing-line.mjs "$@"
