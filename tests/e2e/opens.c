/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Opens a file by each of the calls for it. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int count, char **words)
{
	struct file_handle *handle = malloc(sizeof(*handle) + MAX_HANDLE_SZ);
	struct open_how how = { .flags = O_RDONLY };
	char *name = words[1];
	int mount, files[5];

	if (count != 2 || !handle)
		return 2;
	files[0] = syscall(SYS_creat, name, 0600);
	files[1] = syscall(SYS_open, name, O_RDONLY, 0);
	files[2] = syscall(SYS_openat, AT_FDCWD, name, O_RDONLY, 0);
	files[3] = syscall(SYS_openat2, AT_FDCWD, name, &how, sizeof(how));
	handle->handle_bytes = MAX_HANDLE_SZ;
	if (name_to_handle_at(AT_FDCWD, name, handle, &mount, 0))
		return 3;
	files[4] = open_by_handle_at(files[1], handle, O_RDONLY);
	for (int i = 0; i < 5; i++)
		if (files[i] < 0 || close(files[i]))
			return 4;
	return 0;
}
