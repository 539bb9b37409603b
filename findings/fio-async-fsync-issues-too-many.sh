#!/bin/sh
# Version: fio 3.33 (Debian 12, 3.33-3), engine io_uring. Newer versions remember what was issued last, not what was completed last.
#
# Behaviour: with an engine that does not wait (io_uring) and more than one I/O in flight, fsync=N syncs more often than after every N writes, here
# twice as often, and by a number that differs from run to run. With a depth of 1, or an engine that waits for the sync, it is as asked for. So a
# comparison of depths, or of io_uring and libaio, compares different numbers of syncs.
#
# Expected: 1024 writes with fsync=4: 255 or 256 fsyncs, whatever the depth.
#
# Seen: 1024 writes, fsync=4: 255 fsyncs at depth 1, 557 at depth 8
#
# Why: io_u.c, get_rw_ddir(), of 3.33 returns a sync as long as the number of writes is a multiple of N and the last operation *completed* is a write;
# until the first fsync is complete, each free slot gets another one.
#
# Needs: root, fio (apt-get install fio=3.33-3), python3, tracefs at /sys/kernel/tracing, io_uring allowed, a temporary folder on a disk.
set -eu

tmp=$(mktemp -d)
trace=/sys/kernel/tracing/instances/finding-$$
cleanup() {
    [ ! -d "$trace" ] || rmdir "$trace"
    rm -rf "$tmp"
}
trap cleanup EXIT
trap 'exit 2' INT TERM

mkdir "$trace" || exit 2
echo 8192 >"$trace/buffer_size_kb"
echo event-fork >"$trace/trace_options"
echo 1 >"$trace/events/io_uring/io_uring_submit_req/enable"

# Prints the fsyncs that the kernel was given at a depth, after 1024 writes.
syncs() {
    echo >"$trace/trace"
    # The shell becomes fio, so that the trace can be of fio and its children alone.
    # shellcheck disable=SC2016 # for the inner shell to expand
    sh -c 'echo $$ >"$1/set_event_pid" && shift && exec "$@"' sh "$trace" \
        fio --name=job --directory="$tmp" --size=4m --bs=4k --rw=write --ioengine=io_uring --iodepth="$1" --fsync=4 --output="$tmp/log" || exit 2
    [ "$(grep -c 'opcode WRITE' "$trace/trace")" -eq 1024 ] || exit 2
    grep -c 'opcode FSYNC' "$trace/trace"
}
one=$(syncs 1)
eight=$(syncs 8)
echo "1024 writes, fsync=4: $one fsyncs at depth 1, $eight at depth 8"
[ "$one" -le 256 ] && [ "$eight" -gt 300 ]
