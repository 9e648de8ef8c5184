/* SPDX-License-Identifier: Apache-2.0 */
/*
 * service/mounts.h in memory: idempotent creation, lookup confined to a tenant, pages, leases. The
 * origin's name decides what creation meets: "missing" is not found, "stuck" waits until the call
 * is cancelled or its deadline comes, "nap-500" takes 500 ms.
 */
#include "fake_mounts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cancel.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"

struct mounts *fake_mounts_new(void)
{
	struct mounts *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	(void)pthread_mutex_init(&m->mu, NULL);
	list_init(&m->all);
	list_init(&m->watches);
	return m;
}

struct mounts *fake_mounts_free(struct mounts *m)
{
	list_for_each_safe (it, &m->all) {
		struct fake_mount *mount = list_entry(it, struct fake_mount, link);

		mount_info_fini(&mount->info);
		free(mount);
	}
	(void)pthread_mutex_destroy(&m->mu);
	free(m);
	return NULL;
}

static struct mount_label *copy_labels(const struct mount_label *from, unsigned count)
{
	struct mount_label *labels = calloc(count + 1, sizeof(*labels));

	if (labels && count)
		memcpy(labels, from, count * sizeof(*labels));
	return labels;
}

#define COPY(to, from) (void)snprintf(to, sizeof(to), "%s", from)

static void fill(struct mount_info *info, const struct mount_request *rq, unsigned number)
{
	char root[512];

	(void)snprintf(
		info->mount_id, sizeof(info->mount_id), "%08x-0000-4000-8000-000000000000", number);
	(void)snprintf(root, sizeof(root), "/run/test/mnt/%s/%s", rq->tenant, rq->job_id);
	COPY(info->job_id, rq->job_id);
	COPY(info->tenant, rq->tenant);
	COPY(info->origin, rq->origin);
	COPY(info->revision, rq->revision);
	COPY(info->commit, "0123456789abcdef0123456789abcdef01234567");
	COPY(info->root_tree, "89abcdef0123456789abcdef0123456789abcdef");
	info->path = strdup(rq->path);
	info->change_text = strdup("");
	info->change_path = strdup("");
	info->mountpoint = strdup(rq->mountpoint);
	info->root = strdup(root);
	info->reason = strdup(strcmp(rq->job_id, "odd") == 0 ? "bad \xff name" : "");
	info->state = MOUNT_READY;
	info->quota_bytes = rq->quota_bytes ? rq->quota_bytes : UINT64_MAX;
	info->quota_inodes = rq->quota_inodes ? rq->quota_inodes : UINT64_MAX;
	info->lease_seconds = rq->lease_seconds;
	info->created_wall_ns = clock_wall_ns(&clock_system);
	if (rq->lease_seconds)
		info->lease_expires_wall_ns = info->created_wall_ns + rq->lease_seconds * NS_PER_S;
	info->generation = 1;
	info->read_only = rq->read_only;
	info->uid = rq->uid;
	info->gid = rq->gid;
	info->labels = copy_labels(rq->labels, rq->label_count);
	info->label_count = rq->label_count;
}

static int wait_for_origin(
	const struct mount_request *rq, const struct cancel *cancel, uint64_t deadline_ns)
{
	uint64_t until_ns = deadline_ns;
	bool nap = strncmp(rq->origin, "nap-", 4) == 0;
	int r;

	if (!nap && strcmp(rq->origin, "stuck") != 0)
		return 0;
	if (nap)
		until_ns =
			clock_after(&clock_system, strtoul(rq->origin + 4, NULL, 10) * NS_PER_MS);
	log_info("fake_origin_asked", LOG_S("job_id", rq->job_id));
	r = cancel_sleep_until((struct cancel *)cancel, until_ns);
	log_info("fake_origin", LOG_S("job_id", rq->job_id), LOG_E(r));
	return nap && r == -ETIMEDOUT ? 0 : r;
}

static struct fake_mount *find(struct mounts *m, const struct mount_key *key, bool deleted_too)
{
	list_for_each (it, &m->all) {
		struct fake_mount *mount = list_entry(it, struct fake_mount, link);

		if (mount->deleted && !deleted_too)
			continue;
		if (key->tenant && strcmp(key->tenant, mount->info.tenant) != 0)
			continue;
		if (key->mount_id ? strcmp(key->mount_id, mount->info.mount_id) == 0
				  : strcmp(key->job_id, mount->info.job_id) == 0)
			return mount;
	}
	return NULL;
}

int mounts_create(struct mounts *m, const struct mount_request *rq, const struct cancel *cancel,
	uint64_t deadline_ns, struct mount_info *ret_info, struct err *e)
{
	const struct mount_key key = {.job_id = rq->job_id, .tenant = rq->tenant};
	struct fake_mount *mount;
	int r = wait_for_origin(rq, cancel, deadline_ns);

	if (r < 0)
		return r;
	if (strcmp(rq->origin, "missing") == 0)
		return err_set(
			e, -ENOENT, "ORIGIN_NOT_FOUND", "there is no origin \"%s\"", rq->origin);
	(void)pthread_mutex_lock(&m->mu);
	mount = find(m, &key, false);
	if (mount && strcmp(mount->info.path, rq->path) != 0) {
		err_meta(e, "unused", "replaced by err_set");
		r = err_set(e, -EEXIST, "JOB_ID_IN_USE", "job \"%s\" has another path", rq->job_id);
		err_meta(e, "mount_id", mount->info.mount_id);
	} else {
		if (!mount) {
			mount = calloc(1, sizeof(*mount));
			fill(&mount->info, rq, ++m->made);
			list_push_back(&m->all, &mount->link);
			fake_tell(m, mount, MOUNT_EVENT_CHANGED);
		}
		r = mount_info_copy(&mount->info, ret_info);
	}
	(void)pthread_mutex_unlock(&m->mu);
	return r;
}

enum change { READ, DELETE, RENEW, UPDATE };

static void apply_update(struct mount_info *info, const struct mount_update *u)
{
	if (u->fields & MOUNT_UPDATE_BYTES)
		info->quota_bytes = u->quota_bytes;
	if (u->fields & MOUNT_UPDATE_INODES)
		info->quota_inodes = u->quota_inodes;
	if (u->fields & MOUNT_UPDATE_LEASE)
		info->lease_seconds = u->lease_seconds;
	if (u->fields & MOUNT_UPDATE_LABELS) {
		free(info->labels);
		info->labels = copy_labels(u->labels, u->label_count);
		info->label_count = u->label_count;
	}
}

static int with_mount(struct mounts *m, const struct mount_key *key, enum change change,
	const struct mount_update *update, struct mount_info *ret_info, struct err *e)
{
	struct fake_mount *mount;
	int r;

	(void)pthread_mutex_lock(&m->mu);
	mount = find(m, key, change == DELETE);
	if (!mount) {
		r = err_set(e, -ENOENT, "MOUNT_NOT_FOUND", "there is no such mount");
	} else {
		if (change == UPDATE)
			apply_update(&mount->info, update);
		if (change == DELETE && !mount->deleted) {
			mount->deleted = true;
			mount->info.state = MOUNT_DELETED;
			fake_tell(m, mount, MOUNT_EVENT_REMOVED);
		}
		if (change == UPDATE)
			fake_tell(m, mount, MOUNT_EVENT_CHANGED);
		r = mount_info_copy(&mount->info, ret_info);
	}
	(void)pthread_mutex_unlock(&m->mu);
	return r;
}

int mounts_get(
	struct mounts *m, const struct mount_key *key, struct mount_info *ret_info, struct err *e)
{
	return with_mount(m, key, READ, NULL, ret_info, e);
}

int mounts_delete(struct mounts *m, const struct mount_key *key, uint64_t deadline_ns,
	struct mount_info *ret_info, struct err *e)
{
	(void)deadline_ns;
	return with_mount(m, key, DELETE, NULL, ret_info, e);
}

int mounts_renew(struct mounts *m, const struct mount_key *key, uint32_t lease_seconds,
	struct mount_info *ret_info, struct err *e)
{
	struct mount_update u = {
		.fields = lease_seconds ? MOUNT_UPDATE_LEASE : 0, .lease_seconds = lease_seconds};

	return with_mount(m, key, UPDATE, &u, ret_info, e);
}

int mounts_update(struct mounts *m, const struct mount_key *key, const struct mount_update *update,
	struct mount_info *ret_info, struct err *e)
{
	return with_mount(m, key, UPDATE, update, ret_info, e);
}

int mounts_set_change_list(struct mounts *m, const struct mount_switch_call *call,
	const struct mount_change_source *source, struct mount_info *ret_info, struct err *e)
{
	const struct mount_update none = {.fields = 0};

	(void)source; /* the fake shows no files */
	return with_mount(m, call->key, UPDATE, &none, ret_info, e);
}

bool fake_matches(const struct mount_filter *f, const struct mount_info *info)
{
	if (f->tenant && strcmp(f->tenant, info->tenant) != 0)
		return false;
	if (f->origin && strcmp(f->origin, info->origin) != 0)
		return false;
	for (unsigned i = 0; i < f->label_count; i++) {
		bool found = false;

		for (unsigned k = 0; k < info->label_count; k++)
			found = found ||
				memcmp(&f->labels[i], &info->labels[k], sizeof(f->labels[i])) == 0;
		if (!found)
			return false;
	}
	return !f->states || (f->states & (1u << info->state));
}

int mounts_list(struct mounts *m, const struct mount_filter *filter, struct mount_info **ret_infos,
	unsigned *ret_count, char ret_token[64], struct err *e)
{
	unsigned long skip = filter->page_token && filter->page_token[0]
				     ? strtoul(filter->page_token, NULL, 10)
				     : 0;
	struct mount_info *infos = calloc(filter->page_size, sizeof(*infos));
	unsigned long seen = 0;
	unsigned count = 0;

	(void)e;
	ret_token[0] = '\0';
	(void)pthread_mutex_lock(&m->mu);
	list_for_each (it, &m->all) {
		struct fake_mount *mount = list_entry(it, struct fake_mount, link);

		if (mount->deleted || !fake_matches(filter, &mount->info) || seen++ < skip)
			continue;
		if (count == filter->page_size) {
			(void)snprintf(ret_token, 64, "%lu", skip + count);
			break;
		}
		(void)mount_info_copy(&mount->info, &infos[count++]);
	}
	(void)pthread_mutex_unlock(&m->mu);
	*ret_infos = infos;
	*ret_count = count;
	return 0;
}

uint64_t mounts_ready_count(struct mounts *m)
{
	uint64_t count = 0;

	(void)pthread_mutex_lock(&m->mu);
	list_for_each (it, &m->all)
		count += !list_entry(it, struct fake_mount, link)->deleted;
	(void)pthread_mutex_unlock(&m->mu);
	return count;
}

uint64_t mounts_live_count(struct mounts *m)
{
	return mounts_ready_count(m);
}

void mounts_drain(struct mounts *m, bool on)
{
	(void)m;
	(void)on; /* creations of the fake are refused by nobody */
}

/* Nobody uses what is not there. */
int mounts_holders(struct mounts *m, const struct mount_key *key, struct mount_holder **ret_holders,
	unsigned *ret_count)
{
	(void)m;
	(void)key;
	*ret_holders = calloc(1, sizeof(**ret_holders));
	*ret_count = 0;
	return *ret_holders ? 0 : -ENOMEM;
}

void mounts_fuse_counts(struct mounts *m, uint64_t ret_counts[64])
{
	(void)m;
	ret_counts[1] = 7;
	ret_counts[63] = 2;
}
