/* SPDX-License-Identifier: Apache-2.0 */
/*
 * systemd's store for descriptors (FileDescriptorStoreMax in the unit): what is put there comes to
 * the next process of the service by name (sd_listen_fds). Beyond libsystemd nothing tells whether
 * the unit has a store at all, and what a manager does not want it closes without a word. So it is
 * tried out once, with a pipe: if its far end is closed when the manager has read the message,
 * there is none.
 *
 *	start: LISTEN_FDS ─► kept[] ─► take ─► the caller's
 *	                        └─► drop, drop_untaken: here and there
 *
 * Of two descriptors of one name the later one is meant, because `put` removes before it adds.
 * Threads: any; the line is held for no exchange with the manager.
 */
#include "sd.h"

#include <base/cleanup.h>
#include <base/fd_store.h>
#include <base/list.h>
#include <base/lock.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#define KEPT_MAX   4096
#define BARRIER_US 5000000u /* for the manager to have read what it was sent */
#define TRIAL      "trial"

struct sd_store {
	struct fd_store store;
	struct lock lock; /* LOCK_RANK_LEAF: the descriptors below */
	unsigned count;
	struct {
		char *name;
		int fd; /* -1: taken or dropped */
	} kept[];       /* by the last process */
};

/* What cannot be removed is of no use to the next process, and is dropped by it. */
static void tell_remove(const char *name)
{
	char text[FD_STORE_NAME_MAX + 32];

	(void)snprintf(text, sizeof(text), "FDSTOREREMOVE=1\nFDNAME=%s", name); /* fits, or cut */
	(void)sd_notify(0, text);
}

static int store_put(struct fd_store *store, const char *name, int fd)
{
	char text[FD_STORE_NAME_MAX + 32];
	int r;

	(void)store;
	if (strlen(name) > FD_STORE_NAME_MAX)
		return -ENAMETOOLONG;
	tell_remove(name); /* or there would be two */
	/* FDPOLL: the manager would let go of a connection whose mount has ended, and of a pipe */
	(void)snprintf(text, sizeof(text), "FDSTORE=1\nFDNAME=%s\nFDPOLL=0", name); /* fits */
	r = sd_pid_notify_with_fds(0, 0, text, &fd, 1);
	if (r > 0) /* a kill before it is read would lose it */
		r = sd_notify_barrier(0, BARRIER_US);
	return r > 0 ? 0 : r < 0 ? r : -ENOENT;
}

static int store_take(struct fd_store *store, const char *name, int *ret_fd)
{
	struct sd_store *s = container_of(store, struct sd_store, store);

	LOCK_GUARD(&s->lock);
	for (unsigned i = s->count; i-- > 0;)
		if (s->kept[i].fd >= 0 && strcmp(s->kept[i].name, name) == 0) {
			*ret_fd = TAKE_FD(s->kept[i].fd);
			return 0;
		}
	return -ENOENT;
}

static void close_kept_locked(struct sd_store *s, unsigned i)
{
	if (s->kept[i].fd >= 0)
		(void)close(TAKE_FD(s->kept[i].fd)); /* a copy */
}

static int store_drop(struct fd_store *store, const char *name)
{
	struct sd_store *s = container_of(store, struct sd_store, store);

	tell_remove(name);
	LOCK_GUARD(&s->lock);
	for (unsigned i = 0; i < s->count; i++)
		if (strcmp(s->kept[i].name, name) == 0)
			close_kept_locked(s, i);
	return 0;
}

static void store_drop_untaken(struct fd_store *store, const char *prefix)
{
	struct sd_store *s = container_of(store, struct sd_store, store);

	for (unsigned i = 0; i < s->count; i++) {
		bool untaken;

		lock_acquire(&s->lock);
		untaken =
			s->kept[i].fd >= 0 && strncmp(s->kept[i].name, prefix, strlen(prefix)) == 0;
		if (untaken)
			close_kept_locked(s, i);
		lock_release(&s->lock);
		if (untaken)
			tell_remove(s->kept[i].name);
	}
}

static bool manager_keeps(void)
{
	_cleanup_close_ int in = -1, out = -1;
	struct pollfd p;
	int pair[2];
	bool kept;

	if (!getenv("NOTIFY_SOCKET") || pipe2(pair, O_CLOEXEC) < 0)
		return false;
	in = pair[0];
	out = pair[1];
	if (store_put(NULL, TRIAL, out) < 0)
		return false;
	(void)close(TAKE_FD(out)); /* nothing was written to it */
	p = (struct pollfd){.fd = in, .events = POLLIN};
	kept = poll(&p, 1, 0) == 0;
	tell_remove(TRIAL);
	return kept;
}

struct fd_store *sd_store_new(void)
{
	char **names = NULL;
	struct sd_store *s;
	int count;

	if (!manager_keeps())
		return NULL;
	count = sd_listen_fds_with_names(1, &names); /* it sets CLOEXEC */
	if (count < 0 || count > KEPT_MAX)
		count = 0;
	s = calloc(1, sizeof(*s) + (size_t)count * sizeof(s->kept[0]));
	for (int i = 0; i < count; i++) {
		if (s) {
			s->kept[i].name = names[i];
			s->kept[i].fd = SD_LISTEN_FDS_START + i;
		} else {
			free(names[i]);
		}
	}
	free(names);
	if (!s)
		return NULL;
	lock_init(&s->lock, LOCK_RANK_LEAF);
	s->count = (unsigned)count;
	s->store = (struct fd_store){.put = store_put,
		.take = store_take,
		.drop = store_drop,
		.drop_untaken = store_drop_untaken};
	store_drop_untaken(&s->store, TRIAL); /* of one that was killed in the middle of it */
	return &s->store;
}

struct fd_store *sd_store_free(struct fd_store *store)
{
	struct sd_store *s = store ? container_of(store, struct sd_store, store) : NULL;

	if (!s)
		return NULL;
	for (unsigned i = 0; i < s->count; i++) {
		if (s->kept[i].fd >= 0)
			(void)close(s->kept[i].fd); /* a copy */
		free(s->kept[i].name);
	}
	lock_fini(&s->lock);
	free(s);
	return NULL;
}
