#!/bin/busybox sh
# First process of the machine in the machine: file systems, modules, then /job.sh. What the job prints goes to the second
# serial port, everything else (kernel, warnings of the job) to the first.
/bin/busybox --install -s /bin
export PATH=/usr/bin:/bin:/sbin HOME=/root LANG=C
ln -s /bin/busybox /sbin/modprobe
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/shm /dev/net
for directory in /tmp /run /dev/shm; do mount -t tmpfs tmpfs "$directory"; done
mount -t cgroup2 cgroup /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf
# No udev: what the kernel does not ask for by itself is named here.
for module in tun veth bridge sch_ingress cls_bpf inet_diag tcp_diag xfrm_user nf_tables nft_ct tcp_bbr; do modprobe "$module" 2>/dev/null; done
ip link set lo up
ulimit -n 20000
# Raw: a terminal would turn every line's end into two bytes.
stty -F /dev/ttyS1 raw
echo "vm: $(uname -r) is up after $(cut -d ' ' -f 1 /proc/uptime) s"
cd /opt/restitch
sh /job.sh >/dev/ttyS1
echo "vm: the job ended with $? after $(cut -d ' ' -f 1 /proc/uptime) s"
poweroff -f
