#!/usr/bin/env bash
# Builds BPF objects and TypeScript; both skip what is up to date.
set -euo pipefail
cd "$(dirname "$0")/.."
for script in packages/*/scripts/build-bpf.sh; do
  if [ -x "$script" ]; then "$script" >&2; fi
done
node_modules/.bin/tsc -b
