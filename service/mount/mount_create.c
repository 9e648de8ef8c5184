/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making a mount. The first of several equal requests puts a mount that is not `known` yet into the
 *tables and does the work; the others find it there and wait for it.
 *
 *	resolve revision and path, look at the mountpoint     nothing to undo but the place in the
 *tables journal PROVISIONING                                  from here a crash is rolled back at
 *start session, account, workspace, bind mount journal READY from here a crash brings it back
 *
 * Runs on the caller's thread, which may block on local disk and on the origin until the deadline.
 */
#include "mount_change_list.h"
#include "mount_kept.h"
#include "mount_request.h"
#include "mounts_internal.h"
#include "prefetch_wait.h"
#include "trash.h"

#include <base/cancel.h>
#include <base/clock.h>
#include <base/log.h>
#include <errno.h>
#include <service/node.h>
#include <service/origins.h>
#include <service/tenants.h>
#include <stdlib.h>
#include <storage/storage.h>
#include <string.h>

#define WAIT_SLICE_NS (100 * NS_PER_MS) /* how soon a waiter sees that its call was cancelled */

struct creation {
	struct mounts *m;
	const struct cancel *cancel;
	uint64_t deadline_ns, started_ns;
	struct tenant *tenant;
	struct mount_record want;                 /* what is asked for */
	const struct mount_change_source *change; /* NULL: none; borrowed */
	struct mount *mt;                         /* claimed, once it is ours to make */
	struct origin *origin;
	struct err e;
};

static int check_still_wanted(struct creation *c)
{
	int err = cancel_check(c->cancel, c->deadline_ns);

	if (!err)
		return 0;
	return err_set(&c->e, err, "",
		err == -ECANCELED ? "the call was cancelled"
				  : "the deadline of the call has passed");
}

/* ---- joining, or starting ---- */

/* Wait a little for the mount to change; the caller looks again. */
static int wait_locked(struct creation *c, struct mount *mt)
{
	uint64_t slice = clock_after(c->m->config.clock, WAIT_SLICE_NS);
	int err;

	mt->refs++;
	(void)cond_wait_until(
		&mt->changed, &c->m->mu, slice < c->deadline_ns ? slice : c->deadline_ns);
	err = check_still_wanted(c);
	/* The reason of the one who tried is ours too, unless it was only its own call that ended.
	 */
	if (!err && mt->failure && mt->failure->code != -ECANCELED &&
		mt->failure->code != -ETIMEDOUT) {
		c->e = *mt->failure;
		err = c->e.code;
	}
	mount_unref_locked(mt);
	return err;
}

static int start_locked(struct creation *c)
{
	struct mounts *m = c->m;
	struct mount_record rec;
	int err;

	if (m->draining)
		return err_set(&c->e, -ESHUTDOWN, "DRAINING",
			"this node drains or stops, and makes no new mounts");
	if (c->want.mountpoint) {
		err = mountpoint_free_locked(m, c->want.mountpoint, &c->e);
		if (err)
			return err;
	}
	err = mount_record_copy(&c->want, &rec);
	if (!err)
		err = node_uuid(rec.mount_id);
	if (err)
		return err_set(&c->e, err, "", "cannot start a mount: %s", strerror(-err));
	rec.order = m->last_order + 1;
	rec.created_wall_ns = clock_wall_ns(m->config.clock);
	c->mt = mount_new(m, &rec);
	mount_record_fini(&rec);
	if (!c->mt)
		return err_set(&c->e, -ENOMEM, "", "no memory for a mount");
	c->mt->tenant = c->tenant;
	c->mt->busy = true;
	err = mount_register_locked(m, c->mt, false, true);
	if (err) {
		mount_unref_locked(c->mt);
		c->mt = NULL;
		return err_set(&c->e, err, "", "no memory for a mount");
	}
	m->last_order++;
	return 0;
}

/* Either c->mt is ours to make, or *ret_info is the answer, or an error. */
static int join_or_start(struct creation *c, struct mount_info *ret_info)
{
	const struct mount_key key = {.job_id = c->want.job_id, .tenant = c->want.tenant};
	int err = 0;

	LOCK_GUARD(&c->m->mu);
	while (!err) {
		struct mount *mt = mount_find_locked(c->m, &key);

		if (!mt || mt->rec.state == MOUNT_DELETED || mt->rec.state == MOUNT_FAILED)
			return start_locked(c);
		if (mt->rec.state != MOUNT_DELETING && mt->rec.state != MOUNT_EXPIRED) {
			err = mount_request_compare(&mt->rec, &c->want, &c->e);
			if (err)
				return err;
			if (mt->rec.state != MOUNT_PROVISIONING)
				return mount_copy_info_locked(mt, ret_info, &c->e);
		}
		err = wait_locked(c, mt);
	}
	return err;
}

/* ---- the work ---- */

/* A failure of the repository itself is not the caller's fault, whatever its errno. */
static int origin_error(const struct mount_record *r, int err, struct err *e)
{
	struct err why = *e;

	if (!why.reason[0] && (err == -EIO || err == -EBADMSG || err == -EHOSTUNREACH))
		err = err_set(e, -EHOSTUNREACH, "ORIGIN_UNAVAILABLE",
			"origin %s cannot be read: %s", r->origin,
			why.message[0] ? why.message : strerror(-err));
	else if (!why.message[0])
		err = err_set(e, err, "", "origin %s: %s", r->origin, strerror(-err));
	return err;
}

int mount_root_resolve(struct mount *mt, const struct mount_change_call *call, const char *revision,
	struct mount_record *next, struct err *e)
{
	struct storage *storage = mt->registry->config.storage;
	const char *path = next->path ? next->path : "";
	struct origin_revision found;
	int err = storage_resolve(storage, call->origin, revision, call->deadline_ns, &found, e);

	if (err)
		return origin_error(next, err, e);
	next->commit = found.commit;
	next->commit_time_s = found.time_s;
	next->root = found.root;
	if (mount_change_list_given(next))
		err = mount_change_list_lay(mt, call, next, e);
	else if (path[0])
		err = storage_find_subtree(storage, call->origin, &next->root, path,
			call->deadline_ns, &next->root, e);
	else
		err = storage_need_tree(storage, call->origin, &next->root, call->deadline_ns);
	return err ? origin_error(next, err, e) : 0;
}

static int resolve(struct creation *c, struct mount_record *next)
{
	struct mounts *m = c->m;
	int err = origins_get(m->config.storage, m->config.cfg, m->config.metrics, next->origin,
		&c->origin, &c->e);

	const struct mount_change_call call = {
		.origin = c->origin, .source = c->change, .deadline_ns = c->deadline_ns};

	return err ? err : mount_root_resolve(c->mt, &call, next->revision, next, &c->e);
}

static int charge(struct creation *c)
{
	struct quota *quota = tenant_quota(c->tenant);

	if (quota_charge(quota, QUOTA_MOUNTS, 1))
		return err_set(&c->e, -EDQUOT, "MOUNT_LIMIT",
			"tenant %s has reached its limit of %llu mounts; delete some",
			c->want.tenant, (unsigned long long)quota_limit(quota, QUOTA_MOUNTS));
	c->mt->counted = true;
	return 0;
}

/* Files of this mount are there, or may come back. */
static bool uses_serial(const struct mount *mt)
{
	return mt->rec.serial && mt->rec.state != MOUNT_DELETED &&
	       (mt->rec.state != MOUNT_FAILED || mt->rec.files_kept);
}

static uint32_t nearest_serial_locked(void *arg, uint32_t after)
{
	struct creation *c = arg;
	uint32_t nearest = 0;

	list_for_each (it, &c->m->all) {
		const struct mount *mt = list_entry(it, struct mount, link);
		uint32_t steps;

		if (mt->tenant != c->tenant || !uses_serial(mt))
			continue;
		steps = serial_distance(after, mt->rec.serial);
		if (!nearest || steps < nearest)
			nearest = steps;
	}
	return nearest;
}

static int give_serial(struct creation *c, struct mount_record *next)
{
	struct mount_serial *serial = mount_serial_of(c->m, c->tenant);

	LOCK_GUARD(&c->m->mu);
	next->serial = serial_give(&serial->counter, nearest_serial_locked, c);
	if (!next->serial)
		return err_set(&c->e, -EOVERFLOW, "SERIALS_EXHAUSTED",
			"tenant %s has a workspace of each number", c->want.tenant);
	return 0;
}

/* From here on it is known to all, and to the next start. */
static int journal_provisioning(struct creation *c, struct mount_record *next)
{
	int err = mount_journal_put(c->m->journal, next, JOURNAL_JOB_SET | JOURNAL_SERIAL);

	if (err)
		return mount_journal_failed(c->m, err, &c->e);
	LOCK_GUARD(&c->m->mu);
	c->mt->known = true;
	mount_put_locked(c->mt, next, MOUNT_EVENT_CHANGED);
	return 0;
}

static int prepare(struct creation *c)
{
	struct mount_record next;
	int err = mount_record_copy(&c->mt->rec, &next);

	if (err)
		return err_set(&c->e, err, "", "no memory");
	err = resolve(c, &next);
	if (!err && next.mountpoint)
		err = mountpoint_check(c->m, next.mountpoint, &next.mountpoint_made, &c->e);
	if (!err)
		err = check_still_wanted(c);
	if (!err)
		err = charge(c);
	if (!err)
		err = give_serial(c, &next);
	if (!err)
		err = journal_provisioning(c, &next);
	mount_record_fini(&next);
	return err;
}

static int make_ready(struct creation *c)
{
	struct mount_record next;
	int err = mount_record_copy(&c->mt->rec, &next);

	if (err)
		return err_set(&c->e, err, "", "no memory");
	next.state = MOUNT_READY;
	next.lease_expires_wall_ns = mount_lease_end(c->m, next.lease_seconds);
	err = mount_commit(c->mt, &next, 0, MOUNT_EVENT_CHANGED, &c->e);
	mount_record_fini(&next);
	return err;
}

static int build(struct creation *c)
{
	struct mount_attach how = {.deadline_ns = c->deadline_ns};
	int err = prepare(c);

	if (err)
		return err;
	how.origin = c->origin;
	err = mount_attach(c->mt, &how, &c->e);
	if (!err)
		err = check_still_wanted(c);
	return err ? err : make_ready(c);
}

/* ---- taking it back ---- */

/* A call that ended leaves nothing; a real failure stays to be seen, without files. */
static void take_back(struct creation *c)
{
	bool ended = c->e.code == -ECANCELED || c->e.code == -ETIMEDOUT;
	enum mount_state to = ended ? MOUNT_DELETED : MOUNT_FAILED;
	int err;

	mount_detach(c->mt);
	mount_remove_leftovers(c->mt);
	err = mount_move(c->mt, to, err_message(&c->e), 0, NULL);
	if (err) { /* the journal says PROVISIONING: the next start removes it */
		log_error("journal_failed", LOG_S("mount_id", c->mt->rec.mount_id), LOG_E(err));
		LOCK_GUARD(&c->m->mu);
		mount_unregister_locked(c->mt);
	}
}

/* What a change list keeps is there before the mount is known. */
static void remove_early(struct creation *c)
{
	int err = trash_put(c->m->trash, c->mt->rec.mount_id);

	if (err) /* the next start finds the directory without a record and removes it */
		log_warn("workspace_not_removed", LOG_S("mount_id", c->mt->rec.mount_id),
			LOG_E(err));
}

static void finish(struct creation *c, int err, struct mount_info *ret_info)
{
	struct mounts *m = c->m;
	struct mount *mt = c->mt;
	bool known;

	lock_acquire(&m->mu);
	mt->refs++; /* ours, while the tables may let go of it */
	known = mt->known;
	lock_release(&m->mu);
	if (err) {
		mount_kept_close(mt); /* if it never came to be attached */
		if (known)
			take_back(c);
		else
			remove_early(c);
	}
	lock_acquire(&m->mu);
	if (err) {
		mt->failure = malloc(sizeof(*mt->failure));
		if (mt->failure)
			*mt->failure = c->e;
		if (!known) {
			if (mt->counted)
				quota_release(tenant_quota(mt->tenant), QUOTA_MOUNTS, 1);
			mount_unregister_locked(mt);
		}
	} else {
		c->e.code = mount_copy_info_locked(mt, ret_info, &c->e);
	}
	mount_release_locked(mt);
	mount_unref_locked(mt);
	lock_release(&m->mu);
}

static int make(struct creation *c, struct mount_info *ret_info)
{
	int err = build(c);

	c->e.code = err;
	if (err) {
		counter_add(c->m->metrics.create_failed, 1);
		log_warn("mount_failed", LOG_S("tenant", c->want.tenant),
			LOG_S("job_id", c->want.job_id), LOG_S("reason", err_reason(&c->e)),
			LOG_S("message", err_message(&c->e)));
	} else {
		uint64_t took = clock_mono_ns(c->m->config.clock) - c->started_ns;

		counter_add(c->m->metrics.created, 1);
		histogram_observe(c->m->metrics.create_time, took);
		log_info("mount_ready", LOG_S("mount_id", c->mt->rec.mount_id),
			LOG_S("tenant", c->want.tenant), LOG_S("job_id", c->want.job_id),
			LOG_U("took_us", took / NS_PER_US));
	}
	finish(c, err, ret_info);
	origin_unref(c->origin);
	return c->e.code;
}

int mounts_create(struct mounts *m, const struct mount_request *rq, const struct cancel *cancel,
	uint64_t deadline_ns, struct mount_info *ret_info, struct err *e)
{
	struct creation c = {
		.m = m,
		.cancel = cancel,
		.deadline_ns = mount_deadline(m, deadline_ns),
		.change = rq->change,
	};
	int err;

	c.started_ns = clock_mono_ns(m->config.clock);
	c.tenant = rq->tenant ? tenants_find(m->config.tenants, rq->tenant) : NULL;
	if (!c.tenant)
		return err_set(e, -ENOENT, "TENANT_NOT_FOUND", "there is no tenant \"%.64s\"",
			rq->tenant ? rq->tenant : "");
	err = mount_request_check(m->config.cfg, c.tenant, rq, &c.want, &c.e);
	if (!err)
		err = join_or_start(&c, ret_info);
	if (!err && c.mt)
		err = make(&c, ret_info);
	if (!err) {
		err = prefetch_wait(m, ret_info, rq, cancel, c.deadline_ns, &c.e);
		if (err)
			mount_info_fini(ret_info);
	}
	mount_record_fini(&c.want);
	if (err && e)
		*e = c.e;
	return err;
}
