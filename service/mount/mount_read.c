/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the registry: one mount, pages of them, watching, and figures. Nothing here blocks for
 * longer than the lock. */
#include "mount_host.h"
#include "mounts_internal.h"

#include <base/clock.h>
#include <errno.h>
#include <fuse/session.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_DEFAULT 100u
#define PAGE_MAX     1000u

int mounts_get(
	struct mounts *m, const struct mount_key *key, struct mount_info *ret_info, struct err *e)
{
	struct mount *mt;

	LOCK_GUARD(&m->mu);
	mt = mount_find_locked(m, key);
	if (!mt || !mt->known || mt->rec.state == MOUNT_DELETED)
		return mount_not_found(key, e);
	return mount_copy_info_locked(mt, ret_info, e);
}

/* A token is the order of creation of the last mount of the page before. */
static int parse_token(const char *token, uint64_t *ret_after, struct err *e)
{
	char *end;

	*ret_after = 0;
	if (!token || !token[0])
		return 0;
	if (token[0] < '0' || token[0] > '9')
		return err_field(e, "page_token", "is not one that was given out");
	errno = 0;
	*ret_after = strtoull(token, &end, 10);
	if (errno || *end)
		return err_field(e, "page_token", "is not one that was given out");
	return 0;
}

static bool is_listed(
	const struct mount *mt, const struct mount_filter *filter, struct mount_info *ret_view)
{
	if (!mt->known || mt->rec.state == MOUNT_DELETED)
		return false;
	mount_view_locked(mt, ret_view);
	return mount_filter_matches(filter, ret_view);
}

static unsigned page_size(const struct mount_filter *filter)
{
	unsigned size = filter->page_size ? filter->page_size : PAGE_DEFAULT;

	return size < PAGE_MAX ? size : PAGE_MAX;
}

/* Fills up to `size`; *ret_last is the order of the last one if there are more behind it, else 0.
 */
static int fill_page_locked(struct mounts *m, const struct mount_filter *filter, uint64_t after,
	struct mount_info *infos, unsigned size, unsigned *ret_count, uint64_t *ret_last)
{
	uint64_t last = 0;
	unsigned count = 0;

	*ret_last = 0;
	list_for_each (it, &m->all) {
		const struct mount *mt = list_entry(it, struct mount, link);
		struct mount_info view;

		if (mt->rec.order <= after || !is_listed(mt, filter, &view))
			continue;
		if (count == size) {
			*ret_last = last;
			break;
		}
		if (mount_info_copy(&view, &infos[count])) {
			*ret_count = count;
			return -ENOMEM;
		}
		last = mt->rec.order;
		count++;
	}
	*ret_count = count;
	return 0;
}

int mounts_list(struct mounts *m, const struct mount_filter *filter, struct mount_info **ret_infos,
	unsigned *ret_count, char ret_token[64], struct err *e)
{
	unsigned size = page_size(filter), count = 0;
	struct mount_info *infos;
	uint64_t after, last;
	int err = parse_token(filter->page_token, &after, e);

	if (err)
		return err;
	infos = calloc(size, sizeof(*infos));
	if (!infos)
		return err_set(e, -ENOMEM, "", "no memory for a page of %u mounts", size);
	lock_acquire(&m->mu);
	err = fill_page_locked(m, filter, after, infos, size, &count, &last);
	lock_release(&m->mu);
	if (err) {
		for (unsigned i = 0; i < count; i++)
			mount_info_fini(&infos[i]);
		free(infos);
		return err_set(e, err, "", "no memory for a page of %u mounts", size);
	}
	ret_token[0] = '\0';
	if (last)
		(void)snprintf(ret_token, 64, "%" PRIu64, last);
	*ret_infos = infos;
	*ret_count = count;
	return 0;
}

uint64_t mounts_ready_count(struct mounts *m)
{
	LOCK_GUARD(&m->mu);
	return m->ready_count;
}

uint64_t mounts_live_count(struct mounts *m)
{
	LOCK_GUARD(&m->mu);
	return m->count - m->ended_count;
}

void mounts_each_root(struct mounts *m, storage_root_fn fn, void *arg)
{
	LOCK_GUARD(&m->mu);
	list_for_each (it, &m->all) {
		const struct mount_record *r = &list_entry(it, struct mount, link)->rec;

		if (r->state == MOUNT_DELETED || oid_is_none(&r->root))
			continue;
		fn(arg, &r->root);
		if (!oid_is_none(&r->switching_from))
			fn(arg, &r->switching_from);
	}
}

static char *root_of(void *arg, const char *tenant, const char *job_id)
{
	return mount_root_path(arg, tenant, job_id);
}

/* Present events have no number: whoever breaks off before SYNCED starts again. */
static void tell_present_locked(struct mounts *m, struct mount_watch *w)
{
	struct mount_event event = {
		.kind = MOUNT_EVENT_PRESENT, .wall_ns = clock_wall_ns(m->config.clock)};

	list_for_each (it, &m->all) {
		const struct mount *mt = list_entry(it, struct mount, link);
		struct mount_info view;

		if (!mt->known || mt->rec.state == MOUNT_DELETED)
			continue;
		mount_view_locked(mt, &view);
		event.mount = &view;
		watch_tell(w, &event);
	}
	event = (struct mount_event){
		.kind = MOUNT_EVENT_SYNCED, .sequence = m->watch.last, .wall_ns = event.wall_ns};
	watch_tell(w, &event);
}

int mounts_watch(struct mounts *m, const struct mount_filter *filter, uint64_t since_sequence,
	mount_watch_fn fn, void *arg, struct mount_watch **ret_watch)
{
	struct mount_watch *w = watch_new(filter, fn, arg);
	int err = 0;

	if (!w)
		return -ENOMEM;
	lock_acquire(&m->mu);
	if (watch_can_resume(&m->watch, since_sequence))
		err = watch_replay_locked(&m->watch, w, since_sequence, root_of, m);
	else
		tell_present_locked(m, w);
	if (!err)
		watch_add_locked(&m->watch, w);
	lock_release(&m->mu);
	if (err) {
		watch_free(w);
		return err;
	}
	*ret_watch = w;
	return 0;
}

void mounts_unwatch(struct mounts *m, struct mount_watch *w)
{
	lock_acquire(&m->mu);
	watch_remove_locked(w);
	lock_release(&m->mu);
	watch_free(w);
}

void mounts_fuse_counts(struct mounts *m, uint64_t ret_counts[64])
{
	LOCK_GUARD(&m->mu);
	memcpy(ret_counts, m->closed_fuse_counts, sizeof(m->closed_fuse_counts));
	list_for_each (it, &m->hosts) {
		const struct mount_host *host = list_entry(it, struct mount_host, link);
		struct sess_stats stats;

		if (host->state != HOST_OPEN)
			continue;
		sess_stats(host->session, &stats);
		for (unsigned i = 0; i < 64; i++)
			ret_counts[i] += stats.requests[i];
	}
}
