/* SPDX-License-Identifier: Apache-2.0 */
/* Changing a mount that is READY: its lease, quota and labels. Journaled before the answer; blocks
 * on the disk. */
#include "mount_request.h"
#include "mounts_internal.h"

#include <base/clock.h>
#include <errno.h>
#include <service/tenants.h>
#include <string.h>

/* A READY mount, claimed and with a reference, or an error. */
static int claim_ready(
	struct mounts *m, const struct mount_key *key, struct mount **ret_mount, struct err *e)
{
	struct mount *mt;
	int err;

	LOCK_GUARD(&m->mu);
	mt = mount_find_locked(m, key);
	if (!mt || !mt->known || mt->rec.state == MOUNT_DELETED)
		return mount_not_found(key, e);
	if (mt->rec.state != MOUNT_READY && mt->rec.state != MOUNT_QUIESCING)
		return err_set(e, -EBUSY, "NOT_READY", "mount %s is %s", mt->rec.mount_id,
			mount_state_name(mt->rec.state));
	mt->refs++;
	err = mount_claim_locked(mt, mount_deadline(m, 0), e);
	if (!err && mt->rec.state != MOUNT_READY) {
		err = err_set(e, -EBUSY, "NOT_READY", "mount %s is %s", mt->rec.mount_id,
			mount_state_name(mt->rec.state));
		mount_release_locked(mt);
	}
	if (err) {
		mount_unref_locked(mt);
		return err;
	}
	*ret_mount = mt;
	return 0;
}

static void give_back(struct mount *mt)
{
	LOCK_GUARD(&mt->registry->mu);
	mount_release_locked(mt);
	mount_unref_locked(mt);
}

/* Journal the changed copy and answer with what is in force now. */
static int finish(struct mount *mt, struct mount_record *next, bool publish,
	struct mount_info *ret_info, struct err *e)
{
	int err = mount_commit(mt, next, 0, publish ? MOUNT_EVENT_CHANGED : 0, e);

	mount_record_fini(next);
	if (err)
		return err;
	quota_set_limit(&mt->quota, QUOTA_BYTES, mt->rec.quota_bytes);
	quota_set_limit(&mt->quota, QUOTA_INODES, mt->rec.quota_inodes);
	LOCK_GUARD(&mt->registry->mu);
	return mount_copy_info_locked(mt, ret_info, e);
}

static int check_lease(uint32_t lease_seconds, struct err *e)
{
	if (lease_seconds && (lease_seconds < LEASE_MIN_S || lease_seconds > LEASE_MAX_S))
		return err_field(
			e, "lease_seconds", "must be 0 or %u to %u", LEASE_MIN_S, LEASE_MAX_S);
	return 0;
}

int mounts_renew(struct mounts *m, const struct mount_key *key, uint32_t lease_seconds,
	struct mount_info *ret_info, struct err *e)
{
	struct mount_record next;
	struct mount *mt;
	int err = check_lease(lease_seconds, e);

	if (!err)
		err = claim_ready(m, key, &mt, e);
	if (err)
		return err;
	err = mount_record_copy(&mt->rec, &next);
	if (err) {
		(void)err_set(e, err, "", "no memory");
	} else {
		bool other_length = lease_seconds && lease_seconds != next.lease_seconds;

		if (other_length)
			next.lease_seconds = lease_seconds;
		next.lease_expires_wall_ns = mount_lease_end(m, next.lease_seconds);
		err = finish(mt, &next, other_length, ret_info, e); /* a mere renewal is not news */
	}
	give_back(mt);
	return err;
}

static int apply(struct mounts *m, const struct mount *mt, const struct mount_update *update,
	struct mount_record *next)
{
	uint64_t bytes, inodes;

	tenant_default_quota(mt->tenant, &bytes, &inodes);
	if (update->fields & MOUNT_UPDATE_BYTES)
		next->quota_bytes = update->quota_bytes ? update->quota_bytes : bytes;
	if (update->fields & MOUNT_UPDATE_INODES)
		next->quota_inodes = update->quota_inodes ? update->quota_inodes : inodes;
	if (update->fields & MOUNT_UPDATE_LEASE) {
		next->lease_seconds = update->lease_seconds;
		next->lease_expires_wall_ns = mount_lease_end(m, update->lease_seconds);
	}
	if (update->fields & MOUNT_UPDATE_LABELS)
		return mount_labels_set(next, update->labels, update->label_count);
	return 0;
}

int mounts_update(struct mounts *m, const struct mount_key *key, const struct mount_update *update,
	struct mount_info *ret_info, struct err *e)
{
	struct mount_record next;
	struct mount *mt;
	int err = 0;

	if (update->fields & MOUNT_UPDATE_LEASE)
		err = check_lease(update->lease_seconds, e);
	if (!err && update->fields & MOUNT_UPDATE_LABELS)
		err = mount_labels_check(update->labels, update->label_count, e);
	if (!err)
		err = claim_ready(m, key, &mt, e);
	if (err)
		return err;
	err = mount_record_copy(&mt->rec, &next);
	if (!err) {
		err = apply(m, mt, update, &next);
		if (err)
			mount_record_fini(&next);
	}
	err = err ? err_set(e, err, "", "no memory") : finish(mt, &next, true, ret_info, e);
	give_back(mt);
	return err;
}
