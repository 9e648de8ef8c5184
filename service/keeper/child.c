/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting the program. It finds our socket's number in its environment. Each start has a socket
 * pair of its own, made before the fork: a child that dies before it says a word closes its end,
 * and nobody waits for it.
 */
#include "keeper.h"
#include "session/keeper_proto.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void set_oom_score(const char *score)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	if (write(fd, score, strlen(score)) < 0)
		keeper_log("oom_score_failed errno=%d", errno); /* a comfort, not a need */
	(void)close(fd);                                        /* written or not */
}

_Noreturn static void become(char **argv, int socket, const char *oom_score)
{
	char number[16];
	sigset_t none;

	if (oom_score)
		set_oom_score(oom_score);
	(void)sigemptyset(&none);                             /* cannot fail */
	(void)sigprocmask(SIG_SETMASK, &none, NULL);          /* cannot fail */
	(void)snprintf(number, sizeof(number), "%d", socket); /* fits */
	if (fcntl(socket, F_SETFD, 0) == 0 && setenv(KEEPER_ENV, number, 1) == 0)
		(void)execvp(argv[0], argv); /* returns only to fail */
	keeper_log("exec_failed program=\"%s\" errno=%d", argv[0], errno);
	_exit(127);
}

int child_start(struct child *c, char **argv, const char *oom_score)
{
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		return -errno;
	pid = fork();
	if (pid < 0) {
		int r = -errno;

		(void)close(pair[0]); /* unused, as the other */
		(void)close(pair[1]);
		return r;
	}
	if (pid == 0)
		become(argv, pair[1], oom_score);
	(void)close(pair[1]); /* the child's */
	*c = (struct child){.pid = pid, .socket = pair[0], .started_ms = keeper_now_ms()};
	return 0;
}

void child_clear(struct child *c)
{
	if (c->socket >= 0)
		(void)close(c->socket); /* nobody is at the other end */
	*c = (struct child){.socket = -1};
}
