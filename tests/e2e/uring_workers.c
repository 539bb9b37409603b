// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Reads parts of a cold file by io_uring workers, without a mapping: uring_workers FILE RINGS. Each of RINGS rings reads 16 places, 4 KiB
 * each, 64 KiB apart. In the meantime its thread is in user mode and has faults, so workers that the kernel creates on its return from a
 * fault get the registers of that fault.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/io_uring.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { READS = 16, APART = 65536, BYTES = 4096, HEAP = 8 << 20 };

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void *map(int ring, size_t bytes, off_t offset)
{
	void *mapped = mmap(0, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring, offset);

	if (mapped == MAP_FAILED)
		fail("mmap");
	return mapped;
}

static long read_places(int file, long first, char *buffer)
{
	struct io_uring_params p = {};
	int ring = syscall(__NR_io_uring_setup, 64, &p);
	long sum = 0;
	char *sq, *cq;
	struct io_uring_sqe *sqes;
	unsigned *tail, *head;

	if (ring < 0)
		fail("io_uring_setup");
	sq = map(ring, p.sq_off.array + p.sq_entries * sizeof(unsigned), IORING_OFF_SQ_RING);
	cq = map(ring, p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe), IORING_OFF_CQ_RING);
	sqes = map(ring, p.sq_entries * sizeof(*sqes), IORING_OFF_SQES);
	for (unsigned i = 0; i < READS; i++) {
		sqes[i] = (struct io_uring_sqe){ .opcode = IORING_OP_READ, .flags = IOSQE_ASYNC, .fd = file, .len = BYTES,
						 .off = (first + i) * APART, .addr = (unsigned long)buffer };
		((unsigned *)(sq + p.sq_off.array))[i] = i;
	}
	tail = (unsigned *)(sq + p.sq_off.tail);
	__atomic_store_n(tail, *tail + READS, __ATOMIC_RELEASE);
	if (syscall(__NR_io_uring_enter, ring, READS, 0, 0, 0, 0) != READS)
		fail("io_uring_enter");
	head = (unsigned *)(cq + p.cq_off.head);
	for (int done = 0; done < READS;) {
		/* New memory each time: this causes faults, and the workers are created on the return from them. */
		volatile char *heap = mmap(0, HEAP, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		for (int at = 0; at < HEAP; at += BYTES)
			heap[at] = 1;
		munmap((void *)heap, HEAP);
		for (; *head != __atomic_load_n((unsigned *)(cq + p.cq_off.tail), __ATOMIC_ACQUIRE); done++) {
			struct io_uring_cqe *cqes = (struct io_uring_cqe *)(cq + p.cq_off.cqes);

			sum += cqes[*head & (p.cq_entries - 1)].res;
			__atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
		}
	}
	close(ring);
	return sum;
}

int main(int count, char **words)
{
	int file = open(words[1], O_RDONLY), rings = atoi(words[2]);
	static char buffer[BYTES];
	long sum = 0;

	if (count != 3 || file < 0)
		fail("open");
	if (posix_fadvise(file, 0, 0, POSIX_FADV_RANDOM))
		fail("posix_fadvise");
	for (int ring = 0; ring < rings; ring++)
		sum += read_places(file, (long)ring * READS, buffer);
	printf("%ld\n", sum);
	return 0;
}
