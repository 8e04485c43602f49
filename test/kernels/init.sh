#!/bin/busybox sh
# The first process of the machine that boots a kernel (initramfs.ts): puts up what a node has, runs the smoke program and
# switches the machine off.
export PATH=/usr/bin:/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
mount -t tmpfs run /run
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf
for module in $(cat /modules/order); do insmod "/modules/$module"; done
ip link set lo up
echo "booted"
node /weft/test/kernels/smoke.ts
poweroff -f
