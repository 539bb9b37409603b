#!/bin/sh
# Payload: records a known workload on the emulated NVMe disk and leaves the capture and what the workload did in /out.
set -eu

# Nothing initialised lazily: that would be I/O in the background of the recording.
mkfs.ext4 -q -E lazy_itable_init=0,lazy_journal_init=0 /dev/nvme0n1
mkdir -p /mnt
mount -t ext4 /dev/nvme0n1 /mnt
sync

iostrata record --out /out/capture --device nvme0n1 2>/out/record.txt &
recorder=$!
tries=0
until [ -e /out/capture/manifest.json ]; do
	tries=$((tries + 1))
	if [ "$tries" -gt 600 ] || ! kill -0 "$recorder" 2>/dev/null; then
		cat /out/record.txt
		exit 1
	fi
	sleep 0.1
done
cp /sys/block/nvme0n1/stat /out/stat.before

# 2 MiB in 512 writes and one fdatasync; ten synchronous 4 KiB writes; 1 MiB left to writeback, then synced; a cold read.
/payload/bin/dd if=/dev/zero of=/mnt/buffered bs=4k count=512 conv=fdatasync 2>/dev/null
i=0
while [ $i -lt 10 ]; do
	/payload/bin/dd if=/dev/zero of=/mnt/sync bs=4k count=1 oflag=sync conv=notrunc 2>/dev/null
	i=$((i + 1))
done
/payload/bin/dd if=/dev/zero of=/mnt/later bs=64k count=16 2>/dev/null
sync
echo 3 >/proc/sys/vm/drop_caches
/payload/bin/dd if=/mnt/buffered of=/dev/null bs=64k 2>/dev/null
/payload/bin/dd if=/mnt/later of=/dev/null bs=64k iflag=direct 2>/dev/null
sync

cp /sys/block/nvme0n1/stat /out/stat.after
kill -INT "$recorder"
wait "$recorder" && code=0 || code=$?
echo "$code" >/out/record.code
cat /out/record.txt
umount /mnt
