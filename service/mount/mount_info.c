/* SPDX-License-Identifier: Apache-2.0 */
/* A mount as callers see it: views that borrow, copies that own, and the filter of list and watch.
 */
#include "mounts_internal.h"

#include "mount_host.h"
#include "mount_lower.h"

#include <errno.h>
#include <service/config.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void mount_info_fini(struct mount_info *m)
{
	free(m->path);
	free(m->mountpoint);
	free(m->root);
	free(m->reason);
	free(m->change_text);
	free(m->change_path);
	free(m->labels);
	*m = (struct mount_info){0};
}

int mount_info_copy(const struct mount_info *from, struct mount_info *ret_copy)
{
	struct mount_info copy = *from;

	copy.path = strdup(from->path);
	copy.mountpoint = strdup(from->mountpoint);
	copy.root = strdup(from->root);
	copy.reason = strdup(from->reason);
	copy.change_text = strdup(from->change_text);
	copy.change_path = strdup(from->change_path);
	copy.labels = from->label_count ? calloc(from->label_count, sizeof(*copy.labels)) : NULL;
	if (!copy.path || !copy.mountpoint || !copy.root || !copy.reason || !copy.change_text ||
		!copy.change_path || (from->label_count && !copy.labels)) {
		mount_info_fini(&copy);
		return -ENOMEM;
	}
	if (from->label_count)
		memcpy(copy.labels, from->labels, from->label_count * sizeof(*copy.labels));
	*ret_copy = copy;
	return 0;
}

static void copy_chars(char *to, size_t cap, const char *from)
{
	(void)snprintf(to, cap, "%s", from);
}

void mount_view_of_record(
	const struct mount_record *r, const char *root, struct mount_info *ret_view)
{
	static const char empty[] = "";
	struct mount_info view = {
		/* borrowed: a view is never changed or freed */
		.path = (char *)(r->path ? r->path : empty),
		.mountpoint = (char *)(r->mountpoint ? r->mountpoint : empty),
		.reason = (char *)(r->reason ? r->reason : empty),
		.root = (char *)root,
		.change_kind = r->change_kind,
		.change_text = (char *)(r->change_text ? r->change_text : empty),
		.change_path = (char *)(r->change_path ? r->change_path : empty),
		.change_paths = r->change_paths,
		.labels = r->labels,
		.label_count = r->label_count,
		.state = r->state,
		.quota_bytes = r->quota_bytes,
		.quota_inodes = r->quota_inodes,
		.used_bytes = r->used_bytes,
		.used_inodes = r->used_inodes,
		.lease_seconds = r->lease_seconds,
		.lease_expires_wall_ns = r->lease_expires_wall_ns,
		.created_wall_ns = r->created_wall_ns,
		.generation = r->generation,
		.trees_fetched = r->trees_fetched,
		.blobs_fetched = r->blobs_fetched,
		.bytes_fetched = r->bytes_fetched,
		.fetch_errors = r->fetch_errors,
		.read_only = r->read_only,
		.uid = r->uid,
		.gid = r->gid,
	};

	copy_chars(view.mount_id, sizeof(view.mount_id), r->mount_id);
	copy_chars(view.job_id, sizeof(view.job_id), r->job_id);
	copy_chars(view.tenant, sizeof(view.tenant), r->tenant);
	copy_chars(view.origin, sizeof(view.origin), r->origin);
	copy_chars(view.revision, sizeof(view.revision), r->revision);
	if (!oid_is_none(&r->commit))
		(void)oid_hex(&r->commit, view.commit);
	if (!oid_is_none(&r->change_to))
		(void)oid_hex(&r->change_to, view.change_commit);
	if (!oid_is_none(&r->root))
		(void)oid_hex(&r->root, view.root_tree);
	*ret_view = view;
}

static uint64_t load(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed); /* a statistic: no ordering */
}

void mount_view_locked(const struct mount *mt, struct mount_info *ret_view)
{
	mount_view_of_record(&mt->rec, mt->root, ret_view);
	ret_view->sequence = mt->sequence;
	if (!mt->attached)
		return;
	if (mt->host->trouble)
		ret_view->reason = (char *)mt->host->trouble; /* borrowed, as all of it */
	ret_view->used_bytes = quota_used(&mt->quota, QUOTA_BYTES);
	ret_view->used_inodes = quota_used(&mt->quota, QUOTA_INODES);
	/* the record has what earlier runs of the daemon counted */
	ret_view->trees_fetched += load(&mt->fetches->trees);
	ret_view->blobs_fetched += load(&mt->fetches->blobs);
	ret_view->bytes_fetched += load(&mt->fetches->bytes);
	ret_view->fetch_errors += load(&mt->fetches->errors);
}

char *mount_root_path(const struct mounts *m, const char *tenant, const char *job_id)
{
	char *path;

	return asprintf(&path, "%s/mnt/%s/%s", m->config.cfg->run_dir, tenant, job_id) < 0 ? NULL
											   : path;
}

static bool has_label(const struct mount_info *info, const struct mount_label *label)
{
	for (unsigned i = 0; i < info->label_count; i++)
		if (strcmp(info->labels[i].key, label->key) == 0)
			return strcmp(info->labels[i].value, label->value) == 0;
	return false;
}

bool mount_filter_matches(const struct mount_filter *filter, const struct mount_info *info)
{
	if (filter->tenant && strcmp(filter->tenant, info->tenant) != 0)
		return false;
	if (filter->origin && strcmp(filter->origin, info->origin) != 0)
		return false;
	if (filter->mount_id && strcmp(filter->mount_id, info->mount_id) != 0)
		return false;
	if (filter->states && !(filter->states & SM_BIT(info->state)))
		return false;
	for (unsigned i = 0; i < filter->label_count; i++)
		if (!has_label(info, &filter->labels[i]))
			return false;
	return true;
}
