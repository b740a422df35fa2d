#!/usr/bin/env bash
# Runs a command where the host's BPF file system is as named, in a mount namespace of its own.
# usage: scripts/with-private-mounts.sh covered|unmounted|shut COMMAND...
#   covered    a tmpfs lies over /sys/fs/bpf       unmounted  nothing is mounted there (a new machine)
#   shut       a BPF file system of mode 0700, as systemd mounts it
# /run/netns and /run/restitch are private, too: `ip netns add` binds names there that would be dead files outside.
set -euo pipefail

fail() { printf 'restitch: %s\n' "$*" >&2; exit 2; }

if [ "${1:-}" != inside ]; then
  [ "$(id -u)" = 0 ] || fail "you are not root, and a mount namespace needs it. Run the same command with sudo."
  unshare -m --propagation private true || fail "cannot make a mount namespace: CAP_SYS_ADMIN is needed (in a container: --privileged)."
  exec unshare -m --propagation private "$0" inside "$@"
fi
state=$2
shift 2

type_of() { stat -f -c %T "$1"; }

# What others have mounted stays theirs: this is only our view, which would keep their maps and namespaces alive.
copies() { awk '$3 == "bpf" || $2 ~ "^/(run/netns|run/restitch|sys/fs/bpf)(/|$)" {print $2}' /proc/mounts | tac; }
copies | xargs -r umount -l
left=$(copies)
[ -z "$left" ] || fail "cannot unmount a copy of $left."
mkdir -p /run/netns /run/restitch
mount -t tmpfs -o mode=0755 tmpfs /run/netns
mount -t tmpfs -o mode=0755 tmpfs /run/restitch
case $state in
  covered) mount -t tmpfs -o mode=0755 tmpfs /sys/fs/bpf; wanted=tmpfs ;;
  unmounted) wanted=sysfs ;;
  shut) mount -t bpf -o mode=0700 bpf /sys/fs/bpf; wanted=bpf_fs ;;
  *) fail "with-private-mounts: $state is not covered, unmounted or shut" ;;
esac
[ "$(type_of /sys/fs/bpf)" = $wanted ] || fail "/sys/fs/bpf is $(type_of /sys/fs/bpf), not $wanted: it could not be made $state."
exec "$@"
