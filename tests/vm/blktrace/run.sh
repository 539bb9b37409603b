#!/bin/sh
# Payload: blktrace and the recorder trace one disk at the same time. Writes the output of both to /out/PHASE.
set -eu

disk=/dev/nvme0n1

# Both run before the first request and after the last: one that starts late sees fewer requests than the other.
phase() {
	out=/out/$1
	mkdir "$out"
	iostrata record --out "$out/capture" --device nvme0n1 --layers block 2>"$out/record.txt" &
	recorder=$!
	blktrace -d $disk -D "$out" -o nvme0n1 >"$out/blktrace.txt" 2>&1 &
	tracer=$!
	until [ -e "$out/capture/manifest.json" ] && [ -e "$out/nvme0n1.blktrace.0" ]; do
		if ! kill -0 $recorder || ! kill -0 $tracer; then
			cat "$out/record.txt" "$out/blktrace.txt"
			exit 1
		fi
		sleep 0.1
	done
	sleep 1
	"$1"
	sync
	sleep 1
	kill -INT $tracer
	wait $tracer
	kill -TERM $recorder
	wait $recorder && code=0 || code=$?
	echo "$code" >"$out/record.code"
	cat "$out/record.txt" "$out/blktrace.txt"
}

# One request per bio, no file system: no merges, flushes or splits.
single() {
	dd if=/dev/urandom of=$disk bs=4k count=150 oflag=direct 2>/dev/null
	dd if=$disk of=/dev/null bs=16k count=150 iflag=direct 2>/dev/null
}

# Merges, readahead, splits, discards, and the flushes of a journal.
mixed() {
	# Linux 5.10 does no readahead of bitmaps, and has no option for it.
	mount -o no_prefetch_block_bitmaps $disk /mnt 2>/dev/null || mount $disk /mnt
	dd if=/dev/zero of=/mnt/buffered bs=64k count=40 conv=fdatasync 2>/dev/null
	dd if=/dev/zero of=/mnt/synced bs=4k count=10 oflag=sync 2>/dev/null
	dd if=/dev/zero of=/mnt/large bs=4M count=2 oflag=direct 2>/dev/null
	sync
	echo 3 >/proc/sys/vm/drop_caches
	dd if=/mnt/buffered of=/dev/null bs=4k 2>/dev/null
	rm /mnt/buffered /mnt/synced
	sync
	fstrim /mnt
	umount /mnt
}

phase single
mkfs.ext4 -q -F -E lazy_itable_init=0,lazy_journal_init=0 $disk
echo mq-deadline >/sys/block/nvme0n1/queue/scheduler
sync
phase mixed
