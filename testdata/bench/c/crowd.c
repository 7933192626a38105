/* crowd COUNT SECONDS - COUNT idle processes of eight names, under eight uids where
   root runs it, in its own process group; prints a line when all are there, and ends
   them all after SECONDS or when its standard input ends. */
#define _GNU_SOURCE
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	static const char *names[] = {"imapd", "sendmail", "httpd", "bash", "vi", "mutt", "sshd", "(sd-pam)"};
	int count = argc == 3 ? atoi(argv[1]) : 0;

	if (count < 1)
		return 2;
	for (int i = 0; i < count; i++) {
		switch (fork()) {
		case -1:
			perror("fork");
			return 1;
		case 0:
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			prctl(PR_SET_NAME, names[i % 8]);
			if (geteuid() == 0 && setuid(61000 + i / 8 % 8) != 0)
				_exit(1);
			prctl(PR_SET_PDEATHSIG, SIGKILL); /* setuid has cleared it */
			for (;;)
				pause();
		}
	}
	printf("ready\n");
	fflush(stdout);
	poll(&(struct pollfd){.fd = 0, .events = POLLIN}, 1, atoi(argv[2]) * 1000);
	return 0; /* and the kernel ends all whose parent this was */
}
