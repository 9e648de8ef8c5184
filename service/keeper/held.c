/* SPDX-License-Identifier: Apache-2.0 */
/* The table of connections. A tenant has one. Order does not matter: removal moves the last one. */
#include "keeper.h"
#include "session/device.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct held_mount *find(struct held *h, const char *tenant, const char *mountpoint)
{
	for (unsigned i = 0; i < h->count; i++)
		if (strcmp(h->mount[i].tenant, tenant) == 0 &&
			strcmp(h->mount[i].mountpoint, mountpoint) == 0)
			return &h->mount[i];
	return NULL;
}

int held_mount(struct held *h, const char *tenant, const char *mountpoint, int *ret_fd)
{
	struct held_mount m = {.fd = -1, .taken = true};
	const struct held_mount *there = find(h, tenant, mountpoint);
	int r;

	if (there && there->taken)
		return -EBUSY;
	if (there)
		(void)held_unmount(h, tenant, mountpoint); /* it may be unmounted already */
	if (h->count == HELD_MAX)
		return -EMFILE;
	m.tenant = strdup(tenant);
	m.mountpoint = strdup(mountpoint);
	r = m.tenant && m.mountpoint ? device_mount(mountpoint, &m.fd) : -ENOMEM;
	if (r < 0) {
		free(m.tenant);
		free(m.mountpoint);
		return r;
	}
	h->mount[h->count++] = m;
	*ret_fd = m.fd;
	return 0;
}

static void drop(struct held *h, struct held_mount *m)
{
	(void)close(m->fd); /* the last copy ends the connection; nothing was buffered */
	free(m->tenant);
	free(m->mountpoint);
	*m = h->mount[--h->count];
}

int held_unmount(struct held *h, const char *tenant, const char *mountpoint)
{
	struct held_mount *m = find(h, tenant, mountpoint);
	int r = device_unmount(mountpoint);

	if (m)
		drop(h, m);
	return r;
}

int held_take(struct held *h, const char *tenant, const char *mountpoint, int *ret_fd)
{
	struct held_mount *m = find(h, tenant, mountpoint);

	if (!m)
		return -ENOENT;
	m->taken = true;
	*ret_fd = m->fd;
	return 0;
}

void held_untake_all(struct held *h)
{
	for (unsigned i = 0; i < h->count; i++)
		h->mount[i].taken = false;
}

void held_unmount_untaken(struct held *h)
{
	for (unsigned i = h->count; i-- > 0;) {
		struct held_mount *m = &h->mount[i];
		int r;

		if (m->taken)
			continue;
		/* Our copy may not be the last: a child that was killed may not have ended. */
		(void)device_abort(m->mountpoint); /* not mounted any more: the same */
		r = device_unmount(m->mountpoint);
		if (r < 0 && r != -EINVAL && r != -ENOENT)
			keeper_log("unmount_failed mountpoint=\"%s\" errno=%d", m->mountpoint, -r);
		drop(h, m); /* the last one comes to its place: it has been looked at */
	}
}

void held_unmount_all(struct held *h)
{
	held_untake_all(h);
	held_unmount_untaken(h);
}

void held_abort_all(const struct held *h)
{
	for (unsigned i = 0; i < h->count; i++) {
		int r = device_abort(h->mount[i].mountpoint);

		if (r < 0)
			keeper_log("abort_failed mountpoint=\"%s\" errno=%d",
				h->mount[i].mountpoint, -r);
	}
}
