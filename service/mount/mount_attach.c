/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is open of a mount while it can be used: its place in the tenant's session, its account, its
 * lower, its workspace and perhaps a bind mount. The same steps serve a new mount and one found at
 * start. Runs on the thread that has claimed the mount; blocks.
 */
#include "mount_change_list.h"
#include "mount_host.h"
#include "mount_kept.h"
#include "mount_lower.h"
#include "mount_use.h"
#include "mounts_internal.h"
#include "workflow/state.h"

#include <base/cleanup.h>
#include <base/log.h>
#include <base/path.h>
#include <errno.h>
#include <fuse/session.h>
#include <service/tenants.h>
#include <stdlib.h>
#include <string.h>

static int add_workspace(struct mount *mt, const struct mount_attach *how, struct err *e)
{
	const struct mount_record *r = &mt->rec;
	_cleanup_free_ char *dir = path_join(mt->registry->workspaces_dir, r->mount_id);
	struct mount_lower_config lower = {
		.storage = mt->registry->config.storage,
		.cfg = mt->registry->config.cfg,
		.metrics = mt->registry->config.metrics,
		.clock = mt->registry->config.clock,
		.origin = how->origin,
		.origin_name = r->origin,
		.tenant = r->tenant,
		.fetches = mt->fetches,
	};
	struct ovl_ws_config config = {
		.name = r->job_id,
		.serial = r->serial,
		.dir = dir,
		.root_tree = oid_is_none(&r->switching_from) ? r->root : r->switching_from,
		.switching_to = oid_is_none(&r->switching_from) ? (struct oid){0} : r->root,
		.lower_time_s = r->commit_time_s,
		.uid = r->uid,
		.gid = r->gid,
		.read_only = r->read_only,
		.quota = &mt->quota,
		.adopt = how->adopt && mt->host->adopted,
	};
	struct ovl_ws_stats stats;
	int err;

	if (!dir)
		return err_set(e, -ENOMEM, "", "no memory");
	if (how->recover && access(dir, F_OK) < 0)
		return err_set(e, -ENOENT, "WORKSPACE_LOST",
			"the directory of the workspace, %s, is not there", dir);
	config.lower = mount_lower_new(&lower);
	if (!config.lower)
		return err_set(e, -ENOMEM, "", "no memory");
	err = ovl_ws_add(mt->host->overlay, &config, &mt->ws, e);
	if (err) {
		config.lower->ops->free(config.lower);
		if (err == -ENOSPC)
			return err_set(e, err, "DISK_FULL", "no room on the disk of %s",
				mt->registry->workspaces_dir);
		return err_wrap(e, err, "workspace in %s", dir);
	}
	ovl_ws_stats(mt->ws, &stats);
	if (stats.journal_set_aside)
		log_warn("workspace_journal_set_aside", LOG_S("mount_id", r->mount_id),
			LOG_S("tenant", r->tenant), LOG_S("job_id", r->job_id));
	return 0;
}

/* Objects of the Git workflow are charged like files. */
static void charge_objects(struct mount *mt)
{
	_cleanup_free_ char *dir = path_join(mt->registry->workspaces_dir, mt->rec.mount_id);
	uint64_t bytes;
	int err = dir ? wf_state_charged(dir, &bytes) : -ENOMEM;

	if (err)
		log_warn(
			"workflow_charge_unknown", LOG_S("mount_id", mt->rec.mount_id), LOG_E(err));
	else if (bytes)
		quota_charge_force(&mt->quota, QUOTA_BYTES, bytes);
}

static int bind_mountpoint(struct mount *mt, struct err *e)
{
	int err;

	if (!mt->rec.mountpoint)
		return 0;
	mt->bound = mt->host->adopted && sess_bound(mt->host->session, mt->rec.mountpoint);
	if (mt->bound || mt->host->adopted)
		return 0; /* it outlived us too; or mount_adopt.c does it: nothing is served yet */
	err = sess_bind(
		mt->host->session, mt->rec.job_id, mt->rec.mountpoint, mt->rec.read_only, e);
	if (err)
		return mountpoint_refused(mt->rec.mountpoint, err, e);
	mt->bound = true;
	return 0;
}

static void open_account(struct mount *mt)
{
	quota_init(&mt->quota, tenant_quota(mt->tenant));
	quota_set_limit(&mt->quota, QUOTA_BYTES, mt->rec.quota_bytes);
	quota_set_limit(&mt->quota, QUOTA_INODES, mt->rec.quota_inodes);
}

/* What no origin has. */
static int open_kept(struct mount *mt, struct err *e)
{
	int err = mount_kept_open(mt);

	if (err == -ENOENT)
		return err_set(e, err, "CHANGE_LIST_LOST",
			"what the mount keeps of its change list is not there any more");
	return err ? err_set(e, err, "", "the kept change list: %s", strerror(-err)) : 0;
}

int mount_attach(struct mount *mt, const struct mount_attach *how, struct err *e)
{
	struct mounts *m = mt->registry;
	int err;

	if (how->recover && how->origin) {
		err = mount_change_list_again(mt, how->origin, how->deadline_ns, e);
		if (err) {
			mount_kept_close(mt);
			return err;
		}
	}
	mt->fetches = mount_fetches_new();
	if (!mt->fetches)
		return err_set(e, -ENOMEM, "", "no memory");
	err = mount_host_acquire(m, mt->tenant, how->deadline_ns, &mt->host, e);
	if (err)
		goto no_host;
	open_account(mt);
	err = open_kept(mt, e);
	if (!err)
		err = add_workspace(mt, how, e);
	if (err)
		goto no_workspace;
	charge_objects(mt);
	if (!mt->host->adopted) /* the kernel knows it, and has jobs in it */
		sess_workspace_added(mt->host->session, mt->rec.job_id);
	mount_uses_open(mt);
	lock_acquire(&m->mu);
	mt->attached = true;
	lock_release(&m->mu);
	err = bind_mountpoint(mt, e);
	if (err)
		mount_detach(mt);
	return err;

no_workspace:
	mount_kept_close(mt);
	quota_fini(&mt->quota);
	mount_host_release(m, mt->host);
	mt->host = NULL;
no_host:
	mt->fetches = mount_fetches_unref(mt->fetches);
	return err;
}

/* The record gets the last figures, in memory: the next commit journals them. */
static void close_account(struct mount *mt)
{
	struct mount_info view;

	LOCK_GUARD(&mt->registry->mu);
	mount_view_locked(mt, &view);
	mt->rec.used_bytes = view.used_bytes;
	mt->rec.used_inodes = view.used_inodes;
	mt->rec.trees_fetched = view.trees_fetched;
	mt->rec.blobs_fetched = view.blobs_fetched;
	mt->rec.bytes_fetched = view.bytes_fetched;
	mt->rec.fetch_errors = view.fetch_errors;
	mt->attached = false;
	quota_fini(&mt->quota);
}

void mount_detach(struct mount *mt)
{
	if (!mt->attached) /* only we change it */
		return;
	mount_uses_close(mt);
	if (mt->bound)
		(void)sess_unbind(mt->host->session, mt->rec.job_id,
			mt->rec.mountpoint); /* a sweep at the next start finds what is left */
	mt->bound = false;
	sess_workspace_removed(mt->host->session, mt->rec.job_id);
	if (mt->rec.state == MOUNT_DELETING)
		ovl_ws_discard(mt->host->overlay, mt->ws);
	else
		ovl_ws_remove(mt->host->overlay, mt->ws);
	mt->ws = NULL;
	mount_kept_close(mt);
	close_account(mt);
	mount_host_release(mt->registry, mt->host);
	mt->host = NULL;
	mt->fetches = mount_fetches_unref(mt->fetches);
}
