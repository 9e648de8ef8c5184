/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A session can be ended from outside: an administrator unmounts it or aborts its connection. Its
 * mounts are then taken off it, the session is closed and opened again, and the mounts are put back
 * at the same paths with their writes. Jobs that ran meanwhile have seen errors; later ones find
 * everything in place. Runs on the reaper; blocks.
 */
#include "mount_host.h"
#include "mounts_internal.h"

#include <base/clock.h>
#include <base/log.h>
#include <storage/storage.h>

#define ATTACH_NS (30 * NS_PER_S)

/* The next mount on a dead session, claimed and with a reference; NULL: none that is not being
 * worked on. */
static struct mount *take_stranded_locked(struct mounts *m)
{
	list_for_each (it, &m->all) {
		struct mount *mt = list_entry(it, struct mount, link);

		if (!mt->attached || mt->busy || !mt->host->dead)
			continue;
		mt->busy = true;
		mt->refs++;
		return mt;
	}
	return NULL;
}

/* Detaches them all, in a list by their own links to the next one. They stay claimed. */
static struct mount *detach_stranded(struct mounts *m)
{
	struct mount *stranded = NULL, *mt;

	lock_acquire(&m->mu);
	while ((mt = take_stranded_locked(m))) {
		lock_release(&m->mu);
		mount_detach(mt);
		mt->next_stranded = stranded;
		stranded = mt;
		lock_acquire(&m->mu);
	}
	lock_release(&m->mu);
	return stranded;
}

static void put_back(struct mount *mt)
{
	struct mounts *m = mt->registry;
	struct mount_attach how = {
		.recover = true,
		.origin = storage_origin(m->config.storage, mt->rec.origin),
		.deadline_ns = clock_after(m->config.clock, ATTACH_NS),
	};
	struct err e = {0};
	int err = mount_attach(mt, &how, &e);

	origin_unref(how.origin);
	if (err) {
		log_error("mount_not_revived", LOG_S("mount_id", mt->rec.mount_id),
			LOG_S("message", err_message(&e)));
		err = mount_mark_failed(mt, &e);
		if (err)
			log_error(
				"journal_failed", LOG_S("mount_id", mt->rec.mount_id), LOG_E(err));
	}
	lock_acquire(&m->mu);
	if (!err && mt->attached)
		mount_publish_locked(mt, MOUNT_EVENT_CHANGED); /* nothing is wrong with it now */
	mount_release_locked(mt);
	mount_unref_locked(mt);
	lock_release(&m->mu);
}

void mounts_revive(struct mounts *m)
{
	struct mount *stranded;
	unsigned count = 0;
	bool dead;

	lock_acquire(&m->mu);
	dead = mount_hosts_find_dead_locked(m);
	lock_release(&m->mu);
	if (!dead)
		return;
	stranded = detach_stranded(m);
	mount_hosts_close(m, false);
	while (stranded) {
		struct mount *mt = stranded;

		stranded = mt->next_stranded;
		put_back(mt);
		count++;
	}
	log_warn("session_revived", LOG_U("mounts", count));
}
