#!/bin/sh
# Runs in the virtual machine: checks that the harness provides what a test
# needs.
set -eu

uname -r | tee /out/uname
test -s /sys/kernel/btf/vmlinux && touch /out/btf
for dir in /sys/kernel/tracing/events /sys/kernel/debug/block; do test -d $dir; done
cat /proc/mounts >/out/mounts
tee /out/controllers </sys/fs/cgroup/cgroup.subtree_control

# Initialized at once: no background writes during the counting.
mkfs.ext4 -q -E lazy_itable_init=0,lazy_journal_init=0 /dev/nvme0n1
mount -t ext4 /dev/nvme0n1 /mnt
cat /sys/block/nvme0n1/stat >/out/stat.before
dd if=/dev/zero of=/mnt/file bs=1M count=16 conv=fdatasync
cat /sys/block/nvme0n1/stat >/out/stat.after
umount /mnt

# Not 0, so that smoke.sh checks that exit codes are returned.
exit 42
