/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Deleting a mount: journal DELETING, close everything, move the workspace to the trash, journal
 * DELETED. A crash in between is gone on from at the next start. A DELETED mount is remembered for
 * an hour, so that a repeated delete gets the same answer.
 */
#include "mounts_internal.h"

#include "trash.h"

#include <base/clock.h>
#include <base/log.h>
#include <errno.h>
#include <fuse/session.h>
#include <service/tenants.h>
#include <string.h>

void mount_remove_leftovers(struct mount *mt)
{
	int err = trash_put(mt->registry->trash, mt->rec.mount_id);

	if (err) /* the next start finds the directory without a record and removes it */
		log_warn("workspace_not_removed", LOG_S("mount_id", mt->rec.mount_id), LOG_E(err));
	mountpoint_remove(mt->registry, &mt->rec);
	if (mt->counted)
		quota_release(tenant_quota(mt->tenant), QUOTA_MOUNTS, 1);
	mt->counted = false;
}

int mount_finish_delete(struct mount *mt, struct err *e)
{
	int err;

	mount_detach(mt);
	mount_remove_leftovers(mt);
	err = mount_move(mt, MOUNT_DELETED, NULL, 0, e);
	if (err)
		return err;
	counter_add(mt->registry->metrics.deleted, 1);
	log_info("mount_deleted", LOG_S("mount_id", mt->rec.mount_id),
		LOG_S("tenant", mt->rec.tenant), LOG_S("job_id", mt->rec.job_id),
		LOG_U("used_bytes", mt->rec.used_bytes), LOG_U("used_inodes", mt->rec.used_inodes));
	return 0;
}

int mount_delete_claimed(struct mount *mt, struct err *e)
{
	int err = 0;

	if (mt->rec.state != MOUNT_DELETING)
		err = mount_move(mt, MOUNT_DELETING, NULL, 0, e);
	return err ? err : mount_finish_delete(mt, e);
}

int mounts_delete(struct mounts *m, const struct mount_key *key, uint64_t deadline_ns,
	struct mount_info *ret_info, struct err *e)
{
	struct mount *mt;
	int err;

	LOCK_GUARD(&m->mu);
	mt = mount_find_locked(m, key);
	if (!mt)
		return mount_not_found(key, e);
	mt->refs++;
	err = mount_claim_locked(mt, mount_deadline(m, deadline_ns), e);
	if (err)
		goto out;
	if (!mt->known) {
		err = mount_not_found(key, e); /* its creation, which we waited for, has failed */
	} else if (mt->rec.state != MOUNT_DELETED) {
		lock_release(&m->mu);
		err = mount_delete_claimed(mt, e);
		lock_acquire(&m->mu);
		if (err)
			mount_retry_locked(mt);
	}
	if (!err)
		err = mount_copy_info_locked(mt, ret_info, e);
	mount_release_locked(mt);
out:
	mount_unref_locked(mt);
	return err;
}
