#!/usr/bin/env bash
# What CI runs before the tests: types (of sources, of tests, as shipped), lint, format, rooms, whether the layouts of
# BPF maps are those of the C sources, what nobody uses.
set -euo pipefail
cd "$(dirname "$0")/.."
node_modules/.bin/tsc -b
node_modules/.bin/tsc -p test
node_modules/.bin/tsc -p examples
node_modules/.bin/tsc -p test/shipped
node_modules/.bin/oxlint packages test examples bench
node_modules/.bin/biome format packages test examples bench
node scripts/check-rooms.mjs
node scripts/generate-layouts.mjs --check
node_modules/.bin/knip --no-progress --treat-config-hints-as-errors --treat-tag-hints-as-errors
