#!/bin/sh
# Payload: runs the fio jobs in /payload/jobs, one per line after a name, on ext4 on the emulated NVMe disk, in one recording of the disk,
# and writes the capture, fio's reports and the kernel's counters to /out. Each job is a program with its own name.
set -eu

mkfs.ext4 -q -F -E lazy_itable_init=0,lazy_journal_init=0 /dev/nvme0n1
mkdir -p /mnt
mount -o no_prefetch_block_bitmaps /dev/nvme0n1 /mnt 2>/dev/null || mount /dev/nvme0n1 /mnt

# Separate files of each job are laid out before the recording.
while read -r name arguments; do
	ln /payload/bin/fio "/payload/bin/$name"
	mkdir "/mnt/$name"
	# shellcheck disable=SC2086 # a list of words
	"/payload/bin/$name" --directory="/mnt/$name" --output=/tmp/layout $arguments --create_only=1 --overwrite=1
done </payload/jobs

settle() {
	sync
	echo 3 >/proc/sys/vm/drop_caches
}

settle
cp /sys/block/nvme0n1/stat /out/stat.first
iostrata record --out /out/capture --device nvme0n1 2>/out/record.txt &
recorder=$!
until [ -e /out/capture/manifest.json ]; do
	if ! kill -0 "$recorder" 2>/dev/null; then
		cat /out/record.txt
		exit 1
	fi
	sleep 0.1
done
cp /sys/block/nvme0n1/stat /out/stat.before
while read -r name arguments; do
	# A kernel may refuse an engine or one of its options; the test evaluates fio's report.
	# shellcheck disable=SC2086 # a list of words
	"/payload/bin/$name" --directory="/mnt/$name" --output-format=json --output="/out/$name.json" $arguments 2>"/out/$name.err" &&
		code=0 || code=$?
	echo "$code" >"/out/$name.code"
	settle
done </payload/jobs
cp /sys/block/nvme0n1/stat /out/stat.after
kill -INT "$recorder"
wait "$recorder" && code=0 || code=$?
echo "$code" >/out/record.code
cp /sys/block/nvme0n1/stat /out/stat.last
cat /out/record.txt
umount /mnt
