#!/usr/bin/env bash
# usage: scripts/build-bpf.sh   compiles bpf/steering and bpf/guard into the build/*.bpf.o of the package that loads them;
# skips what is newer than all its sources.
set -euo pipefail
cd "$(dirname "$0")/.."
declare -A packages=([steering]=dataplane [guard]=guard)
for programs in "${!packages[@]}"; do
  sources="bpf/$programs"
  build="packages/${packages[$programs]}/build"
  mkdir -p "$build"
  newest_source=$(ls -t "$sources"/* bpf/common/* scripts/build-bpf.sh | head -1)
  for source in "$sources"/*.bpf.c; do
    # Compiled by scripts/generate-layouts.mjs, for its types.
    [ "$source" != "$sources/layouts.bpf.c" ] || continue
    object="$build/$(basename "${source%.c}").o"
    if [ -e "$object" ] && [ ! "$newest_source" -nt "$object" ]; then continue; fi
    if ! command -v clang >/dev/null; then
      echo "build-bpf: clang is not installed; on Debian: apt-get install clang libbpf-dev linux-libc-dev" >&2
      exit 2
    fi
    clang -O2 -g -Wall -Werror -Wno-unused-function -target bpf -mcpu=v3 \
      -I"/usr/include/$(uname -m)-linux-gnu" -c "$source" -o "$object.new"
    mv "$object.new" "$object"
    echo "build-bpf: $object"
  done
done
