#!/usr/bin/env bash
# usage: scripts/build-bpf.sh   compiles packages/*/bpf/*.bpf.c into the package's build/*.bpf.o; skips what is newer than all its sources.
set -euo pipefail
cd "$(dirname "$0")/.."
for sources in packages/*/bpf; do
  build="${sources%/bpf}/build"
  mkdir -p "$build"
  newest_source=$(ls -t "$sources"/* scripts/build-bpf.sh | head -1)
  for source in "$sources"/*.bpf.c; do
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
