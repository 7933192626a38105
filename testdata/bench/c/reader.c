/* reader - the least that counting processes by owner can cost: for each, open stat,
   read it, close it, and stat the directory. Prints how many there are. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int main(void)
{
	DIR *proc = opendir("/proc");
	int dir, n = 0;
	unsigned long sum = 0;

	if (!proc)
		return 1;
	dir = dirfd(proc);
	for (struct dirent *entry; (entry = readdir(proc));) {
		char path[300], text[1024];
		struct stat owner;
		int fd;

		if (entry->d_name[0] < '1' || entry->d_name[0] > '9')
			continue;
		stpcpy(stpcpy(path, entry->d_name), "/stat");
		if (fstatat(dir, entry->d_name, &owner, 0) || (fd = openat(dir, path, O_RDONLY)) < 0)
			continue;
		if (read(fd, text, sizeof text) > 0) {
			n++;
			sum += owner.st_uid;
		}
		close(fd);
	}
	printf("%d %lu\n", n, sum);
	return 0;
}
