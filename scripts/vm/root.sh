#!/usr/bin/env bash
# usage: scripts/vm/root.sh FILE      writes a root file system (cpio, for an initrd): this machine's Node and tools, this checkout as it is built.
# Nothing is installed inside: the machine in the machine runs the very files that were tested outside.
set -euo pipefail
cd "$(dirname "$0")/../.."
out="$1"
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

mkdir -p "$root"/{bin,sbin,usr/bin,usr/sbin,proc,sys,dev,tmp,run,root,opt,lib,lib64}
# Libraries lie below /lib and /usr/lib at once, as where a host has merged them.
ln -s ../lib "$root/usr/lib"
copy() { mkdir -p "$root$(dirname "$1")" && cp -L "$1" "$root$1"; }
copy_program() {
  local path
  path=$(PATH="$PATH:/usr/sbin:/sbin" command -v "$1") || { printf 'vm: %s is not installed\n' "$1" >&2; exit 2; }
  cp -L "$path" "$root/usr/bin/$1"
  copy_libraries "$path"
}
# A static program has none.
copy_libraries() { for library in $(ldd "$1" 2>/dev/null | grep -o '/[^ ]*' || true); do [ -e "$root$library" ] || copy "$library"; done; }

cp -L "$(command -v busybox)" "$root/bin/busybox"
copy_libraries "$(command -v busybox)"
for program in node ip nft nsenter; do copy_program "$program"; done
libbpf=$(ls /usr/lib/*/libbpf.so.1 /lib/*/libbpf.so.1 2>/dev/null | head -1)
copy "$libbpf"
copy_libraries "$libbpf"

checkout="$root/opt/restitch"
mkdir -p "$checkout"
cp package.json "$checkout/"
for package in packages/*; do
  mkdir -p "$checkout/$package"
  for part in package.json bin dist build; do [ ! -e "$package/$part" ] || cp -r "$package/$part" "$checkout/$package/"; done
done
# What runs needs, less the types and the models that only training wants.
npm ls --all --omit=dev --parseable 2>/dev/null |
  sed -n "s|^$PWD/\(node_modules/.*\)|\1|p" | grep -vE '/(@types/node|undici-types|onnxruntime-[a-z]*|@restitch/[a-z-]*)$' |
  while read -r module; do mkdir -p "$checkout/$(dirname "$module")" && cp -r "$module" "$checkout/$module"; done
cp -a node_modules/@restitch "$checkout/node_modules/"
for test in $(find "$checkout/packages" -name '*.test.js' -o -name '*.map' -o -name '*.d.ts' -o -name '*.tsbuildinfo'); do rm "$test"; done

cp scripts/vm/init.sh "$root/init"
chmod +x "$root/init"
(cd "$root" && find . | cpio -o -H newc --quiet) >"$out"
