/* lower PRIORITY SESSION PROGRAM [ARG...] - becomes PROGRAM, at SCHED_RR PRIORITY, or as
   usual if that is 0, and in a session of its own if SESSION is 1. So the process that
   starts it needs no thread at a lower priority, from which others would inherit it. */
#define _GNU_SOURCE
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv) {
	if (argc < 4) {
		fputs("usage: lower PRIORITY SESSION PROGRAM [ARG...]\n", stderr);
		return 2;
	}
	struct sched_param priority = {atoi(argv[1])};
	if (atoi(argv[2])) setsid(); /* with sched_autogroup_enabled it has its own share from here on */
	if (sched_setscheduler(0, priority.sched_priority ? SCHED_RR : SCHED_OTHER, &priority) == 0) execvp(argv[3], argv + 3);
	perror(argv[3]);
	return 1;
}
