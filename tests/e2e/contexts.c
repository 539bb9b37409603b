/*
 * Uses Linux aio in every way that the kernel allows. Prints bytes and operations, as reported by the events.
 *
 *     contexts WHAT FILE N [CONTEXT]
 *
 * The file must exist, with 4096 bytes for each operation; CONTEXT is the capacity of the context in operations.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { BLOCK = 4096 };

/* fs/aio.c */
struct ring {
	unsigned id, nr, head, tail, magic, compat_features, incompat_features, header_length;
	struct io_event events[];
};

static aio_context_t context;
static long bytes, operations;

static void check(long result, const char *what)
{
	if (result < 0) {
		perror(what);
		exit(1);
	}
}

static void count(struct io_event *event)
{
	bytes += event->res;
	operations++;
}

/* By the call, or from memory if the program reads the ring itself. */
static void reap(long wanted, int from_memory)
{
	struct ring *ring = (struct ring *)context;
	struct io_event events[512];
	long got;

	while (wanted && from_memory) {
		unsigned head = ring->head;

		if (head == __atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE))
			continue;
		count(&ring->events[head]);
		__atomic_store_n(&ring->head, (head + 1) % ring->nr, __ATOMIC_RELEASE);
		wanted--;
	}
	while (wanted) {
		got = syscall(SYS_io_getevents, context, 1L, wanted < 512 ? wanted : 512L, events, 0);
		check(got, "io_getevents");
		for (long i = 0; i < got; i++)
			count(&events[i]);
		wanted -= got;
	}
}

int main(int argc, char **argv)
{
	int file = argc > 3 ? open(argv[2], O_RDWR | O_DIRECT) : -1, append;
	long number = argc > 3 ? atol(argv[3]) : 0, depth = argc > 4 ? atol(argv[4]) : number, done = 0, taken;
	int from_memory = argc > 1 && !strcmp(argv[1], "from-memory");
	struct iocb *iocbs, **pointers;
	char *buffer;

	if (file < 0 || posix_memalign((void **)&buffer, BLOCK, BLOCK))
		return 1;
	if (!strcmp(argv[1], "refused")) {
		/* Neither a context nor a request: the kernel accepts nothing. */
		printf("%ld\n", syscall(SYS_io_submit, 0L, -1L, (void *)0));
		return 0;
	}
	check(syscall(SYS_io_setup, depth, &context), "io_setup");
	iocbs = calloc(number, sizeof(*iocbs));
	pointers = calloc(number, sizeof(*pointers));
	append = open(argv[2], O_WRONLY | O_APPEND);
	for (long i = 0; i < number; i++) {
		int appends = !strcmp(argv[1], "append");

		iocbs[i] = (struct iocb){ .aio_fildes = appends ? append : file, .aio_buf = (long)buffer, .aio_nbytes = BLOCK,
					  .aio_lio_opcode = appends ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD,
					  .aio_offset = appends ? 0 : i * BLOCK };
		pointers[i] = &iocbs[i];
	}
	/* The same iocb again, while it is in flight. */
	if (!strcmp(argv[1], "again"))
		for (long i = 1; i < number; i++)
			pointers[i] = &iocbs[0];
	while (done < number) {
		taken = syscall(SYS_io_submit, context, number - done, pointers + done);
		check(taken, "io_submit");
		done += taken;
		if (strcmp(argv[1], "again") || done == number)
			reap(strcmp(argv[1], "again") ? taken : number, from_memory);
	}
	printf("%ld %ld\n", bytes, operations);
	return 0;
}
