#!/usr/bin/env bash
# What CI runs before the tests: types, lint, format, rooms, and whether the layouts of BPF maps are those of the C sources.
set -euo pipefail
cd "$(dirname "$0")/.."
node_modules/.bin/tsc -b
node_modules/.bin/oxlint packages test examples bench
node_modules/.bin/biome format packages test examples bench
node scripts/check-rooms.mjs
node scripts/generate-layouts.mjs --check
