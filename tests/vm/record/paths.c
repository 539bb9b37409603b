// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Payload: does I/O by the path that its name states, on the file in its first argument. One program under many names, so that
 * command names distinguish the paths. No library: aio and io_uring by their system calls. If ACCOUNT names a file, the process's
 * /proc/self/io is written to it at the end.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/io_uring.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { CHUNK = 64 << 10, CHUNKS = 8, BYTES = CHUNK * CHUNKS, APPENDS = 100, PAGE = 4096 };

static char *buffer;

static int open_file(const char *path, int flags)
{
	int fd = open(path, O_RDWR | O_CREAT | flags, 0644);

	if (fd < 0)
		err(1, "%s", path);
	return fd;
}

static void expect(const char *what, long is, long wanted)
{
	if (is != wanted)
		errx(1, "%s: %ld in place of %ld: %s", what, is, wanted, is < 0 ? strerror(is == -1 ? errno : -is) : "");
}

/* All chunks at once, first written, then read. */
static void do_aio(const char *path)
{
	int fd = open_file(path, O_DIRECT);
	struct iocb blocks[CHUNKS], *list[CHUNKS];
	struct io_event events[CHUNKS];
	aio_context_t context = 0;

	expect("io_setup", syscall(SYS_io_setup, CHUNKS, &context), 0);
	for (int pass = 0; pass < 2; pass++) {
		memset(blocks, 0, sizeof(blocks));
		for (int i = 0; i < CHUNKS; i++) {
			blocks[i].aio_lio_opcode = pass ? IOCB_CMD_PREAD : IOCB_CMD_PWRITE;
			blocks[i].aio_fildes = fd;
			blocks[i].aio_buf = (unsigned long)buffer + (unsigned long)i * CHUNK;
			blocks[i].aio_nbytes = CHUNK;
			blocks[i].aio_offset = (long long)i * CHUNK;
			list[i] = &blocks[i];
		}
		expect("io_submit", syscall(SYS_io_submit, context, CHUNKS, list), CHUNKS);
		expect("io_getevents", syscall(SYS_io_getevents, context, CHUNKS, CHUNKS, events, 0), CHUNKS);
		for (int i = 0; i < CHUNKS; i++)
			expect("aio", events[i].res, CHUNK);
	}
}

/* The same with a fixed file, and every other operation vectored. */
static void do_uring(const char *path)
{
	int fd = open_file(path, O_DIRECT), ring;
	struct io_uring_params params = {0};
	struct iovec vectors[CHUNKS];
	struct io_uring_sqe *entries;
	unsigned *tail, *indexes;
	char *submissions, *completions;

	ring = syscall(SYS_io_uring_setup, CHUNKS, &params);
	if (ring < 0)
		err(1, "io_uring_setup");
	expect("io_uring_register", syscall(SYS_io_uring_register, ring, IORING_REGISTER_FILES, &fd, 1), 0);
	submissions = mmap(0, params.sq_off.array + params.sq_entries * sizeof(unsigned), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
			   ring, IORING_OFF_SQ_RING);
	completions = mmap(0, params.cq_off.cqes + params.cq_entries * sizeof(struct io_uring_cqe), PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_POPULATE, ring, IORING_OFF_CQ_RING);
	entries = mmap(0, params.sq_entries * sizeof(*entries), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring, IORING_OFF_SQES);
	if (submissions == MAP_FAILED || completions == MAP_FAILED || entries == MAP_FAILED)
		err(1, "mmap of a ring");
	tail = (unsigned *)(submissions + params.sq_off.tail);
	indexes = (unsigned *)(submissions + params.sq_off.array);
	for (int pass = 0; pass < 2; pass++) {
		struct io_uring_cqe *done = (struct io_uring_cqe *)(completions + params.cq_off.cqes) + pass * CHUNKS;

		for (int i = 0; i < CHUNKS; i++) {
			struct io_uring_sqe *entry = &entries[i];

			vectors[i] = (struct iovec){ buffer + (long)i * CHUNK, CHUNK };
			memset(entry, 0, sizeof(*entry));
			entry->flags = IOSQE_FIXED_FILE;
			entry->off = (long long)i * CHUNK;
			if (i % 2) {
				entry->opcode = pass ? IORING_OP_READV : IORING_OP_WRITEV;
				entry->addr = (unsigned long)&vectors[i];
				entry->len = 1;
			} else {
				entry->opcode = pass ? IORING_OP_READ : IORING_OP_WRITE;
				entry->addr = (unsigned long)vectors[i].iov_base;
				entry->len = CHUNK;
			}
			indexes[i] = i;
		}
		__atomic_store_n(tail, *tail + CHUNKS, __ATOMIC_RELEASE);
		expect("io_uring_enter", syscall(SYS_io_uring_enter, ring, CHUNKS, CHUNKS, IORING_ENTER_GETEVENTS, 0, 0), CHUNKS);
		for (int i = 0; i < CHUNKS; i++)
			expect("io_uring", done[i].res, CHUNK);
		/* The completion ring has room for both passes. */
		__atomic_store_n((unsigned *)(completions + params.cq_off.head), (pass + 1) * CHUNKS, __ATOMIC_RELEASE);
	}
}

static void do_mapped(const char *path, int sync)
{
	int fd = open_file(path, 0);
	char *mapped;

	expect("ftruncate", ftruncate(fd, BYTES), 0);
	mapped = mmap(0, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (mapped == MAP_FAILED)
		err(1, "mmap of %s", path);
	memset(mapped, 'm', BYTES);
	if (sync)
		expect("msync", msync(mapped, BYTES, MS_SYNC), 0);
}

static void do_copy(const char *path, const char *source, int by_sendfile)
{
	int to = open_file(path, 0), from = open_file(source, 0);
	/* Not at the start of a block, so that no file system shares the blocks instead of copying. */
	off_t at = 1;

	for (long left = BYTES, done; left; left -= done) {
		done = by_sendfile ? sendfile(to, from, &at, left) : copy_file_range(from, &at, to, 0, left, 0);
		if (done <= 0)
			err(1, "copy from %s to %s", source, path);
	}
}

static void do_append(const char *path)
{
	int fd = open_file(path, O_APPEND);

	for (int i = 0; i < APPENDS; i++) {
		expect("write", write(fd, buffer, PAGE), PAGE);
		expect("fsync", fsync(fd), 0);
	}
}

/* Writes the kernel's I/O counters of this process to the file named in the environment. */
static void tell_account(void)
{
	const char *path = getenv("ACCOUNT");
	char account[1024];
	long length;
	int from, to;

	if (!path)
		return;
	from = open("/proc/self/io", O_RDONLY);
	to = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	if (from < 0 || to < 0)
		err(1, "%s", from < 0 ? "/proc/self/io" : path);
	length = read(from, account, sizeof(account));
	expect("write of the account", write(to, account, length), length);
}

int main(int argc, char **argv)
{
	const char *name = strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : argv[0];

	if (argc < 2 || posix_memalign((void **)&buffer, PAGE, BYTES))
		errx(2, "usage: %s FILE [SOURCE]", name);
	memset(buffer, 'x', BYTES);
	if (!strcmp(name, "aio"))
		do_aio(argv[1]);
	else if (!strcmp(name, "uring"))
		do_uring(argv[1]);
	else if (!strcmp(name, "mapped"))
		do_mapped(argv[1], 1);
	else if (!strcmp(name, "unsynced"))
		do_mapped(argv[1], 0);
	else if (!strcmp(name, "sender") && argc > 2)
		do_copy(argv[1], argv[2], 1);
	else if (!strcmp(name, "copier") && argc > 2)
		do_copy(argv[1], argv[2], 0);
	else if (!strcmp(name, "appender"))
		do_append(argv[1]);
	else
		errx(2, "%s: not a way of doing I/O that is known here, or a source is missing", name);
	tell_account();
	return 0;
}
