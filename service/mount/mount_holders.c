/* SPDX-License-Identifier: Apache-2.0 */
/* Which processes still use which mounts: for a deletion, and for a drain that does not end. One
 * walk over /proc for all mounts; the registry is only locked to look one up. */
#include "mount_host.h"
#include "mounts_internal.h"

#include <errno.h>
#include <fuse/session.h>
#include <stdlib.h>
#include <string.h>

struct gathering {
	struct mounts *m;
	const struct mount_key *key; /* NULL: all */
	struct mount_holder *found;
	unsigned count;
};

/* The mount that a holder is in; NULL: none of those that were asked for. */
static const struct mount *held_locked(struct gathering *g, const struct sess_holder *h)
{
	list_for_each (it, &g->m->all) {
		const struct mount *mt = list_entry(it, struct mount, link);
		unsigned major_number, minor_number;

		if (!mt->attached || strcmp(mt->rec.job_id, h->workspace) != 0)
			continue;
		sess_device(mt->host->session, &major_number, &minor_number);
		if (major_number == h->major && minor_number == h->minor)
			return !g->key || mt == mount_find_locked(g->m, g->key) ? mt : NULL;
	}
	return NULL;
}

static int add(void *arg, const struct sess_holder *h)
{
	struct gathering *g = arg;
	struct mount_holder *out;
	const struct mount *mt;

	LOCK_GUARD(&g->m->mu);
	mt = held_locked(g, h);
	if (!mt)
		return 0;
	out = &g->found[g->count++];
	*out = (struct mount_holder){.pid = h->pid, .uid = h->uid, .how = h->how};
	(void)snprintf(out->command, sizeof(out->command), "%s", h->command);
	(void)snprintf(out->mount_id, sizeof(out->mount_id), "%s", mt->rec.mount_id);
	(void)snprintf(out->job_id, sizeof(out->job_id), "%s", mt->rec.job_id);
	(void)snprintf(out->tenant, sizeof(out->tenant), "%s", mt->rec.tenant);
	return g->count == MOUNT_HOLDERS_MAX; /* enough: the walk ends */
}

int mounts_holders(struct mounts *m, const struct mount_key *key, struct mount_holder **ret_holders,
	unsigned *ret_count)
{
	struct gathering g = {.m = m, .key = key};
	int r;

	g.found = calloc(MOUNT_HOLDERS_MAX, sizeof(*g.found));
	if (!g.found)
		return -ENOMEM;
	r = sess_each_holder(add, &g);
	if (r < 0) {
		free(g.found);
		return r;
	}
	*ret_holders = g.found;
	*ret_count = g.count;
	return 0;
}
