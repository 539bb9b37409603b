/*
 * Makes the calls of a 32-bit program, by the entry that a 64-bit one may use too. Prints the number of calls on the file, and
 * the bytes read and written.
 *
 *     compat FILE
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* arch/x86/entry/syscalls/syscall_32.tbl */
enum { READ = 3, WRITE = 4, OPEN = 5, CLOSE = 6, FSYNC = 118, WRITEV = 146, PREAD = 180, PIPE = 42 };

static long call(long number, long first, long second, long third, long fourth, long fifth)
{
	long result;

	asm volatile("int $0x80" : "=a"(result) : "a"(number), "b"(first), "c"(second), "d"(third), "S"(fourth), "D"(fifth)
		     : "memory", "r8", "r9", "r10", "r11");
	return result;
}

int main(int argc, char **argv)
{
	char *low = mmap(0, 1 << 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	unsigned *vector = (unsigned *)(low + 4096);
	long file, calls = 0, read = 0, written = 0;
	char *data = low + 8192;
	int ends[2];

	if (argc < 2 || low == MAP_FAILED || pipe(ends))
		return 1;
	strcpy(low, argv[1]);
	memset(data, 'x', 4096);
	file = call(OPEN, (long)low, O_RDWR, 0, 0, 0);
	if (file < 0)
		return 2;
	calls++;
	for (int i = 0; i < 10; i++, calls++)
		written += call(WRITE, file, (long)data, 4096, 0, 0);
	vector[0] = vector[2] = (unsigned)(long)data;
	vector[1] = vector[3] = 1024;
	written += call(WRITEV, file, (long)vector, 2, 0, 0);
	read += call(PREAD, file, (long)data, 4096, 4096, 0);
	read += call(PREAD, file, (long)data, 512, 0, 0);
	calls += 3;
	call(FSYNC, file, 0, 0, 0, 0);
	call(CLOSE, file, 0, 0, 0, 0);
	calls++;
	/* On no file. */
	call(WRITE, ends[1], (long)data, 100, 0, 0);
	call(READ, ends[0], (long)data, 100, 0, 0);
	printf("%ld %ld %ld\n", calls, read, written);
	return 0;
}
