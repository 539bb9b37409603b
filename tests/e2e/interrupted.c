/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * interrupted FILE FLAGS INTERRUPTIONS: splices five bytes from a pipe, which arrive after 400 ms, to FILE, while a timer interrupts it
 * INTERRUPTIONS times. FLAGS: `restart`, `end` or `work`: after the handler the call restarts, or ends, or restarts after the handler has
 * written to the file too. Prints the return value of the call, the number of attempts, and the duration.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int file, works, left;

static void interrupt(int number)
{
	if (works && pwrite(file, "handler", 7, 4096) != 7)
		_exit(3);
	if (--left <= 0)
		setitimer(ITIMER_REAL, &(struct itimerval){}, 0);
}

static long now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

int main(int count, char **words)
{
	struct itimerval each = { { 0, 50000 }, { 0, 50000 } };
	struct sigaction action = { .sa_handler = interrupt };
	int ends[2], status;

	if (count != 4 || pipe(ends))
		return 2;
	file = open(words[1], O_WRONLY | O_CREAT, 0600);
	works = !strcmp(words[2], "work");
	left = atoi(words[3]);
	action.sa_flags = strcmp(words[2], "end") ? SA_RESTART : 0;
	sigaction(SIGALRM, &action, 0);
	if (!fork()) {
		close(ends[0]);
		usleep(400000);
		_exit(write(ends[1], "hello", 5) != 5);
	}
	long began = now(), done, calls = 0;

	setitimer(ITIMER_REAL, &each, 0);
	do {
		done = splice(ends[0], 0, file, 0, 5, 0);
		calls++;
	} while (done < 0 && errno == EINTR);
	setitimer(ITIMER_REAL, &(struct itimerval){}, 0);
	printf("%ld %ld %ld\n", done, calls, now() - began);
	return wait(&status) < 0 || status;
}
