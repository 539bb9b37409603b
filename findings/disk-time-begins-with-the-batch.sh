#!/bin/sh
# Version: Linux 6.18.44 (x86-64).
#
# Behaviour: in the time that /sys/block/DEV/stat counts for reads and writes (r_await and w_await of iostat, aqu-sz), a request begins when the first
# request of its batch began. 256 direct reads that one io_submit() submits all have the time at which the first one was made: the counters say about
# 1.5 times what the tracepoints from block_io_start to block_rq_complete say of the same requests.
#
# Expected: a request begins when its bio is submitted, as before Linux 6.9. The same reads, submitted one by one, have nearly the same time by
# both.
#
# Seen: batch 256: 16384 reads, 746 us by the counters; 16384, 498 us by the tracepoints; ratio 1.50; batch 1:
#       16384 reads, 10 us by the counters; 16384, 9 us by the tracepoints; ratio 1.08
#
# Why: block/blk.h, blk_time_get_ns(), keeps the time of its first call in the plug of the task until the plug is flushed or the task sleeps, and
# io_submit() plugs its whole batch. Each request takes its start_time_ns there.
#
# Needs: root, cc, loop devices, tracefs at /sys/kernel/tracing.
set -eu

tmp=$(mktemp -d)
trace=/sys/kernel/tracing/instances/finding-$$
disk=
cleanup() {
    [ ! -d "$trace" ] || rmdir "$trace"
    [ -z "$disk" ] || losetup -d "$disk"
    rm -rf "$tmp"
}
trap cleanup EXIT
trap 'exit 2' INT TERM

cat >"$tmp/reads.c" <<'END'
/* reads DISK BATCH: 16,384 direct reads of 4 KiB, BATCH with each io_submit(), each batch to its end. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { READS = 16384, BYTES = 4096, MOST = 256 };

int main(int count, char **words)
{
	int disk = open(words[1], O_RDONLY | O_DIRECT), batch = atoi(words[2]);
	static struct iocb read[MOST], *all[MOST];
	static struct io_event done[MOST];
	aio_context_t context = 0;
	void *buffer;

	if (count != 3 || disk < 0 || posix_memalign(&buffer, BYTES, BYTES) || syscall(SYS_io_setup, MOST, &context))
		return 1;
	for (int first = 0; first < READS; first += batch) {
		for (int at = 0; at < batch; at++) {
			/* Not in order, so that no two become one request. */
			long block = (first + at) * 7919L % READS;

			read[at] = (struct iocb){ .aio_lio_opcode = IOCB_CMD_PREAD, .aio_fildes = disk, .aio_buf = (unsigned long)buffer,
						  .aio_nbytes = BYTES, .aio_offset = block * BYTES };
			all[at] = &read[at];
		}
		if (syscall(SYS_io_submit, context, batch, all) != batch)
			return 1;
		for (int ended = 0; ended < batch;) {
			int more = syscall(SYS_io_getevents, context, 1, batch - ended, done, NULL);

			if (more < 1)
				return 1;
			ended += more;
		}
	}
	return 0;
}
END
cc -O2 -Wall -Werror -o "$tmp/reads" "$tmp/reads.c"
truncate -s 64M "$tmp/image"
disk=$(losetup -f --show "$tmp/image")
name=${disk#/dev/}
number=$(stat -c %t:%T "$disk" | { IFS=: read -r major minor; echo $((0x$major << 20 | 0x$minor)); })
# In the cache of the image, so that the disk is fast.
cat "$tmp/image" >"$tmp/copy"
rm "$tmp/copy"

mkdir "$trace"
echo 65536 >"$trace/buffer_size_kb"
echo mono >"$trace/trace_clock"
for event in block_io_start block_rq_complete; do
    echo "dev == $number" >"$trace/events/block/$event/filter"
    echo 1 >"$trace/events/block/$event/enable"
done

# Prints the mean time of a read by the counters and by the tracepoints, in us, and their ratio.
measure() {
    echo >"$trace/trace"
    before=$(cat "/sys/block/$name/stat")
    "$tmp/reads" "$disk" "$1"
    after=$(cat "/sys/block/$name/stat")
    cp "$trace/trace" "$tmp/events"
    printf '%s\n%s\n' "$before" "$after" | cat - "$tmp/events" | awk -v batch="$1" '
        NR == 1 { ops = $1; ms = $4; next }
        NR == 2 { ops = $1 - ops; ms = $4 - ms; next }
        # ... 123.456789: block_io_start: 7,0 R 4096 () 1024 + 8 none,0,0 [reads]
        /block_io_start:/ { sub(/:$/, "", $4); match($0, /\) [0-9]+ \+/); start[substr($0, RSTART + 2, RLENGTH - 4)] = $4 }
        /block_rq_complete:/ {
            sub(/:$/, "", $4); match($0, /\) [0-9]+ \+/); sector = substr($0, RSTART + 2, RLENGTH - 4)
            if (sector in start) { sum += $4 - start[sector]; seen++; delete start[sector] }
        }
        END { printf "batch %d: %d reads, %.0f us by the counters; %d, %.0f us by the tracepoints; ratio %.2f\n",
                     batch, ops, ms * 1000 / ops, seen, sum * 1e6 / seen, (ms / ops) / (sum * 1000 / seen) }'
}
measure 256 >"$tmp/all"
measure 1 >"$tmp/one"
echo "$(cat "$tmp/all"); $(cat "$tmp/one")"
ratio() { sed 's/.*ratio //' "$1"; }
awk -v all="$(ratio "$tmp/all")" -v one="$(ratio "$tmp/one")" 'BEGIN { exit !(all > 1.2 * one) }'
