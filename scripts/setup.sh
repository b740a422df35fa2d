#!/usr/bin/env bash
# Installs what is missing (Debian packages, npm packages) and builds. A second run skips what is done.
# usage: scripts/setup.sh [bench]      bench: also the peers that benchmarks compare with
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { printf 'restitch: %s\n' "$*" >&2; exit 2; }

[ "$(uname -s)" = Linux ] || fail "this is $(uname -s); restitch needs Linux. Run it on a Debian 12 machine."
[ "$(id -u)" = 0 ] || fail "you are not root, and network namespaces and BPF need it. Run the same command with sudo."
command -v node >/dev/null || fail "node is not installed. Install Node.js 20 or newer, then run the same command."
major=$(node -p 'process.versions.node.split(".")[0]')
[ "$major" -ge 20 ] && [ "$major" -le 26 ] || fail "Node.js $(node -v) is not supported. Install Node.js 20 to 26."

# command or file that proves a package is there → package
wanted=(
  "/usr/bin/clang clang"
  "/usr/include/bpf/bpf_helpers.h libbpf-dev"
  "/usr/sbin/bpftool bpftool"
  "/usr/lib/*/libbpf.so.1 libbpf1"
  "/usr/sbin/ip,/sbin/ip,/bin/ip iproute2"
  "/usr/sbin/nft nftables"
  "/usr/bin/curl curl"
  "/usr/bin/nsenter util-linux"
)
[ "${1:-}" = bench ] && wanted+=("/usr/sbin/haproxy haproxy" "/usr/bin/iperf3 iperf3")
missing=()
for row in "${wanted[@]}"; do
  found=
  for path in $(echo "${row% *}" | tr , ' '); do
    # shellcheck disable=SC2086
    ls $path >/dev/null 2>&1 && found=yes
  done
  [ -n "$found" ] || missing+=("${row##* }")
done
if [ ${#missing[@]} -gt 0 ]; then
  command -v apt-get >/dev/null || fail "these packages are missing: ${missing[*]}. Install them with your distribution's tool."
  say "installing Debian packages: ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq >&2
  # A peer such as haproxy must not start a service of its own on the user's machine.
  printf '#!/bin/sh\nexit 101\n' > /tmp/restitch-policy.$$ && chmod +x /tmp/restitch-policy.$$
  policy=/usr/sbin/policy-rc.d
  if [ ! -e $policy ]; then cp /tmp/restitch-policy.$$ $policy; trap 'rm -f $policy' EXIT; fi
  rm -f /tmp/restitch-policy.$$
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

if ! cmp -s package-lock.json node_modules/.restitch-lock 2>/dev/null; then
  say "installing npm packages"
  # Not `npm ci`: it demands the optional packages of every other platform, which a mirror may not carry.
  npm install --no-save --no-fund --no-audit --loglevel=error >&2
  cp package-lock.json node_modules/.restitch-lock
fi

scripts/build.sh
