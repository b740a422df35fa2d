#!/usr/bin/env bash
# usage: scripts/vm/run.sh KERNEL JOB DIRECTORY [SECONDS]
# Boots Debian's newest kernel of a line (6.1, 6.12) in qemu and runs the shell script JOB in this checkout there, as it is
# built. DIRECTORY gets `console` (kernel, standard error) and `output` (standard output of JOB). Exit: that of qemu, 124 when
# SECONDS are over, 2 when something is missing that cannot be installed.
#
# No KVM, no network, one processor, and -icount: a nanosecond of the machine's own time is an instruction, however slow this
# host emulates it and whatever else runs here. Deadlines inside are met or missed as on a real machine, none has to be
# stretched; idle time is skipped. Without it everything takes 10 to 100 times as long by its own clock.
set -euo pipefail
cd "$(dirname "$0")/../.."
line="$1" job="$2" directory="$3" seconds="${4:-300}"
fail() { printf 'vm: %s\n' "$*" >&2; exit 2; }

# command → package
wanted=("qemu-system-x86_64 qemu-system-x86" "busybox busybox-static" "cpio cpio")
missing=()
for row in "${wanted[@]}"; do command -v "${row% *}" >/dev/null || missing+=("${row#* }"); done
if [ ${#missing[@]} -gt 0 ]; then
  command -v apt-get >/dev/null || fail "these packages are missing: ${missing[*]}. Install them with your distribution's tool."
  printf 'vm: installing Debian packages: %s\n' "${missing[*]}" >&2
  export DEBIAN_FRONTEND=noninteractive
  # Two runs may begin at once: the second waits.
  apt="apt-get -o DPkg::Lock::Timeout=300"
  { $apt update -qq && $apt install -y -qq --no-install-recommends "${missing[@]}"; } >/dev/null ||
    fail "cannot install ${missing[*]}: without them no kernel is booted, and nothing is known of Linux $line"
fi

kernel=$(scripts/vm/kernel.sh "$line")
mkdir -p "$directory"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
scripts/vm/root.sh "$work/root.cpio"
cp "$job" "$work/job.sh"
(cd "$work" && echo job.sh | cpio -o -H newc --quiet) >"$work/job.cpio"
cat "$kernel/modules.cpio" "$work/root.cpio" "$work/job.cpio" >"$work/initrd"
rm -f "$work/root.cpio"
: >"$directory/output"
# In the background, so that whoever ends this script ends the machine too.
timeout "$seconds" qemu-system-x86_64 -accel tcg -icount shift=0,sleep=off -cpu max -smp 1 -m 2048 \
  -nodefaults -nographic -no-reboot -nic none \
  -serial "file:$directory/console" -serial "file:$directory/output" \
  -kernel "$kernel/vmlinuz" -initrd "$work/initrd" -append 'console=ttyS0 quiet panic=-1 rdinit=/init' </dev/null &
machine=$!
trap 'kill "$machine" 2>/dev/null || true; rm -rf "$work"' EXIT
trap 'exit 143' INT TERM
wait "$machine"
