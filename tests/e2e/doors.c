/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Makes calls on files of types that look like regular ones by their mode, as far as this kernel has them, and prints the type and the
 * inode number of each.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <mqueue.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static void use(const char *name, int file)
{
	struct stat status;
	char bytes[64];

	if (file < 0 || fstat(file, &status))
		return;
	/* Their success does not matter. */
	(void)!read(file, bytes, sizeof(bytes));
	(void)!ftruncate(file, 4096);
	(void)!fsync(file);
	printf("%s %lu\n", name, (unsigned long)status.st_ino);
}

int main(void)
{
	struct mq_attr attributes = { .mq_maxmsg = 1, .mq_msgsize = 8 };
	int secret = syscall(447, 0); /* memfd_secret(2) */
	char name[32];

	snprintf(name, sizeof(name), "/doors-%d", getpid());
	use("pidfd", syscall(SYS_pidfd_open, getpid(), 0));
	use("mqueue", mq_open(name, O_RDWR | O_CREAT | O_NONBLOCK, 0600, &attributes));
	mq_unlink(name);
	use("memfd", memfd_create("memory", 0));
	use("secretmem", secret);
	use("eventfd", eventfd(0, EFD_NONBLOCK));
	use("epoll", epoll_create1(0));
	if (secret >= 0) {
		char *memory = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, secret, 0);

		if (memory != MAP_FAILED)
			memory[0] = 1;
	}
	return 0;
}
