/* SPDX-License-Identifier: Apache-2.0 */
/* Watching of the in-memory registry: `fn` runs with its lock held, as the contract allows, and
 * unwatch waits for that lock. */
#include <stdlib.h>

#include "base/clock.h"
#include "fake_mounts.h"

struct mount_watch {
	struct list link;
	const struct mount_filter *filter;
	mount_watch_fn fn;
	void *arg;
};

static void tell_one(struct mount_watch *w, enum mount_event_kind kind, uint64_t sequence,
	const struct mount_info *info)
{
	const struct mount_event ev = {.kind = kind,
		.sequence = sequence,
		.wall_ns = clock_wall_ns(&clock_system),
		.mount = info};

	if (!info || fake_matches(w->filter, info))
		w->fn(w->arg, &ev);
}

void fake_tell(struct mounts *m, struct fake_mount *mount, enum mount_event_kind kind)
{
	mount->info.sequence = ++m->sequence;
	list_for_each (it, &m->watches)
		tell_one(list_entry(it, struct mount_watch, link), kind, m->sequence, &mount->info);
}

int mounts_watch(struct mounts *m, const struct mount_filter *filter, uint64_t since_sequence,
	mount_watch_fn fn, void *arg, struct mount_watch **ret_watch)
{
	struct mount_watch *w = calloc(1, sizeof(*w));

	*w = (struct mount_watch){.filter = filter, .fn = fn, .arg = arg};
	(void)pthread_mutex_lock(&m->mu);
	list_for_each (it, &m->all) {
		struct fake_mount *mount = list_entry(it, struct fake_mount, link);

		if (!since_sequence && !mount->deleted)
			tell_one(w, MOUNT_EVENT_PRESENT, mount->info.sequence, &mount->info);
		if (since_sequence && mount->info.sequence > since_sequence)
			tell_one(w, mount->deleted ? MOUNT_EVENT_REMOVED : MOUNT_EVENT_CHANGED,
				mount->info.sequence, &mount->info);
	}
	if (!since_sequence)
		tell_one(w, MOUNT_EVENT_SYNCED, m->sequence, NULL);
	list_push_back(&m->watches, &w->link);
	(void)pthread_mutex_unlock(&m->mu);
	*ret_watch = w;
	return 0;
}

void mounts_unwatch(struct mounts *m, struct mount_watch *w)
{
	(void)pthread_mutex_lock(&m->mu);
	list_remove(&w->link);
	(void)pthread_mutex_unlock(&m->mu);
	free(w);
}
