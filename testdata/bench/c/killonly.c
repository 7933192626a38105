/* killonly NAME UID - kills the processes called NAME of UID, each as soon as it is seen,
   in a loop without a pause: the fastest way to end a storm without stopping it first.
   It runs until it is killed. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int argc, char **argv) {
	if (argc != 3) {
		fputs("usage: killonly NAME UID\n", stderr);
		return 2;
	}
	uid_t uid = atoi(argv[2]);
	size_t length = strlen(argv[1]);
	DIR *proc = opendir("/proc");
	if (!proc) {
		perror("killonly: /proc");
		return 1;
	}
	for (;; rewinddir(proc))
		for (struct dirent *entry; (entry = readdir(proc));) {
			char path[300], comm[64];
			struct stat owner;
			if (entry->d_name[0] < '1' || entry->d_name[0] > '9' || fstatat(dirfd(proc), entry->d_name, &owner, 0) || owner.st_uid != uid) continue;
			stpcpy(stpcpy(path, entry->d_name), "/comm");
			int fd = openat(dirfd(proc), path, O_RDONLY);
			if (fd < 0) continue;
			ssize_t n = read(fd, comm, sizeof comm);
			close(fd);
			if (n == (ssize_t)length + 1 && !memcmp(comm, argv[1], length)) kill(atoi(entry->d_name), SIGKILL);
		}
}
