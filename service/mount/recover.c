/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is done at start with what the last run left:
 *
 *	PROVISIONING         removed, as if it had never been asked for
 *	READY, QUIESCING     opened again at the same path, with its writes and its lease
 *	FAILED, files kept   tried again: somebody may have repaired it
 *	EXPIRED, DELETING    deleted to the end
 *	DELETED, FAILED      remembered
 *	mounts, directories without a record    detached, removed
 *
 * One mount that cannot be brought back becomes FAILED, with its files kept, and does not stop the
 *others. What concerns all (no session can be opened) is an error of the start, and then nothing
 *has been changed. One thread, before all others.
 */
#include "mount_host.h"
#include "mount_switch.h"
#include "mounts_internal.h"
#include "trash.h"

#include <base/cleanup.h>
#include <base/clock.h>
#include <base/log.h>
#include <base/path.h>
#include <dirent.h>
#include <errno.h>
#include <fuse/session.h>
#include <service/config.h>
#include <service/tenants.h>
#include <stdio.h>
#include <stdlib.h>
#include <storage/storage.h>
#include <string.h>
#include <unistd.h>

#define OPEN_SESSION_NS (30 * NS_PER_S)

struct recovery {
	struct mounts *m;
	struct mount_record *records;
	unsigned count, cap;
	struct name_table damaged; /* ids whose record cannot be read: their files are left alone */
	unsigned recovered, failed, removed;
	struct err e;
};

struct damaged_id {
	struct name_node node;
	char id[40];
};

static int note_damaged(struct recovery *rc, const char *mount_id, int error)
{
	struct damaged_id *d = calloc(1, sizeof(*d));

	if (!d)
		return -ENOMEM;
	log_error("mount_record_damaged", LOG_S("mount_id", mount_id), LOG_E(error));
	(void)snprintf(d->id, sizeof(d->id), "%s", mount_id);
	rc->failed++;
	return name_table_insert(&rc->damaged, &d->node, d->id);
}

/* Creations are journaled in any order, so the last row written need not be the latest. */
static void note_serial(struct mounts *m, const struct mount_record *r)
{
	const struct tenant *tn = tenants_find(m->config.tenants, r->tenant);
	struct mount_serial *serial = tn ? mount_serial_of(m, tn) : NULL;

	if (serial)
		serial_note(&serial->counter, r->serial);
}

static int collect(void *arg, const char *mount_id, struct mount_record *r, int error)
{
	struct recovery *rc = arg;

	if (!r)
		return note_damaged(rc, mount_id, error);
	if (rc->count == rc->cap) {
		unsigned cap = rc->cap ? 2 * rc->cap : 64;
		struct mount_record *grown = reallocarray(rc->records, cap, sizeof(*grown));

		if (!grown) {
			mount_record_fini(r);
			return -ENOMEM;
		}
		rc->records = grown;
		rc->cap = cap;
	}
	rc->records[rc->count++] = *r;
	note_serial(rc->m, r);
	return 0;
}

static int by_order(const void *a, const void *b)
{
	const struct mount_record *x = a, *y = b;

	return x->order < y->order ? -1 : x->order > y->order;
}

/* ---- one mount ---- */

int mount_mark_failed(struct mount *mt, const struct err *why)
{
	struct mount_record next;
	struct err e = {0};
	int err = mount_record_copy(&mt->rec, &next);

	if (err)
		return err;
	next.state = MOUNT_FAILED;
	next.files_kept = true;
	next.ended_wall_ns = clock_wall_ns(mt->registry->config.clock);
	err = mount_record_set_text(&next.reason, err_message(why));
	if (!err)
		err = mount_commit(mt, &next, 0, MOUNT_EVENT_CHANGED, &e);
	mount_record_fini(&next);
	return err;
}

static int mark_ready(struct mount *mt)
{
	struct mounts *m = mt->registry;
	struct mount_record next;
	struct err e = {0};
	int err = mount_record_copy(&mt->rec, &next);

	if (err)
		return err;
	if (next.lease_seconds)
		next.lease_expires_wall_ns = lease_after_restart(next.lease_expires_wall_ns,
			next.lease_seconds, clock_wall_ns(m->config.clock));
	if (next.state == MOUNT_READY &&
		oid_is_none(&next.switching_from)) { /* what the journal says is still true */
		LOCK_GUARD(&m->mu);
		mount_put_locked(mt, &next, MOUNT_EVENT_CHANGED);
		return 0;
	}
	next.state = MOUNT_READY;
	if (!oid_is_none(&next.switching_from))
		next.generation++;
	next.switching_from = (struct oid){0};
	next.files_kept = false;
	next.ended_wall_ns = 0;
	(void)mount_record_set_text(&next.reason, NULL); /* emptying needs no memory */
	if (mt->to_tell.notice_count || mt->plan_done) { /* journaled when it is told */
		LOCK_GUARD(&m->mu);
		mount_put_locked(mt, &next, MOUNT_EVENT_CHANGED);
		return 0;
	}
	err = mount_commit(mt, &next, 0, MOUNT_EVENT_CHANGED, &e);
	mount_record_fini(&next);
	return err;
}

/* The mount was being switched. If the old view cannot be had any more (the index is a cache), and
 * no kernel remembers it, it begins anew with the new one: then only inode numbers are others. */
static int finish_switch(struct mount *mt, const struct mount_attach *how, struct err *e)
{
	int err = mount_switch_resume(mt, how->deadline_ns, e);
	bool adopted = mt->host->adopted;

	if (!err)
		return 0;
	mount_detach(mt);
	if (adopted)
		return err;
	mt->rec.switching_from = (struct oid){0};
	mt->rec.generation++;
	return mount_attach(mt, how, e);
}

static int try_attach(struct recovery *rc, struct mount *mt, struct err *e)
{
	struct mounts *m = rc->m;
	struct mount_attach how = {.recover = true,
		.adopt = mt->rec.state == MOUNT_READY || mt->rec.state == MOUNT_QUIESCING,
		.deadline_ns = clock_after(m->config.clock, OPEN_SESSION_NS)};
	int err;

	if (!mt->tenant)
		return err_set(e, -ENOENT, "TENANT_NOT_FOUND",
			"its tenant %s is not in the configuration any more", mt->rec.tenant);
	how.origin = storage_origin(m->config.storage, mt->rec.origin);
	if (!how.origin)
		log_warn("mount_without_origin", LOG_S("mount_id", mt->rec.mount_id),
			LOG_S("origin", mt->rec.origin));
	err = mount_attach(mt, &how, e);
	if (!err && !oid_is_none(&mt->rec.switching_from))
		err = finish_switch(mt, &how, e);
	origin_unref(how.origin);
	return err;
}

/* Back to READY, or to FAILED. */
static int bring_back(struct recovery *rc, struct mount *mt)
{
	struct err e = {0};
	int err = try_attach(rc, mt, &e);

	if (err && mount_adopt_give_up(rc->m, mt->rec.tenant))
		err = try_attach(rc, mt, &e);
	if (!err) {
		quota_charge_force(tenant_quota(mt->tenant), QUOTA_MOUNTS, 1);
		mt->counted = true;
		rc->recovered++;
		counter_add(rc->m->metrics.recovered, 1);
		return mark_ready(mt);
	}
	rc->failed++;
	counter_add(rc->m->metrics.recover_failed, 1);
	log_error("mount_not_recovered", LOG_S("mount_id", mt->rec.mount_id),
		LOG_S("tenant", mt->rec.tenant), LOG_S("job_id", mt->rec.job_id),
		LOG_S("message", err_message(&e)));
	return mt->rec.state == MOUNT_FAILED ? 0 : mount_mark_failed(mt, &e);
}

/* A creation that was cut short. Nobody was told that it exists. */
static int roll_back(struct recovery *rc, struct mount_record *r)
{
	int err = trash_put(rc->m->trash, r->mount_id);
	char owner[40];

	mountpoint_remove(rc->m, r);
	rc->removed++;
	if (!err)
		err = mount_journal_job(rc->m->journal, r->tenant, r->job_id, owner);
	return err ? err : mount_journal_remove(rc->m->journal, r, strcmp(owner, r->mount_id) == 0);
}

static int handle(struct recovery *rc, struct mount *mt)
{
	struct err e = {0};

	switch (mt->rec.state) {
	case MOUNT_READY:
		return bring_back(rc, mt);
	case MOUNT_QUIESCING: /* goes on forward: see mount_switch.h */
		return bring_back(rc, mt);
	case MOUNT_FAILED:
		return mt->rec.files_kept && mt->has_job ? bring_back(rc, mt) : 0;
	case MOUNT_EXPIRED:
	case MOUNT_DELETING:
		rc->removed++;
		return mount_delete_claimed(mt, &e);
	default:
		return 0;
	}
}

static int recover_one(struct recovery *rc, struct mount_record *r)
{
	struct mounts *m = rc->m;
	struct mount *mt;
	char owner[40];
	int err;

	if (r->order > m->last_order)
		m->last_order = r->order;
	if (r->state == MOUNT_PROVISIONING)
		return roll_back(rc, r);
	err = mount_journal_job(m->journal, r->tenant, r->job_id, owner);
	if (err)
		return err;
	mt = mount_new(m, r);
	if (!mt)
		return -ENOMEM;
	mt->tenant = tenants_find(m->config.tenants, mt->rec.tenant);
	lock_acquire(&m->mu);
	err = mount_register_locked(m, mt, true, strcmp(owner, mt->rec.mount_id) == 0);
	if (err)
		mount_unref_locked(mt);
	else
		mt->busy = true;
	lock_release(&m->mu);
	if (err)
		return err;
	err = handle(rc, mt);
	mount_release(mt);
	return err;
}

/* ---- all ---- */

/* The last process had a session of the tenant open: somebody may stand in it, even if no mount is
 * left to bring back. */
static bool session_is_left(const struct mounts *m, const char *tenant)
{
	_cleanup_free_ char *path = NULL;

	if (asprintf(&path, "%s/sessions/%s/init", m->config.cfg->run_dir, tenant) < 0)
		path = NULL;
	return path && access(path, F_OK) == 0;
}

/* Sessions of all tenants with mounts to bring back: if one cannot be opened, the node cannot
 * serve, and nothing must change. */
static int open_sessions(struct recovery *rc)
{
	struct mounts *m = rc->m;

	for (unsigned i = 0; i < rc->count; i++) {
		const struct mount_record *r = &rc->records[i];
		struct tenant *tn = tenants_find(m->config.tenants, r->tenant);
		struct mount_host *host;
		bool needed = r->state == MOUNT_READY || r->state == MOUNT_QUIESCING;
		int err;

		if (!tn || (!needed && !session_is_left(m, r->tenant)))
			continue;
		err = mount_host_acquire(
			m, tn, clock_after(m->config.clock, OPEN_SESSION_NS), &host, &rc->e);
		if (err && needed)
			return err;
		if (err) { /* it comes with the tenant's next mount */
			rc->e = (struct err){0};
			continue;
		}
		mount_host_release(m, host); /* stays open: it is only just idle */
	}
	return 0;
}

static void remove_unknown_workspaces(struct recovery *rc)
{
	struct mounts *m = rc->m;
	DIR *dir = opendir(m->workspaces_dir);

	if (!dir) {
		log_error("workspaces_unreadable", LOG_S("dir", m->workspaces_dir), LOG_E(-errno));
		return;
	}
	for (const struct dirent *entry; (entry = readdir(dir));) {
		const struct mount_key key = {.mount_id = entry->d_name};
		const struct mount *mt = mount_find_locked(m, &key);

		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if ((mt && mt->rec.state != MOUNT_DELETED) ||
			name_table_find(&rc->damaged, entry->d_name))
			continue;
		log_info("workspace_without_record", LOG_S("name", entry->d_name));
		(void)trash_put(m->trash, entry->d_name); /* tried again at the next start */
	}
	(void)closedir(dir);
	trash_sweep(m->trash);
}

static int recover_all(struct recovery *rc)
{
	int err = mount_journal_each(rc->m->journal, collect, rc);

	if (!err)
		err = mount_journal_settle_format(rc->m->journal, NULL);
	if (err)
		return err;
	if (rc->count)
		qsort(rc->records, rc->count, sizeof(*rc->records), by_order);
	err = open_sessions(rc);
	if (!err)
		err = mount_adopt_sweep(rc->m, rc->records, rc->count);
	for (unsigned i = 0; !err && i < rc->count; i++)
		err = recover_one(rc, &rc->records[i]);
	if (!err)
		mount_adopt_serve(rc->m, rc->records, rc->count);
	if (!err)
		remove_unknown_workspaces(rc);
	return err;
}

static void free_damaged(struct recovery *rc)
{
	for (struct hashmap_cursor it = {0}; hashmap_next(&rc->damaged.chains, &it);)
		for (struct name_node *node = it.value, *next; node; node = next) {
			next = node->next;
			free(container_of(node, struct damaged_id, node));
		}
	name_table_fini(&rc->damaged);
}

int mounts_recover(struct mounts *m, struct err *e)
{
	struct recovery rc = {.m = m};
	int err = name_table_init(&rc.damaged);

	m->recovering = true;
	m->recovery_ns = clock_mono_ns(m->config.clock);
	m->recovery_wall_ns = clock_wall_ns(m->config.clock);
	if (!err)
		err = recover_all(&rc);
	m->recovering = false;
	for (unsigned i = 0; i < rc.count; i++)
		mount_record_fini(&rc.records[i]);
	free(rc.records);
	free_damaged(&rc);
	if (err) {
		if (e)
			*e = rc.e;
		return err_wrap(e, err, "cannot bring back the mounts of the last run");
	}
	if (rc.recovered || rc.failed || rc.removed)
		log_info("recovered", LOG_U("mounts", rc.recovered), LOG_U("failed", rc.failed),
			LOG_U("removed", rc.removed));
	return 0;
}
