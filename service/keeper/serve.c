/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One question, one answer, never waiting: the socket is non-blocking, and a child that does not
 * read its answer loses it. Unknown questions are answered with -EPROTO.
 */
#include "keeper.h"
#include "session/keeper_proto.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void answer(const struct child *c, struct keeper_msg *msg, int fd)
{
	int r = keeper_send(c->socket, msg, fd);

	if (r < 0)
		keeper_log("answer_failed errno=%d", -r);
}

static void hello(struct held *h, struct child *c, const struct keeper_msg *msg)
{
	if (!(msg->flags & KEEPER_ADOPT) && h->count > 0) {
		keeper_log("not_adopted mounts=%u", h->count);
		held_unmount_all(h);
	}
	c->said_hello = true;
}

static int list(const struct held *h, struct keeper_msg *msg, int *ret_fd)
{
	const struct held_mount *m;

	if (msg->flags >= h->count)
		return -ENOENT;
	m = &h->mount[msg->flags];
	memcpy(msg->tenant, m->tenant, strlen(m->tenant) + 1); /* they came in such a message */
	memcpy(msg->mountpoint, m->mountpoint, strlen(m->mountpoint) + 1); /* as above */
	*ret_fd = m->fd;
	return 0;
}

/* `given` came with the question; -1: none. Taken when it is wanted. */
static int keep(struct held_other *other, const struct keeper_msg *msg, int *given)
{
	int fd = *given;

	if (fd < 0)
		return -EBADF;
	*given = -1;
	return held_put(other, msg->tenant, fd);
}

struct question {
	struct keeper_msg msg;
	int given;
};

static int act(
	struct held *h, struct held_other *other, struct child *c, struct question *q, int *ret_fd)
{
	struct keeper_msg *msg = &q->msg;

	switch (msg->type) {
	case KEEPER_HELLO:
		hello(h, c, msg);
		return 0;
	case KEEPER_MOUNT:
		return held_mount(h, msg->tenant, msg->mountpoint, ret_fd);
	case KEEPER_UNMOUNT:
		return held_unmount(h, msg->tenant, msg->mountpoint);
	case KEEPER_LIST:
		return list(h, msg, ret_fd);
	case KEEPER_TAKE:
		return held_take(h, msg->tenant, msg->mountpoint, ret_fd);
	case KEEPER_SETTLE:
		held_unmount_untaken(h);
		c->settled = true;
		return 0;
	case KEEPER_PUT:
		return keep(other, msg, &q->given);
	case KEEPER_GET:
		return held_get(other, msg->tenant, ret_fd);
	case KEEPER_STOPPING:
		c->stop_ms = (uint64_t)msg->flags * 1000;
		return 0;
	case KEEPER_ALIVE:
		c->lives = true;
		msg->flags = c->watchdog_s;
		return 0;
	case KEEPER_DROP:
		held_drop(other, msg->tenant);
		return 0;
	default:
		return -EPROTO;
	}
}

static bool is_terminated(const char *s, size_t cap)
{
	return memchr(s, '\0', cap) != NULL;
}

/* The descriptor that came with a message; -1: none. */
static int descriptor_of(struct msghdr *mh)
{
	struct cmsghdr *cm = CMSG_FIRSTHDR(mh);
	int fd = -1;

	if (cm && cm->cmsg_level == SOL_SOCKET && cm->cmsg_type == SCM_RIGHTS &&
		cm->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(&fd, CMSG_DATA(cm), sizeof(int));
	return fd;
}

static ssize_t receive(int socket, struct question *q)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = {.iov_base = &q->msg, .iov_len = sizeof(q->msg)};
	struct msghdr mh = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes)};
	ssize_t n = recvmsg(socket, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	q->given = n > 0 ? descriptor_of(&mh) : -1;
	return n;
}

void serve(struct held *h, struct held_other *other, struct child *c)
{
	struct question q = {.given = -1};
	ssize_t n = receive(c->socket, &q);
	int fd = -1;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		(void)close(c->socket); /* its end is closed: it ends, or wants no more of us */
		c->socket = -1;
		return;
	}
	if (n != sizeof(q.msg) || q.msg.magic != KEEPER_MAGIC || q.msg.version != KEEPER_VERSION ||
		!is_terminated(q.msg.tenant, sizeof(q.msg.tenant)) ||
		!is_terminated(q.msg.mountpoint, sizeof(q.msg.mountpoint)))
		q.msg.result = -EPROTO;
	else
		q.msg.result = act(h, other, c, &q, &fd);
	if (q.given >= 0)
		(void)close(q.given); /* nobody wanted it */
	q.msg.magic = KEEPER_MAGIC;
	q.msg.version = KEEPER_VERSION;
	answer(c, &q.msg, fd);
}
