#!/bin/sh
# Runs in the virtual machine: proves that the harness gives a test what it needs.
set -eu

uname -r | tee /out/uname
test -s /sys/kernel/btf/vmlinux && touch /out/btf
for dir in /sys/kernel/tracing/events /sys/kernel/debug/block; do test -d $dir; done
cat /proc/mounts >/out/mounts
tee /out/controllers </sys/fs/cgroup/cgroup.subtree_control

# Made whole at once: nothing is to write in the background while we count.
mkfs.ext4 -q -E lazy_itable_init=0,lazy_journal_init=0 /dev/nvme0n1
mount -t ext4 /dev/nvme0n1 /mnt
cat /sys/block/nvme0n1/stat >/out/stat.before
dd if=/dev/zero of=/mnt/file bs=1M count=16 conv=fdatasync
cat /sys/block/nvme0n1/stat >/out/stat.after
umount /mnt

# Not 0, so that smoke.sh sees that exit codes come through.
exit 42
