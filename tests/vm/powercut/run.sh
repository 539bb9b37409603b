#!/bin/sh
# Payload of the power cut: records to the disk under load, until the emulator is killed.
set -eu
mkfs.ext4 -q -E lazy_itable_init=0,lazy_journal_init=0 /dev/nvme0n1
mkdir /capture
mount /dev/nvme0n1 /capture
dd if=/dev/zero of=/capture/load bs=1M count=16 2>/dev/null
sync
iostrata record --out /capture/run --device nvme0n1 --layers syscall,block --flush-interval 500ms --rotate-interval 2s &
until [ -e /capture/run/manifest.json ]; do sleep 0.05; done
echo "run.sh: recording"
while :; do
    dd if=/dev/zero of=/capture/load bs=4k count=4096 oflag=direct conv=notrunc 2>/dev/null
done
