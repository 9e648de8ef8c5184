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

/* Returns only to fail. The file needs no name, which may have been given to another meanwhile. */
static void run(const struct program *p, bool good)
{
	if (good && p->good_fd >= 0)
		(void)fexecve(p->good_fd, p->argv, environ);
	else
		(void)execvp(p->argv[0], p->argv);
}

_Noreturn static void become(const struct program *p, bool good, int socket)
{
	char number[16];
	sigset_t none;

	if (p->oom_score)
		set_oom_score(p->oom_score);
	(void)sigemptyset(&none);                             /* cannot fail */
	(void)sigprocmask(SIG_SETMASK, &none, NULL);          /* cannot fail */
	(void)snprintf(number, sizeof(number), "%d", socket); /* fits */
	if (fcntl(socket, F_SETFD, 0) == 0 && setenv(KEEPER_ENV, number, 1) == 0)
		run(p, good);
	keeper_log("exec_failed program=\"%s\" errno=%d", p->argv[0], errno);
	_exit(127);
}

int child_start(struct child *c, const struct program *p, bool good)
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
		become(p, good, pair[1]);
	(void)close(pair[1]); /* the child's */
	*c = (struct child){.pid = pid, .socket = pair[0], .started_ms = keeper_now_ms()};
	return 0;
}

void child_praise(const struct child *c, struct program *p)
{
	char path[40];
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/%ld/exe", (long)c->pid); /* fits */
	fd = open(path, O_PATH | O_CLOEXEC);
	if (fd < 0)
		return; /* it has just died: the one before it stays the good one */
	if (p->good_fd >= 0)
		(void)close(p->good_fd); /* it was never read */
	p->good_fd = fd;
}

void child_clear(struct child *c)
{
	if (c->socket >= 0)
		(void)close(c->socket); /* nobody is at the other end */
	*c = (struct child){.socket = -1};
}
