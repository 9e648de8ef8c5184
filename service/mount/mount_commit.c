/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one way in which a mount's record changes: journaled and synced first, then put in place,
 * then published. Claimers only; blocks on the disk.
 */
#include "mounts_internal.h"

#include "mount_sm.h"

#include <base/clock.h>
#include <errno.h>
#include <string.h>

static void count_state(struct mounts *m, enum mount_state state, int change)
{
	if (state == MOUNT_READY) {
		m->ready_count += (size_t)change;
		gauge_add(m->metrics.ready, change);
	}
	if (state == MOUNT_DELETED || state == MOUNT_FAILED)
		m->ended_count += (size_t)change;
}

void mount_publish_locked(struct mount *mt, enum mount_event_kind kind)
{
	struct mounts *m = mt->registry;
	struct mount_record event;
	struct mount_info view;

	mount_view_locked(mt, &view);
	event = mt->rec; /* borrowed; with the usage of this moment */
	event.reason = view.reason;
	event.used_bytes = view.used_bytes;
	event.used_inodes = view.used_inodes;
	event.trees_fetched = view.trees_fetched;
	event.blobs_fetched = view.blobs_fetched;
	event.bytes_fetched = view.bytes_fetched;
	event.fetch_errors = view.fetch_errors;
	mt->sequence = watch_publish_locked(
		&m->watch, kind, clock_wall_ns(m->config.clock), &event, &view);
}

void mount_put_locked(struct mount *mt, struct mount_record *next, enum mount_event_kind kind)
{
	struct mounts *m = mt->registry;

	lock_assert_held(&m->mu);
	if (mt->known)
		count_state(m, mt->rec.state, -1);
	mount_record_fini(&mt->rec);
	mt->rec = *next;
	*next = (struct mount_record){0};
	mt->sm.state = mt->rec.state;
	if (!mt->known)
		return;
	count_state(m, mt->rec.state, 1);
	mount_lease_arm_locked(mt);
	if (kind)
		mount_publish_locked(mt, kind);
}

int mount_journal_failed(const struct mounts *m, int err, struct err *e)
{
	if (err == -ENOSPC)
		return err_set(e, err, "DISK_FULL",
			"the journal of mounts cannot be written: the disk of %s is full",
			m->workspaces_dir);
	return err_set(e, err, "", "the journal of mounts cannot be written: %s", strerror(-err));
}

int mount_commit(struct mount *mt, struct mount_record *next, unsigned rows,
	enum mount_event_kind kind, struct err *e)
{
	struct mounts *m = mt->registry;
	int err;

	if (next->state != mt->rec.state && !sm_may(&mt->sm, next->state))
		return err_set(e, -EINVAL, "ILLEGAL_STATE", "mount %s cannot go from %s to %s",
			mt->rec.mount_id, mount_state_name(mt->rec.state),
			mount_state_name(next->state));
	err = mount_journal_put(m->journal, next, rows);
	if (err)
		return mount_journal_failed(m, err, e);
	lock_acquire(&m->mu);
	mount_put_locked(mt, next, kind);
	lock_release(&m->mu);
	return 0;
}

int mount_move(
	struct mount *mt, enum mount_state to, const char *reason, unsigned rows, struct err *e)
{
	struct mount_record next;
	int err = mount_record_copy(&mt->rec, &next);

	if (err)
		return err_set(e, err, "", "no memory");
	next.state = to;
	if (to == MOUNT_DELETED || to == MOUNT_FAILED)
		next.ended_wall_ns = clock_wall_ns(mt->registry->config.clock);
	if (reason)
		err = mount_record_set_text(&next.reason, reason);
	if (!err)
		err = mount_commit(mt, &next, rows,
			to == MOUNT_DELETED ? MOUNT_EVENT_REMOVED : MOUNT_EVENT_CHANGED, e);
	mount_record_fini(&next);
	return err;
}
