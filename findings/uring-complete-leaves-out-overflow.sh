#!/bin/sh
# Version: Linux 6.18.44 (x86-64).
#
# Behaviour: for a request of io_uring whose completion finds the completion ring full, the tracepoint io_uring_complete never fires: neither at
# the overflow, which fires io_uring_cqe_overflow alone, nor when the kernel later moves the completion into the ring and the program gets it. A
# tracer that times requests from io_uring_submit_req to io_uring_complete loses them, and may give the next request at the same address their begin.
#
# Expected: each request that a program gets the result of has one io_uring_complete.
#
# Seen: 32 reads, 32 results; events: submit 32, complete 16, overflow 16
#
# Why: io_uring/io_uring.h, io_fill_cqe_req(), traces io_uring_complete only once it has a place in the ring; what puts a result aside, and what later
# moves it into the ring, does not trace it.
#
# Needs: root, cc, tracefs at /sys/kernel/tracing, io_uring allowed.
set -eu

tmp=$(mktemp -d)
trace=/sys/kernel/tracing/instances/finding-$$
cleanup() {
    [ ! -d "$trace" ] || rmdir "$trace"
    rm -rf "$tmp"
}
trap cleanup EXIT
trap 'exit 2' INT TERM

cat >"$tmp/reads.c" <<'END'
/* Submits 32 reads to a ring of 8 entries (so 16 completions) before it takes the first result, and prints how many results it got. */
#include <linux/io_uring.h>
#include <stdio.h>
#include <string.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { ENTRIES = 8, READS = 32 };

static void *map(int ring, size_t size, long long offset)
{
    void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, ring, offset);

    if (at == MAP_FAILED)
        _exit(2);
    return at;
}

int main(int argc, char **argv)
{
    static char buffer[512];
    struct io_uring_params params = {0};
    int ring = syscall(SYS_io_uring_setup, ENTRIES, &params), results = 0;
    int file = argc > 1 ? open(argv[1], O_RDONLY) : -1;

    if (ring < 0 || file < 0)
        return 2;
    char *submission = map(ring, params.sq_off.array + ENTRIES * sizeof(unsigned), IORING_OFF_SQ_RING);
    char *completion = map(ring, params.cq_off.cqes + params.cq_entries * sizeof(struct io_uring_cqe), IORING_OFF_CQ_RING);
    struct io_uring_sqe *entries = map(ring, ENTRIES * sizeof(*entries), IORING_OFF_SQES);
    unsigned *tail = (unsigned *)(submission + params.sq_off.tail), *array = (unsigned *)(submission + params.sq_off.array);
    unsigned *head = (unsigned *)(completion + params.cq_off.head), *end = (unsigned *)(completion + params.cq_off.tail);

    for (int done = 0; done < READS; done += ENTRIES) {
        for (unsigned i = 0; i < ENTRIES; i++) {
            memset(&entries[i], 0, sizeof(entries[i]));
            entries[i].opcode = IORING_OP_READ;
            entries[i].fd = file;
            entries[i].addr = (unsigned long)buffer;
            entries[i].len = sizeof(buffer);
            array[i] = i;
        }
        __atomic_store_n(tail, *tail + ENTRIES, __ATOMIC_RELEASE);
        if (syscall(SYS_io_uring_enter, ring, ENTRIES, 0, 0, NULL, 0) != ENTRIES)
            return 2;
    }
    while (results < READS) {
        unsigned ready = __atomic_load_n(end, __ATOMIC_ACQUIRE) - *head;

        results += ready;
        __atomic_store_n(head, *head + ready, __ATOMIC_RELEASE);
        if (results < READS && syscall(SYS_io_uring_enter, ring, 0, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0)
            return 2;
    }
    printf("%d\n", results);
    return 0;
}
END
cc -o "$tmp/reads" "$tmp/reads.c" || exit 2
printf '%512s' '' >"$tmp/data"

mkdir "$trace" || exit 2
for event in submit_req complete cqe_overflow; do
    echo 1 >"$trace/events/io_uring/io_uring_$event/enable"
done
# The shell becomes the program, so that the trace can be of this process alone.
# shellcheck disable=SC2016 # for the inner shell to expand
results=$(sh -c 'echo $$ >"$1/set_event_pid" && exec "$2" "$3"' sh "$trace" "$tmp/reads" "$tmp/data") || exit 2
count() {
    grep -c " io_uring_$1: " "$trace/trace" || true
}
submitted=$(count submit_req) completed=$(count complete) overflowed=$(count cqe_overflow)
echo "32 reads, $results results; events: submit $submitted, complete $completed, overflow $overflowed"
[ "$results $submitted $completed $overflowed" = "32 32 16 16" ]
