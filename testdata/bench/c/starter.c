/* starter UID RATE SECONDS PROGRAM - starts PROGRAM, or for "" processes that end at
   once, under UID, RATE times a second for SECONDS, or as often as it can, and waits
   for each. Prints how many it has started. It is its own session's leader, may have 64
   processes at a time, and never outlives its time. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	long count = 0;

	if (argc != 5)
		return 2;
	uid_t uid = atoi(argv[1]);
	double rate = atof(argv[2]), seconds = atof(argv[3]);
	int execs = argv[4][0] != 0;
	if (setsid() < 0 || setrlimit(RLIMIT_NPROC, &(struct rlimit){64, 64}) || setresgid(uid, uid, uid) || setresuid(uid, uid, uid)) {
		perror("starter");
		return 1;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	alarm((unsigned)seconds + 2); /* children of execve(2) keep it, others have their own */
	double start = now();
	while (now() < start + seconds) {
		if (count >= (now() - start) * rate) {
			usleep(1000);
			while (waitpid(-1, 0, WNOHANG) > 0)
				;
			continue;
		}
		pid_t pid = vfork(); /* fork would copy page tables: no 10,000 a second */
		if (pid == 0) {
			if (execs)
				execl(argv[4], argv[4], (char *)0);
			_exit(0);
		}
		if (pid > 0)
			count++;
		else if (errno != EAGAIN) {
			perror("starter");
			return 1;
		}
		while (waitpid(-1, 0, pid > 0 ? WNOHANG : 0) > 0)
			;
	}
	while (wait(0) > 0)
		;
	printf("%ld\n", count);
	return 0;
}
