/* listener SECONDS - the least that hearing of started processes can cost: receives the
   kernel's process events in batches, those that procstat --churn asks for, at the lowest
   real-time priority, and counts them. Prints how many when SIGTERM or the time ends it. */
#define _GNU_SOURCE
#include <linux/cn_proc.h>
#include <linux/connector.h>
#include <linux/netlink.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static volatile sig_atomic_t ended;

static void end(int signal)
{
	(void)signal;
	ended = 1;
}

int main(int argc, char **argv)
{
	enum { BATCH = 64 };
	static char buffers[BATCH][128];
	static struct mmsghdr messages[BATCH];
	static struct iovec vectors[BATCH];
	struct __attribute__((packed, aligned(NLMSG_ALIGNTO))) {
		struct nlmsghdr header;
		struct cn_msg message;
		__u32 words[2]; /* PROC_CN_MCAST_LISTEN, and since Linux 6.6 the kinds */
	} request = {
		.header = {.nlmsg_len = sizeof request, .nlmsg_type = NLMSG_DONE},
		.message = {.id = {CN_IDX_PROC, CN_VAL_PROC}, .len = 8},
		.words = {1, 0x1 | 0x2 | 0x4 | 0x200}, /* fork, exec, uid, comm */
	};
	struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = CN_IDX_PROC};
	int room = 8 << 20, s = socket(AF_NETLINK, SOCK_DGRAM, NETLINK_CONNECTOR);
	long count = 0, lost = 0;

	if (argc != 2 || s < 0 || bind(s, (struct sockaddr *)&address, sizeof address)) {
		perror("listener");
		return 1;
	}
	setsockopt(s, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
	if (send(s, &request, sizeof request, 0) != sizeof request) {
		perror("listener");
		return 1;
	}
	for (int i = 0; i < BATCH; i++) {
		vectors[i] = (struct iovec){buffers[i], sizeof buffers[i]};
		messages[i].msg_hdr = (struct msghdr){.msg_iov = &vectors[i], .msg_iovlen = 1};
	}
	sigaction(SIGTERM, &(struct sigaction){.sa_handler = end}, 0);
	sigaction(SIGALRM, &(struct sigaction){.sa_handler = end}, 0);
	alarm(atoi(argv[1]));
	sched_setscheduler(0, SCHED_RR, &(struct sched_param){1});
	while (!ended) {
		int n = recvmmsg(s, messages, BATCH, MSG_WAITFORONE, 0);
		if (n > 0)
			count += n;
		else if (!ended)
			lost++;
	}
	printf("%ld events, %ld times lost\n", count, lost);
	return 0;
}
