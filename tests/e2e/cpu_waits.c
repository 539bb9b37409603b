// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Only makes calls on a file, on a CPU shared with two busy loops, and prints the kernel's wait time for this CPU in the meantime:
 * /proc/thread-self/schedstat has the nanoseconds on a CPU and in its run queue, and the number of times on the CPU.
 *
 *   cpu_waits sync|read FILE CALLS
 *
 * sync: CALLS times a write of 4 KiB and fdatasync. read: CALLS times a read of the whole file.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LOOPS = 2, BLOCK = 4096 };

struct waits {
	unsigned long long on_cpu_ns, waited_ns, times;
};

static struct waits look(void)
{
	struct waits waits;
	FILE *file = fopen("/proc/thread-self/schedstat", "r");

	if (!file || fscanf(file, "%llu %llu %llu", &waits.on_cpu_ns, &waits.waited_ns, &waits.times) != 3)
		err(1, "/proc/thread-self/schedstat");
	fclose(file);
	return waits;
}

static pid_t loop(void)
{
	pid_t pid = fork();

	if (pid < 0)
		err(1, "fork");
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (volatile int turn = 0;;)
		turn++;
}

int main(int argc, char **argv)
{
	struct waits before, after;
	pid_t loops[LOOPS];
	struct stat stat;
	cpu_set_t cpus;
	char *buffer;
	long calls;
	int fd;

	if (argc != 4 || (fd = open(argv[2], O_RDWR | O_CREAT, 0644)) < 0 || fstat(fd, &stat))
		err(2, "usage: cpu_waits sync|read FILE CALLS");
	calls = atol(argv[3]);
	buffer = calloc(1, stat.st_size > BLOCK ? stat.st_size : BLOCK);
	CPU_ZERO(&cpus);
	CPU_SET(0, &cpus);
	if (!buffer || sched_setaffinity(0, sizeof(cpus), &cpus))
		err(1, "sched_setaffinity");
	for (int i = 0; i < LOOPS; i++)
		loops[i] = loop();
	before = look();
	for (long i = 0; i < calls; i++) {
		if (!strcmp(argv[1], "read")) {
			if (pread(fd, buffer, stat.st_size, 0) != stat.st_size)
				err(1, "read");
		} else if (pwrite(fd, buffer, BLOCK, (i % 64) * BLOCK) != BLOCK || fdatasync(fd)) {
			err(1, "fdatasync");
		}
	}
	after = look();
	for (int i = 0; i < LOOPS; i++) {
		kill(loops[i], SIGKILL);
		waitpid(loops[i], 0, 0);
	}
	printf("%llu %llu\n", after.waited_ns - before.waited_ns, after.times - before.times);
	return 0;
}
