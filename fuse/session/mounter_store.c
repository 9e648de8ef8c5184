/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mounting in this process, with a copy of each descriptor in a store that outlives it (systemd's):
 * the store does for the connections what the keeper does. A tenant's connection is in it as
 * "fuse.<tenant>". Where it is mounted the store does not know: who adopts has found it in
 * mountinfo, and what nobody adopts was swept from there before it is dropped here.
 *
 * Threads: the control thread, and the one that opens the service.
 */
#include "fuse/session.h"

#include <base/cleanup.h>
#include <base/err.h>
#include <base/fd_store.h>
#include <base/list.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define PREFIX "fuse."

struct stored {
	struct sess_mounter mounter;
	struct sess_mounter *local; /* does the mounting */
};

static int name_of(const char *tenant, char ret_name[FD_STORE_NAME_MAX + 1])
{
	int n = snprintf(ret_name, FD_STORE_NAME_MAX + 1, PREFIX "%s", tenant);

	return n > FD_STORE_NAME_MAX ? -ENAMETOOLONG : 0;
}

static int stored_mount(struct sess_mounter *m, const char *tenant, const char *mountpoint,
	int *ret_fd, struct err *e)
{
	struct stored *s = container_of(m, struct stored, mounter);
	char name[FD_STORE_NAME_MAX + 1];
	_cleanup_close_ int fd = -1;
	int r = s->local->mount(s->local, tenant, mountpoint, &fd, e);

	if (r < 0)
		return r;
	r = name_of(tenant, name);
	if (r == 0)
		r = m->store->put(m->store, name, fd);
	if (r < 0) {
		(void)s->local->unmount(s->local, tenant, mountpoint); /* closing ends it anyway */
		return err_wrap(e, r, "give the connection of %s to the service manager", tenant);
	}
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int stored_unmount(struct sess_mounter *m, const char *tenant, const char *mountpoint)
{
	struct stored *s = container_of(m, struct stored, mounter);
	char name[FD_STORE_NAME_MAX + 1];
	int r = s->local->unmount(s->local, tenant, mountpoint);
	int dropped = name_of(tenant, name);

	if (dropped == 0)
		dropped = m->store->drop(m->store, name);
	return r < 0 ? r : dropped;
}

static int stored_adopt(
	struct sess_mounter *m, const char *tenant, const char *mountpoint, int *ret_fd)
{
	char name[FD_STORE_NAME_MAX + 1];
	int r = name_of(tenant, name);

	(void)mountpoint; /* it is mounted there, or the caller would not ask */
	return r < 0 ? r : m->store->take(m->store, name, ret_fd);
}

static int stored_settle(struct sess_mounter *m)
{
	if (m->store->drop_untaken)
		m->store->drop_untaken(m->store, PREFIX);
	return 0;
}

static void stored_free(struct sess_mounter *m)
{
	struct stored *s = container_of(m, struct stored, mounter);

	sess_mounter_free(s->local);
	free(s);
}

struct sess_mounter *sess_mounter_store_new(struct fd_store *store, const char *name)
{
	struct stored *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->local = sess_mounter_local_new();
	if (!s->local) {
		free(s);
		return NULL;
	}
	s->mounter = (struct sess_mounter){.mount = stored_mount,
		.unmount = stored_unmount,
		.adopt = stored_adopt,
		.settle = stored_settle,
		.free = stored_free,
		.store = store,
		.name = name};
	return &s->mounter;
}
