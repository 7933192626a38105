/* storm NAME UID LIMIT SIZE INTERVAL SECONDS - a process storm: SIZE processes called
   NAME under UID, which may have LIMIT of them, and each of which starts another every
   INTERVAL milliseconds: 0 without pause, -1 never. Prints a line when SIZE are there.
   None begins before that, and all end SECONDS after it. Run it in a PID namespace. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long interval, size;
static volatile long *there, *end; /* shared by all */

static long now(void) { /* ms */
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void live(void) {
	long left = (*end - now()) / 1000;
	alarm(left > 0 ? left : 1); /* a child doesn't inherit it */
	if (interval < 0)
		for (;;) pause();
	for (;;) {
		if (interval > 0) poll(0, 0, interval);
		if (now() >= *end) _exit(0);
		if (fork() == 0) {
			__atomic_add_fetch(there, 1, __ATOMIC_RELAXED);
			live();
		}
	}
}

int main(int argc, char **argv) {
	if (argc != 7) {
		fputs("usage: storm NAME UID LIMIT SIZE INTERVAL SECONDS\n", stderr);
		return 2;
	}
	struct rlimit limit = {atol(argv[3]), atol(argv[3])};
	uid_t uid = atoi(argv[2]);
	size = atol(argv[4]);
	interval = atol(argv[5]);
	int begin[2]; /* at its end when all are there */
	there = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	end = there + 1;
	signal(SIGCHLD, SIG_IGN); /* no zombies but those of who has died before */
	if (there == MAP_FAILED || pipe(begin) || setrlimit(RLIMIT_NPROC, &limit) || setresgid(uid, uid, uid) || setresuid(uid, uid, uid)) {
		perror("storm");
		return 1;
	}
	setpgid(0, 0); /* killstorm spares its own group */
	prctl(PR_SET_NAME, argv[1]);
	for (long n = 0; n < size; n++) {
		pid_t pid = fork();
		if (pid == 0) {
			__atomic_add_fetch(there, 1, __ATOMIC_RELAXED);
			close(begin[1]);
			char byte;
			if (read(begin[0], &byte, 1) != 0) _exit(1);
			close(begin[0]);
			live();
		}
		if (pid < 0) {
			if (errno != EAGAIN) break;
			__atomic_add_fetch(there, 1, __ATOMIC_RELAXED); /* the limit is reached */
		}
	}
	while (*there < size) poll(0, 0, 20);
	*end = now() + 1000 * atol(argv[6]);
	close(begin[0]);
	close(begin[1]);
	puts("ready");
	fflush(stdout);
	return 0;
}
