/* Two processes that read a byte of the file FILE from the page cache repeatedly, until a signal ends them: storm FILE */
#include <fcntl.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	int file = argc == 2 ? open(argv[1], O_RDONLY) : -1;
	char byte;

	if (file < 0 || fork() < 0)
		return 1;
	while (pread(file, &byte, 1, 0) == 1)
		;
	return 1;
}
