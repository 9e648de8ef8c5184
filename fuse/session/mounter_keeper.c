/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mounting through the keeper, which opens, mounts and keeps a copy of each descriptor, so that a
 * connection outlives this process. A question and its answer are one exchange under a lock, with a
 * deadline. After a time-out the two sides could be out of step, so the socket is not used again.
 *
 * Threads: the control thread; sess_mounter_keeper_new on the caller's.
 */
#include "fuse/session.h"

#include "session/keeper_proto.h"

#include <base/cleanup.h>
#include <base/clock.h>
#include <base/err.h>
#include <base/fd_store.h>
#include <base/list.h>
#include <base/lock.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define ANSWER_WAIT_MS 5000

struct keeper {
	struct sess_mounter mounter;
	struct fd_store store;
	struct lock lock; /* LOCK_RANK_SESSION: the socket */
	int fd;
	bool broken;
	bool begun;          /* by the opening thread */
	unsigned watchdog_s; /* the main thread's */
};

/* One packet, and the descriptor that came with it (-1: none). */
static int receive(int fd, struct keeper_msg *ret_msg, int *ret_fd)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = {.iov_base = ret_msg, .iov_len = sizeof(*ret_msg)};
	struct msghdr mh = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes)};
	ssize_t n = recvmsg(fd, &mh, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	struct cmsghdr *c;

	*ret_fd = -1;
	if (n < 0)
		return -errno;
	c = CMSG_FIRSTHDR(&mh);
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
		c->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(ret_fd, CMSG_DATA(c), sizeof(int));
	if (n == (ssize_t)sizeof(*ret_msg) && ret_msg->magic == KEEPER_MAGIC &&
		ret_msg->version == KEEPER_VERSION)
		return 0;
	if (*ret_fd >= 0)
		(void)close(*ret_fd); /* of an answer we do not understand */
	*ret_fd = -1;
	return n == 0 ? -EPIPE : -EPROTO;
}

static int wait_readable(int fd)
{
	uint64_t end = clock_after(&clock_system, ANSWER_WAIT_MS * NS_PER_MS);

	for (;;) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		uint64_t now = clock_mono_ns(&clock_system);
		int n = now < end ? poll(&p, 1, (int)((end - now) / NS_PER_MS) + 1) : 0;

		if (n > 0)
			return 0;
		if (n == 0)
			return -ETIMEDOUT;
		if (errno != EINTR)
			return -errno;
	}
}

static int exchange_locked(struct keeper *k, struct keeper_msg *msg, int fd, int *ret_fd)
{
	uint32_t type = msg->type;
	int r = keeper_send(k->fd, msg, fd);

	if (r < 0)
		return r;
	r = wait_readable(k->fd);
	if (r == 0)
		r = receive(k->fd, msg, ret_fd);
	return r == 0 && msg->type != type ? -EPROTO : r;
}

/* Ask, perhaps with a descriptor (-1: without); the result is the keeper's, or what went wrong on
 * the way. */
static int ask_with(struct keeper *k, struct keeper_msg *msg, int fd, int *ret_fd)
{
	int r;

	msg->magic = KEEPER_MAGIC;
	msg->version = KEEPER_VERSION;
	*ret_fd = -1;
	LOCK_GUARD(&k->lock);
	if (k->broken)
		return -EPIPE;
	r = exchange_locked(k, msg, fd, ret_fd);
	if (r < 0) {
		k->broken = true;
		return r;
	}
	return msg->result;
}

static int ask(struct keeper *k, struct keeper_msg *msg, int *ret_fd)
{
	return ask_with(k, msg, -1, ret_fd);
}

static int fill(
	struct keeper_msg *msg, enum keeper_type type, const char *tenant, const char *mountpoint)
{
	*msg = (struct keeper_msg){.type = type};
	if (strlen(tenant) >= sizeof(msg->tenant) || strlen(mountpoint) >= sizeof(msg->mountpoint))
		return -ENAMETOOLONG;
	memcpy(msg->tenant, tenant, strlen(tenant));
	memcpy(msg->mountpoint, mountpoint, strlen(mountpoint));
	return 0;
}

static int keeper_mount(struct sess_mounter *m, const char *tenant, const char *mountpoint,
	int *ret_fd, struct err *e)
{
	struct keeper *k = container_of(m, struct keeper, mounter);
	_cleanup_close_ int fd = -1;
	struct keeper_msg msg;
	int r = fill(&msg, KEEPER_MOUNT, tenant, mountpoint);

	if (r == 0)
		r = ask(k, &msg, &fd);
	if (r == 0 && fd < 0)
		r = -EPROTO;
	if (r < 0)
		return err_wrap(e, r, "mount %s through the keeper", mountpoint);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int keeper_unmount(struct sess_mounter *m, const char *tenant, const char *mountpoint)
{
	struct keeper *k = container_of(m, struct keeper, mounter);
	_cleanup_close_ int fd = -1;
	struct keeper_msg msg;
	int r = fill(&msg, KEEPER_UNMOUNT, tenant, mountpoint);

	return r < 0 ? r : ask(k, &msg, &fd);
}

static int keeper_adopt(
	struct sess_mounter *m, const char *tenant, const char *mountpoint, int *ret_fd)
{
	struct keeper *k = container_of(m, struct keeper, mounter);
	_cleanup_close_ int fd = -1;
	struct keeper_msg msg;
	int r = fill(&msg, KEEPER_TAKE, tenant, mountpoint);

	if (r == 0)
		r = ask(k, &msg, &fd);
	if (r == 0 && fd < 0)
		r = -EPROTO;
	if (r == 0)
		*ret_fd = TAKE_FD(fd);
	return r;
}

static int keeper_settle(struct sess_mounter *m)
{
	struct keeper *k = container_of(m, struct keeper, mounter);
	struct keeper_msg msg = {.type = KEEPER_SETTLE};
	_cleanup_close_ int none = -1;

	return ask(k, &msg, &none);
}

static int keeper_stopping(struct sess_mounter *m, unsigned seconds)
{
	struct keeper *k = container_of(m, struct keeper, mounter);
	struct keeper_msg msg = {.type = KEEPER_STOPPING, .flags = seconds};
	_cleanup_close_ int none = -1;

	return ask(k, &msg, &none);
}

/* Also said when its answers are not read any more: it is of use to the keeper alone. An older one
 * does not know the question. */
static unsigned keeper_alive(struct sess_mounter *m)
{
	struct keeper *k = container_of(m, struct keeper, mounter);
	struct keeper_msg msg = {
		.magic = KEEPER_MAGIC, .version = KEEPER_VERSION, .type = KEEPER_ALIVE};
	_cleanup_close_ int none = -1;

	if (ask(k, &msg, &none) == 0)
		k->watchdog_s = msg.flags; /* the one thread that calls this */
	else if (k->watchdog_s)
		(void)keeper_send(k->fd, &msg, -1); /* it has ended, and we are next */
	return k->watchdog_s;
}

/* ---- the store ---- */

static int store_put(struct fd_store *store, const char *name, int fd)
{
	struct keeper *k = container_of(store, struct keeper, store);
	_cleanup_close_ int none = -1;
	struct keeper_msg msg;
	int r = fill(&msg, KEEPER_PUT, name, "");

	return r < 0 ? r : ask_with(k, &msg, fd, &none);
}

static int store_take(struct fd_store *store, const char *name, int *ret_fd)
{
	struct keeper *k = container_of(store, struct keeper, store);
	_cleanup_close_ int fd = -1;
	struct keeper_msg msg;
	int r = fill(&msg, KEEPER_GET, name, "");

	if (r == 0)
		r = ask(k, &msg, &fd);
	if (r == 0 && fd < 0)
		r = -EPROTO;
	if (r == 0)
		*ret_fd = TAKE_FD(fd);
	return r;
}

static int store_drop(struct fd_store *store, const char *name)
{
	struct keeper *k = container_of(store, struct keeper, store);
	_cleanup_close_ int none = -1;
	struct keeper_msg msg;
	int r = fill(&msg, KEEPER_DROP, name, "");

	return r < 0 ? r : ask(k, &msg, &none);
}

static void keeper_free(struct sess_mounter *m)
{
	struct keeper *k = container_of(m, struct keeper, mounter);

	(void)close(k->fd); /* a socket with nothing in flight */
	lock_fini(&k->lock);
	free(k);
}

static int keeper_begin(struct sess_mounter *m)
{
	struct keeper *k = container_of(m, struct keeper, mounter);
	struct keeper_msg hello = {.type = KEEPER_HELLO, .flags = KEEPER_ADOPT};
	_cleanup_close_ int none = -1;
	int r = k->begun ? 0 : ask(k, &hello, &none);

	k->begun = r == 0;
	return r;
}

struct sess_mounter *sess_mounter_keeper_new(int socket_fd)
{
	struct keeper *k = calloc(1, sizeof(*k));

	if (!k) {
		(void)close(socket_fd); /* nothing was sent */
		return NULL;
	}
	k->fd = socket_fd;
	lock_init(&k->lock, LOCK_RANK_SESSION);
	k->store = (struct fd_store){.put = store_put, .take = store_take, .drop = store_drop};
	k->mounter = (struct sess_mounter){.store = &k->store,
		.begin = keeper_begin,
		.mount = keeper_mount,
		.unmount = keeper_unmount,
		.adopt = keeper_adopt,
		.settle = keeper_settle,
		.stopping = keeper_stopping,
		.alive = keeper_alive,
		.free = keeper_free,
		.name = "keeper"};
	return &k->mounter;
}
