/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * thread_exec N FILE: N times a thread other than the first one reads a little of the file and then executes this program again. Its thread
 * ID disappears by that, and no tracepoint reports an end.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char **words;
static int left;

static void *run(void *unused)
{
	char number[16], bytes[16];
	int file = open(words[2], O_RDONLY);

	if (file < 0 || read(file, bytes, sizeof(bytes)) != sizeof(bytes) || close(file))
		_exit(1);
	snprintf(number, sizeof(number), "%d", left - 1);
	execv("/proc/self/exe", (char *[]){ words[0], number, words[2], 0 });
	_exit(1);
}

int main(int count, char **given)
{
	pthread_t thread;

	if (count != 3)
		return 2;
	words = given;
	left = atoi(words[1]);
	if (left <= 0)
		return 0;
	if (pthread_create(&thread, 0, run, 0))
		return 1;
	pthread_join(thread, 0);
	return 1;
}
