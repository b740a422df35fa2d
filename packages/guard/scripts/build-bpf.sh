#!/usr/bin/env bash
# usage: build-bpf.sh   compiles bpf/*.bpf.c into build/*.bpf.o; skips what is newer than all sources.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p build
newest_source=$(ls -t bpf/* scripts/build-bpf.sh | head -1)
for source in bpf/*.bpf.c; do
  object="build/$(basename "${source%.c}").o"
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
