#!/usr/bin/env bash
# Builds BPF objects and TypeScript; both skip what is up to date.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/build-bpf.sh >&2
node_modules/.bin/tsc -b
