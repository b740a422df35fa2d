#!/usr/bin/env bash
# usage: scripts/vm/kernel.sh 6.1      prints a directory with the newest Debian kernel of that line: vmlinuz, modules.cpio, release.
# From a package by apt, whatever mirror this machine uses; kept in .cache/vm and fetched again when apt knows a newer one.
# Wants busybox and cpio, which scripts/vm/run.sh installs.
set -euo pipefail
cd "$(dirname "$0")/../.."
line="$1"
cache="$PWD/.cache/vm"
fail() { printf 'vm: %s\n' "$*" >&2; exit 2; }

[ "$(uname -m)" = x86_64 ] || fail "virtual machines are booted on x86-64 only; this is $(uname -m)"
command -v apt-get >/dev/null || fail "kernels are fetched by apt-get, which is not here: use a Debian machine"

# The cloud flavour: the same source, fewer drivers, half the size.
newest() { apt-cache pkgnames "linux-image-$line." | grep -E "^linux-image-${line/./\\.}\.[0-9][0-9a-z.+~-]*-cloud-amd64$" | sort -V | tail -1; }
package=$(newest || true)
if [ -z "$package" ]; then
  apt-get update -qq >&2 || fail "apt-get update failed: no list of packages to find a kernel $line in"
  package=$(newest || true)
fi
[ -n "$package" ] || fail "no package of a $line kernel in apt's lists (linux-image-$line.*-cloud-amd64)"

mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9
home="$cache/$package"
if [ ! -e "$home/complete" ]; then
  rm -rf "$home"
  mkdir -p "$home/unpacked"
  printf 'vm: fetching %s\n' "$package" >&2
  # apt's lists may be older than the mirror: the second try has new ones.
  download() { apt-get download -qq -o APT::Sandbox::User=root "$package" >&2; }
  (cd "$home" && { download || { apt-get update -qq >&2 && download; }; }) ||
    fail "cannot fetch $package with apt-get download"
  dpkg -x "$home"/*.deb "$home/unpacked"
  mv "$home"/unpacked/boot/vmlinuz-* "$home/vmlinuz"
  modules=$(echo "$home"/unpacked/lib/modules/*)
  basename "$modules" >"$home/release"
  # What a network needs; disks, graphics and the rest stay out of memory.
  for directory in "$modules"/kernel/* "$modules"/kernel/drivers/*; do
    case "${directory#"$modules/kernel/"}" in drivers | net | lib | crypto | arch | drivers/net) ;; *) rm -rf "$directory" ;; esac
  done
  find "$modules" -name '*.ko.xz' -exec busybox unxz {} +
  busybox depmod -b "$home/unpacked" "$(cat "$home/release")"
  (cd "$home/unpacked" && find lib | cpio -o -H newc --quiet) >"$home/modules.cpio"
  rm -rf "$home/unpacked" "$home"/*.deb
  touch "$home/complete"
  find "$cache" -maxdepth 1 -name "linux-image-$line.*" ! -name "$package" -exec rm -rf {} +
fi
printf '%s\n' "$home"
