#!/bin/sh
# Payload: records devices that remap bios, dm and md, each separately, and writes the captures and the kernel's counters to
# /out/DEVICE.
set -eu

# Records the device $1 only, while $2 uses it.
record() {
	device=$1
	out=/out/$1
	mkdir "$out"
	iostrata record --out "$out/capture" --device "$device" 2>"$out/record.txt" &
	recorder=$!
	until [ -e "$out/capture/manifest.json" ]; do
		if ! kill -0 "$recorder" 2>/dev/null; then
			cat "$out/record.txt"
			exit 1
		fi
		sleep 0.1
	done
	cp "/sys/block/$device/stat" "$out/stat.before"
	"$2"
	cp "/sys/block/$device/stat" "$out/stat.after"
	kill -INT "$recorder"
	wait "$recorder" && code=0 || code=$?
	echo "$code" >"$out/record.code"
	cat "$out/record.txt"
}

# 2 MiB of writes and 1 MiB of reads.
direct() {
	/payload/bin/dd if=/dev/zero "of=/dev/$device" bs=64k count=32 oflag=direct 2>/dev/null
	/payload/bin/dd "if=/dev/$device" of=/dev/null bs=64k count=16 iflag=direct 2>/dev/null
}

member() {
	dd if=/dev/zero of="/tmp/$1" bs=1M count=16 2>/dev/null
	losetup -f "/tmp/$1"
}

# Without udev, dmsetup would wait forever.
dmsetup create --noudevsync --noudevrules stacked --table "0 131072 linear /dev/nvme0n1 2048"
record dm-0 direct

for number in 0 1 2 3; do member "member$number"; done
mdadm --build /dev/md0 --run --assume-clean --level=1 --raid-devices=2 /dev/loop0 /dev/loop1
record md0 direct
mdadm --build /dev/md1 --run --level=0 --chunk=64 --raid-devices=2 /dev/loop2 /dev/loop3
record md1 direct

# A file system on one of them: attribution of late writeback, and the wait for it at the end of a command.
mkfs.ext4 -q -F -E lazy_itable_init=0,lazy_journal_init=0 /dev/dm-0
mkdir -p /mnt
mount /dev/dm-0 /mnt
sync
mkdir /out/owned
date +%s >/out/owned/began
iostrata record --out /out/owned/capture --device dm-0 -- /payload/bin/dd if=/dev/zero of=/mnt/file bs=64k count=16 2>/out/owned/record.txt ||
	echo "code $?" >>/out/owned/record.txt
date +%s >/out/owned/ended
cat /out/owned/record.txt
umount /mnt
