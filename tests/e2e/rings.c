/*
 * io_uring rings with operations that end in every way that the kernel has. Prints bytes read, bytes written, operations and, of
 * these, failures, as reported by the completions.
 *
 *     rings WHAT FILE N
 *
 * The file must exist, with 4096 bytes for each operation. Links against liburing.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <liburing.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <unistd.h>

enum { BLOCK = 4096, READV_FIXED = 60, WRITEV_FIXED = 61 };

static struct io_uring ring;
static long bytes_read, bytes_written, operations, failures;

static void check(long result, const char *what)
{
	if (result < 0) {
		fprintf(stderr, "%s: %s\n", what, strerror((int)-result));
		exit(1);
	}
}

static struct io_uring_sqe *next(void)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);

	while (!sqe) {
		check(io_uring_submit(&ring), "submit");
		if (ring.flags & IORING_SETUP_SQPOLL)
			check(io_uring_sqring_wait(&ring), "wait for room");
		sqe = io_uring_get_sqe(&ring);
	}
	return sqe;
}

static long reap(long *sum)
{
	struct io_uring_cqe *cqe;
	long result;

	check(io_uring_wait_cqe(&ring, &cqe), "wait");
	result = cqe->res;
	io_uring_cqe_seen(&ring, cqe);
	check(result, "completion");
	*sum += result;
	operations++;
	return result;
}

static void start(unsigned entries, unsigned flags, unsigned completions)
{
	struct io_uring_params params = { .flags = flags | (completions ? IORING_SETUP_CQSIZE : 0), .cq_entries = completions,
					  .sq_thread_idle = 1000 };

	check(io_uring_queue_init_params(entries, &ring, &params), "init");
}

/* All of them in flight at once. */
static void deep(int file, char *buffer, int count, unsigned char flags)
{
	struct io_uring_sqe *sqe;

	for (int i = 0; i < count; i++) {
		sqe = next();
		io_uring_prep_read(sqe, file, buffer, BLOCK, (long)i * BLOCK);
		io_uring_sqe_set_flags(sqe, flags);
	}
	check(io_uring_submit(&ring), "submit");
	for (int i = 0; i < count; i++)
		reap(&bytes_read);
}

/* More completions than the ring has room for; then writes, with requests at the addresses of the reads'. */
static void overflow(int file, char *buffer, int count)
{
	start(8, 0, 16);
	for (int i = 0; i < count; i++) {
		io_uring_prep_read(next(), file, buffer, BLOCK, (long)i * BLOCK);
		check(io_uring_submit(&ring), "submit");
	}
	for (int i = 0; i < count; i++)
		reap(&bytes_read);
	for (int i = 0; i < count; i++) {
		io_uring_prep_write(next(), file, buffer, 512, (long)i * 512);
		check(io_uring_submit(&ring), "submit");
		reap(&bytes_written);
	}
}

/* Writes that request no completion; the fsync that waits for them has one. */
static void skip(int file, char *buffer, int count)
{
	struct io_uring_sqe *sqe;
	long none = 0;

	start(64, 0, 0);
	for (int i = 0; i < count; i++) {
		sqe = next();
		io_uring_prep_write(sqe, file, buffer, BLOCK, (long)i * BLOCK);
		io_uring_sqe_set_flags(sqe, IOSQE_CQE_SKIP_SUCCESS | IOSQE_IO_LINK);
		bytes_written += BLOCK;
		sqe = next();
		io_uring_prep_fsync(sqe, file, IORING_FSYNC_DATASYNC);
		check(io_uring_submit(&ring), "submit");
		reap(&none);
	}
}

static void multishot(int count)
{
	unsigned long long one = 1, value;
	int event = eventfd(0, EFD_NONBLOCK);
	long sum = 0;

	start(64, 0, 0);
	io_uring_prep_poll_multishot(next(), event, POLLIN);
	check(io_uring_submit(&ring), "submit");
	for (int i = 0; i < count; i++) {
		check(write(event, &one, sizeof(one)), "write");
		reap(&sum);
		check(read(event, &value, sizeof(value)), "read");
	}
}

/* To the end of a file, by each notation for it. */
static void append(const char *path, char *buffer, int count)
{
	int file = open(path, O_WRONLY | O_APPEND), other = open(path, O_WRONLY);
	struct io_uring_sqe *sqe;

	start(8, 0, 0);
	for (int i = 0; i < count; i++) {
		sqe = next();
		io_uring_prep_write(sqe, i % 2 ? file : other, buffer, BLOCK, i % 2 ? -1 : 0);
		if (i % 2 == 0)
			sqe->rw_flags = RWF_APPEND;
		check(io_uring_submit(&ring), "submit");
		reap(&bytes_written);
	}
}

static void splice_out_and_in(int file, int count)
{
	int ends[2];

	check(pipe(ends), "pipe");
	start(8, 0, 0);
	for (int i = 0; i < count; i++) {
		io_uring_prep_splice(next(), file, (long)i * BLOCK, ends[1], -1, BLOCK, 0);
		check(io_uring_submit(&ring), "submit");
		reap(&bytes_read);
		io_uring_prep_splice(next(), ends[0], -1, file, (long)i * BLOCK, BLOCK, 0);
		check(io_uring_submit(&ring), "submit");
		reap(&bytes_written);
	}
}

/* Vectors of a registered buffer; Linux 6.15. */
static void vectors_of_registered(int file, char *buffer, int count)
{
	struct iovec all = { buffer, 2 * BLOCK }, parts[2] = { { buffer, BLOCK / 2 }, { buffer + BLOCK, BLOCK / 2 } };
	struct io_uring_sqe *sqe;

	start(8, 0, 0);
	check(io_uring_register_buffers(&ring, &all, 1), "register");
	for (int i = 0; i < count; i++) {
		sqe = next();
		io_uring_prep_rw(i % 2 ? WRITEV_FIXED : READV_FIXED, sqe, file, parts, 2, (long)i * BLOCK);
		sqe->buf_index = 0;
		check(io_uring_submit(&ring), "submit");
		reap(i % 2 ? &bytes_written : &bytes_read);
	}
}

/* A completion without bytes, or with an error, counts as an operation of no bytes. */
static void reap_any(void)
{
	struct io_uring_cqe *cqe;

	check(io_uring_wait_cqe(&ring, &cqe), "wait");
	if (cqe->user_data) {
		operations++;
		bytes_read += cqe->res > 0 ? cqe->res : 0;
		failures += cqe->res < 0;
	}
	io_uring_cqe_seen(&ring, cqe);
}

static void named_read(int file, char *buffer, long place, long name, unsigned char flags)
{
	struct io_uring_sqe *sqe = next();

	io_uring_prep_read(sqe, file, buffer, BLOCK, place);
	io_uring_sqe_set_flags(sqe, flags);
	io_uring_sqe_set_data64(sqe, name);
}

/*
 * Chains of four reads. The third reads at the end of the file, which breaks the chain: the fourth is cancelled before it begins.
 */
static void linked(int file, char *buffer, int count)
{
	long end = lseek(file, 0, SEEK_END);

	start(64, 0, 0);
	for (int i = 0; i < count; i++) {
		for (int link = 0; link < 4; link++)
			named_read(file, buffer, link == 2 ? end : (long)i * BLOCK, 1, link < 3 ? IOSQE_IO_LINK : 0);
		check(io_uring_submit(&ring), "submit");
		for (int link = 0; link < 4; link++)
			reap_any();
	}
}

/* Reads that wait for one worker, and are cancelled while they wait: some have begun by then. The longest waiting ones first. */
static void cancelled_once(int file, char *buffer, int count)
{
	struct io_uring_sqe *sqe;
	long done = operations;

	for (int i = 0; i < count; i++)
		named_read(file, buffer, (long)i * BLOCK, i + 1, IOSQE_ASYNC);
	check(io_uring_submit(&ring), "submit");
	for (int i = count; i > 0; i--) {
		sqe = next();
		io_uring_prep_cancel64(sqe, i, 0);
		io_uring_sqe_set_data64(sqe, 0);
		check(io_uring_submit(&ring), "submit");
	}
	while (operations < done + count)
		reap_any();
}

/* Repeated until some were cancelled: a worker alone on its CPU may complete all of them before the first cancellation. */
static void cancelled(int file, char *buffer, int count)
{
	unsigned workers[2] = { 1, 1 };

	start(4096, 0, 8192);
	check(io_uring_register_iowq_max_workers(&ring, workers), "workers");
	while (!failures)
		cancelled_once(file, buffer, count);
}

/* A read that stays in flight, on something that is no file. */
static void pending_read_of_eventfd(char *buffer)
{
	start(8, 0, 0);
	io_uring_prep_read(next(), eventfd(0, 0), buffer, 8, 0);
	check(io_uring_submit(&ring), "submit");
}

int main(int argc, char **argv)
{
	int count = argc > 3 ? atoi(argv[3]) : 0;
	const char *what = argc > 2 ? argv[1] : "";
	int file = argc > 2 ? open(argv[2], O_RDWR | (strstr(what, "direct") ? O_DIRECT : 0)) : -1;
	char *buffer;

	if (file < 0 || posix_memalign((void **)&buffer, BLOCK, 2 * BLOCK))
		return 1;
	memset(buffer, 1, 2 * BLOCK);
	if (!strcmp(what, "direct-deep")) {
		start(32768, 0, 0);
		deep(file, buffer, count, 0);
	} else if (!strcmp(what, "direct-workers")) {
		start(64, 0, 4096);
		deep(file, buffer, count, IOSQE_ASYNC);
	} else if (!strcmp(what, "direct-polled")) {
		start(64, IORING_SETUP_SQPOLL, 65536);
		deep(file, buffer, count, 0);
	} else if (!strcmp(what, "direct-polled-workers")) {
		start(64, IORING_SETUP_SQPOLL, 4096);
		deep(file, buffer, count, IOSQE_ASYNC);
	} else if (!strcmp(what, "overflow")) {
		overflow(file, buffer, count);
	} else if (!strcmp(what, "skip")) {
		skip(file, buffer, count);
	} else if (!strcmp(what, "multishot")) {
		multishot(count);
	} else if (!strcmp(what, "append")) {
		append(argv[2], buffer, count);
	} else if (!strcmp(what, "splice")) {
		splice_out_and_in(file, count);
	} else if (!strcmp(what, "vectors")) {
		vectors_of_registered(file, buffer, count);
	} else if (!strcmp(what, "linked")) {
		linked(file, buffer, count);
	} else if (!strcmp(what, "direct-cancelled")) {
		cancelled(file, buffer, count);
	} else if (!strcmp(what, "eventfd")) {
		pending_read_of_eventfd(buffer);
	} else {
		return 1;
	}
	printf("%ld %ld %ld %ld\n", bytes_read, bytes_written, operations, failures);
	return 0;
}
