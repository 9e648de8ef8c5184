/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets, fifos, several appending processes, and the kernel asked to forget what it knows. */
#include "side.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
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
	{"forget", 1, AS_ROOT, op_forget},
};
const struct op_table special_ops = {ops, sizeof(ops) / sizeof(ops[0])};
