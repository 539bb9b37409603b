#!/bin/sh
# Payload: records a known workload on the emulated NVMe disk, once for each file system, and writes the captures and data on the
# workload to /out/FILE_SYSTEM.
set -eu

# No lazy initialization: its background I/O would be in the recording.
make_ext4() { mkfs.ext4 -q -F -E lazy_itable_init=0,lazy_journal_init=0 /dev/nvme0n1; }
# Newer tools create file systems that older kernels cannot mount; the oldest tools do not know the last of these options.
make_xfs() {
	mkfs.xfs -q -f -m bigtime=0,inobtcount=0 -i nrext64=0 /dev/nvme0n1 2>/dev/null ||
		mkfs.xfs -q -f -m bigtime=0,inobtcount=0 /dev/nvme0n1
}
make_btrfs() { mkfs.btrfs -q -f /dev/nvme0n1; }

# Starts a recording of the disk (or of `filter`), with further options, into the directory $1.
start() {
	out=$1
	shift
	iostrata record --out "$out/capture" "${filter:---device=nvme0n1}" "$@" 2>"$out/record.txt" &
	recorder=$!
	until [ -e "$out/capture/manifest.json" ]; do
		if ! kill -0 "$recorder" 2>/dev/null; then
			cat "$out/record.txt"
			exit 1
		fi
		sleep 0.1
	done
}

stop() {
	kill -INT "$recorder"
	wait "$recorder" && code=0 || code=$?
	echo "$code" >"$1/record.code"
	cat "$1/record.txt"
}

# 2 MiB in 512 writes and one fdatasync; ten synchronous 4 KiB writes; 1 MiB left to writeback, then synced; a cold read.
layers() {
	/payload/bin/dd if=/dev/zero of=/mnt/buffered bs=4k count=512 conv=fdatasync 2>/dev/null
	i=0
	while [ $i -lt 10 ]; do
		/payload/bin/dd if=/dev/zero of=/mnt/sync bs=4k count=1 oflag=sync conv=notrunc 2>/dev/null
		i=$((i + 1))
	done
	/payload/bin/dd if=/dev/zero of=/mnt/later bs=64k count=16 2>/dev/null
	sync
	# Before 5.18 drop_caches leaves the last pages of a file, which are still in a per-CPU list of the CPU that wrote them.
	/payload/bin/evict if=/mnt/buffered iflag=nocache of=/dev/null count=0 2>/dev/null
	echo 3 >/proc/sys/vm/drop_caches
	/payload/bin/dd if=/mnt/buffered of=/dev/null bs=64k 2>/dev/null
	/payload/bin/dd if=/mnt/later of=/dev/null bs=64k iflag=direct 2>/dev/null
}

# More readers at once than the kernel has kretprobes for, each waiting for the disk most of the time.
crowd() {
	i=0
	while [ $i -lt 24 ]; do
		/payload/bin/crowd if=/mnt/later of=/dev/null bs=4k count=64 iflag=direct 2>/dev/null &
		crowd_pids="${crowd_pids:-} $!"
		i=$((i + 1))
	done
	# Not the recorder, which is also a job of this shell.
	for pid in $crowd_pids; do wait "$pid"; done
	crowd_pids=
}

# Attribution by program name, all copies of dd: the two halves of one file, each by a different program; a file that is deleted
# before its writeback, and one that is likely to get its inode number; a direct write.
owners() {
	/payload/bin/first if=/dev/zero of=/mnt/halves bs=64k count=16 conv=notrunc 2>/dev/null
	/payload/bin/second if=/dev/zero of=/mnt/halves bs=64k count=16 seek=16 conv=notrunc 2>/dev/null
	/payload/bin/deleted if=/dev/zero of=/mnt/deleted bs=64k count=16 2>/dev/null
	rm /mnt/deleted
	/payload/bin/successor if=/dev/zero of=/mnt/successor bs=64k count=8 2>/dev/null
	sync
	in_cgroup charged /payload/bin/charged if=/dev/zero of=/mnt/charged bs=64k count=8 2>/dev/null
	in_cgroup billed /payload/bin/billed if=/dev/zero of=/mnt/billed bs=64k count=12 2>/dev/null
	sync
	/payload/bin/straight if=/dev/zero of=/mnt/straight bs=64k count=8 oflag=direct 2>/dev/null
}

# All other I/O paths. Before 5.12 io_uring writes from kernel threads, and it is not recorded before 6.0.
paths() {
	accounts=$1
	for way in aio uring mapped unsynced appender; do
		case $way-$(uname -r) in uring-5.*) continue ;; esac
		ACCOUNT="$accounts/$way.io" "/payload/bin/$way" "/mnt/$way"
	done
	for way in sender copier; do
		ACCOUNT="$accounts/$way.io" "/payload/bin/$way" "/mnt/$way" /mnt/buffered
	done
}

# Left to writeback by a writer from before the recording. After five seconds the kernel would check whether the cgroup has too many dirty pages.
early() {
	echo 100000 >/proc/sys/vm/dirty_writeback_centisecs
	in_cgroup early /payload/bin/dd if=/dev/zero of=/mnt/early bs=64k count=2 2>/dev/null
}

# Runs a program in its own cgroup, to which the kernel charges its writeback.
in_cgroup() {
	mkdir -p "/sys/fs/cgroup/$1"
	sh -c 'echo $$ >"/sys/fs/cgroup/$0/cgroup.procs"; exec "$@"' "$@"
}

for name in crowd evict layered first second deleted successor straight charged billed; do cp /payload/bin/dd "/payload/bin/$name"; done
for way in aio uring mapped unsynced appender sender copier; do cp /payload/bin/paths "/payload/bin/$way"; done
mkdir -p /mnt
for system in ext4 xfs btrfs; do
	mkdir "/out/$system"
	"make_$system"
	mount -t "$system" /dev/nvme0n1 /mnt
	sync
	cp /sys/block/nvme0n1/stat "/out/$system/stat.first"
	early
	start "/out/$system"
	cp /sys/block/nvme0n1/stat "/out/$system/stat.before"
	layers
	owners
	crowd
	paths "/out/$system"
	sync
	for name in charged billed early; do
		stat -c %i "/sys/fs/cgroup/$name" >"/out/$system/$name.id"
		cat "/sys/fs/cgroup/$name/io.stat" >"/out/$system/$name.stat"
		rmdir "/sys/fs/cgroup/$name"
	done
	cp /sys/block/nvme0n1/stat "/out/$system/stat.after"
	stop "/out/$system"
	cp /sys/block/nvme0n1/stat "/out/$system/stat.last"
	umount /mnt
done

# A stacked device: writes to it are done by the disk. Without udev, dmsetup would wait forever.
mkdir /out/dm
dmsetup create --noudevsync --noudevrules stacked --table "0 131072 linear /dev/nvme0n1 2048"
start /out/dm --device dm-0
/payload/bin/dd if=/dev/zero of=/dev/dm-0 bs=64k count=32 oflag=direct 2>/dev/null
stop /out/dm
dmsetup remove --noudevsync --noudevrules stacked

# A CPU limit that the recorder exceeds at once, with every layer.
make_ext4
mount -t ext4 /dev/nvme0n1 /mnt
mkdir /out/limited
start /out/limited --cpu-limit 10
until=$(($(date +%s) + 8))
while [ "$(date +%s)" -lt "$until" ]; do
	/payload/bin/dd if=/dev/zero of=/mnt/much bs=4k count=256 conv=fsync 2>/dev/null
	/payload/bin/dd if=/mnt/much of=/dev/null bs=4k count=256 iflag=direct 2>/dev/null
done
stop /out/limited

# Calls beside busy loops on their CPU, and the wait time by the kernel's counters.
mkdir /out/run_queue
start /out/run_queue --run-queue
/payload/bin/cpu_waits sync /mnt/waits 25 >/out/run_queue/schedstat
stop /out/run_queue

# Requests, and the histograms that the kernel side counts of them, from issue and from queueing.
mkdir /out/histograms
# So that no request is in flight when the first view begins and the second does not count yet.
sync
views=
for latency in issue queue; do
	queued=
	if [ $latency = queue ]; then queued=--queued; fi
	iostrata hist $queued --device nvme0n1 --by op --interval 1 --flush-every 1 --output /out/histograms/$latency.jsonl >/out/histograms/$latency.txt 2>&1 &
	views="$views $!"
	until [ -s /out/histograms/$latency.jsonl ]; do
		kill -0 $! || exit 1
		sleep 0.1
	done
done
start /out/histograms --layers block,block_latency --interval 200ms
/payload/bin/dd if=/dev/zero of=/mnt/counted bs=4k count=256 oflag=dsync 2>/dev/null
/payload/bin/dd if=/mnt/counted of=/dev/null bs=64k iflag=direct 2>/dev/null
stop /out/histograms
for view in $views; do
	kill -TERM "$view"
	wait "$view" || cat /out/histograms/*.txt
done

# Requests with their files, of direct and of buffered I/O; the fast ones are only counted.
mkdir /out/snoop
iostrata snoop --device nvme0n1 --format csv >/out/snoop/all.csv 2>/out/snoop/all.txt &
all=$!
iostrata snoop --min-latency 1h --device nvme0n1 --format csv >/out/snoop/slow.csv 2>/out/snoop/slow.txt &
slow=$!
# The same by file and by process, summed in the kernel.
iostrata top --batch --device nvme0n1 --by file --interval 1 --csv /out/snoop/top.csv >/out/snoop/top.log 2>/out/snoop/top.txt &
top=$!
iostrata hist --device nvme0n1 --by process --interval 1 --flush-every 1 --output /out/snoop/hist.jsonl >/out/snoop/hist.log 2>/out/snoop/hist.txt &
hist=$!
# The header is printed once everything is attached, that of `top` after the first interval.
for view in all.csv slow.csv top.log hist.jsonl; do
	until [ -s /out/snoop/$view ]; do
		kill -0 "$all" "$slow" "$top" "$hist" || exit 1
		sleep 0.1
	done
done
/payload/bin/dd if=/mnt/counted of=/dev/null bs=64k iflag=direct 2>/dev/null
/payload/bin/dd if=/dev/zero of=/mnt/snooped bs=64k count=4 conv=fsync 2>/dev/null
kill -TERM "$all" "$slow" "$top" "$hist"
for view in "$all" "$slow" "$top" "$hist"; do
	wait "$view" || cat /out/snoop/*.txt
done

# A write without later events, and a recorder that is killed when it states that everything of that second is on the disk.
whole_s() {
	for place in 1 4097; do
		tail -c +$place /out/killed/capture/.whole 2>/dev/null | head -c 20 | cut -c 2-11
	done | sort -n | tail -n 1
}
mkdir /out/killed
filter=--comm=first start /out/killed --layers fs --flush-interval 500ms
/payload/bin/first if=/dev/zero of=/mnt/kept bs=64k count=1 2>/dev/null
written_s=$(date +%s)
until found_s=$(whole_s) && [ "${found_s:-0}" -gt "$written_s" ]; do
	kill -0 "$recorder" || exit 1
	sleep 0.1
done
kill -KILL "$recorder"
wait "$recorder" || true

# With kretprobes, of which there may be too few.
/payload/bin/dd if=/dev/zero of=/mnt/later bs=64k count=16 conv=fsync 2>/dev/null
mkdir /out/kretprobes
start /out/kretprobes --avoid fexit
crowd
stop /out/kretprobes

# On overlayfs fsync is a function that calls itself for the file below.
mkdir /out/layered /mnt/lower /mnt/upper /mnt/work /mnt/layers
mount -t overlay -o lowerdir=/mnt/lower,upperdir=/mnt/upper,workdir=/mnt/work overlay /mnt/layers
filter=--comm=layered start /out/layered
/payload/bin/layered if=/dev/zero of=/mnt/layers/file bs=4k count=3 conv=fsync 2>/dev/null
stop /out/layered
umount /mnt/layers
umount /mnt
