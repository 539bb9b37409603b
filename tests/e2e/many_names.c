/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * many_names N DIRECTORY NAME_BYTES BYTE: N times a thread with a unique name creates, writes and removes a file with a unique name of
 * NAME_BYTES bytes, most of which are BYTE (a number).
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

int main(int count, char **given)
{
	char name[256] = {}, number[16];
	int length;

	if (count != 5 || chdir(given[2]))
		return 2;
	length = atoi(given[3]);
	if (length < 10 || length > 255)
		return 2;
	memset(name, atoi(given[4]), length);
	for (int left = atoi(given[1]); left > 0; left--) {
		int file;

		snprintf(number, sizeof(number), "%09d", left);
		memcpy(name, number, 9);
		if (prctl(PR_SET_NAME, number))
			return 1;
		file = open(name, O_WRONLY | O_CREAT | O_EXCL, 0600);
		if (file < 0 || write(file, number, 9) != 9 || close(file) || unlink(name))
			return 1;
	}
	return 0;
}
