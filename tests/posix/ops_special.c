/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets, fifos, several appending processes, and the kernel asked to forget what it knows. */
#include "side.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static bool address_of(const char *path, struct sockaddr_un *ret)
{
	*ret = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof(ret->sun_path))
		return false;
	memcpy(ret->sun_path, path, strlen(path) + 1);
	return true;
}

/* Bind, listen, connect from here: 0 if a byte came through. */
static long op_socket(struct side *side, const struct step *step)
{
	struct sockaddr_un name;
	int server, client;
	char byte = 0;
	long r;

	(void)side;
	if (!address_of(step->a, &name))
		return -ENAMETOOLONG;
	server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	r = result_of(bind(server, (struct sockaddr *)&name, sizeof(name)));
	if (r == 0)
		r = result_of(listen(server, 1));
	if (r == 0)
		r = result_of(connect(client, (struct sockaddr *)&name, sizeof(name)));
	if (r == 0 && send(client, "x", 1, 0) == 1) {
		int peer = accept(server, NULL, NULL);

		r = recv(peer, &byte, 1, 0) == 1 && byte == 'x' ? 0 : -EIO;
		(void)close(peer);
	}
	(void)close(server);
	(void)close(client);
	return r;
}

/* To a socket without a listener, or to what is none. */
static long op_connect(struct side *side, const struct step *step)
{
	struct sockaddr_un name;
	int client;
	long r;

	(void)side;
	if (!address_of(step->a, &name))
		return -ENAMETOOLONG;
	client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	r = result_of(connect(client, (struct sockaddr *)&name, sizeof(name)));
	(void)close(client);
	return r;
}

static long append_in_child(struct side *side, const struct step *step)
{
	int fd = open(step->a, O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK | O_CLOEXEC, 0644);

	(void)side;
	if (fd < 0)
		return errno;
	for (int i = 0; i < 5; i++)
		if (write(fd, "0123456789abcdef", 16) != 16)
			return errno;
	return 0;
}

/* Another process appends, this one has the file open for appending too. */
static long op_append_both(struct side *side, const struct step *step)
{
	int fd = open(step->a, O_WRONLY | O_APPEND | O_NONBLOCK | O_CLOEXEC);
	long r = side_in_child(side, step, append_in_child);

	if (fd < 0)
		return -errno;
	(void)fprintf(side->out, " %ld", result_of(write(fd, "mine", 4)));
	(void)close(fd);
	return r;
}

/* The crowd's records are alike: in whatever order they come, the bytes are the same if none is
 * lost or written over. */
static long append_crowd(struct side *side, const struct step *step)
{
	pid_t pids[3] = {0};
	long failed = 0;

	for (size_t i = 0; i < 3; i++) {
		pids[i] = fork();
		if (pids[i] == 0)
			_exit((int)append_in_child(side, step));
	}
	for (size_t i = 0; i < 3; i++) {
		int status = 0;

		if (pids[i] < 0 || waitpid(pids[i], &status, 0) != pids[i])
			return 250;
		failed = status ? WEXITSTATUS(status) : failed;
	}
	return failed;
}

static long op_append_crowd(struct side *side, const struct step *step)
{
	return side_in_child(side, step, append_crowd);
}

/* Through a fifo, which nobody else has open. */
static long op_fifo(struct side *side, const struct step *step)
{
	char back[8] = "";
	long r = result_of(mkfifo(step->a, 0666));
	int fd = open(step->a, O_RDWR | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	(void)fprintf(side->out, " made %ld", r);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0 || !S_ISFIFO(st.st_mode)) {
		(void)close(fd);
		return 0;
	}
	r = result_of(write(fd, "through", 7));
	if (r == 7)
		r = result_of(read(fd, back, sizeof(back)));
	(void)fprintf(side->out, " %.*s", (int)sizeof(back), back);
	(void)close(fd);
	return r;
}

/* A datagram to a name; the name may have moved since. */
static long op_datagram(struct side *side, const struct step *step)
{
	struct sockaddr_un name, moved;
	char byte = 0;
	int server, client;
	long r;

	if (!address_of(step->a, &name) || !address_of(step->b, &moved))
		return -ENAMETOOLONG;
	server = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	client = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	r = result_of(bind(server, (struct sockaddr *)&name, sizeof(name)));
	if (r == 0)
		r = result_of(rename(step->a, step->b));
	if (r == 0)
		r = result_of(sendto(client, "x", 1, 0, (struct sockaddr *)&moved, sizeof(moved)));
	(void)fprintf(side->out, " %ld", result_of(recv(server, &byte, 1, 0)));
	(void)close(server);
	(void)close(client);
	return r;
}

/* Dentries and inodes go, FORGETs come. */
static long op_forget(struct side *side, const struct step *step)
{
	(void)step;
	if (side->caches >= 0 && pwrite(side->caches, "2", 1, 0) < 0)
		return -errno;
	return 0;
}

static const struct op ops[] = {
	{"socket", 8, USES_A, op_socket},
	{"connect", 4, USES_A, op_connect},
	{"append_both", 6, USES_A, op_append_both},
	{"append_crowd", 5, USES_A | UNORDERED, op_append_crowd},
	{"fifo", 8, USES_A, op_fifo},
	{"datagram", 5, USES_A | USES_B, op_datagram},
	{"forget", 1, AS_ROOT, op_forget},
};
const struct op_table special_ops = {ops, sizeof(ops) / sizeof(ops[0])};
