/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The switch itself: keep calls out, plan, record, apply, let them in again. What can fail comes
 * before the SWITCH record, so the view is the old one, whole, or the new one, also after a kill.
 *
 * Threads: the caller's. Blocks on the local disk, and until no call runs.
 */
#include "overlay/ovl_switch.h"
#include "overlay/ovl_left.h"

#include <base/clock.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- record ---- */

/* New ids for the new entries, and the blocks that lead from them to the entries. */
static int give_ids(struct sw *sw, struct sw_dir *d)
{
	struct ovl_block part = {
		.tree = d->new_tree, .dir_id = d->id, .part = true, .time_ns = sw->config->time_ns};
	uint64_t next;
	int r = d->fresh ? ovl_ids_alloc(sw->ws, d->fresh, &next) : 0;

	for (uint32_t i = 0; r == 0 && d->fresh && i <= d->count; i++) {
		bool fresh = i < d->count && d->ids[i] == 0;

		if (fresh && part.count == 0) {
			part.base = next;
			part.first = i;
		}
		if (fresh) {
			d->ids[i] = next++;
			part.count++;
		} else if (part.count > 0) {
			r = ovl_block_add_part(sw->ws, &part);
			part.count = 0;
		}
	}
	return r;
}

static int make_map(struct sw *sw, struct sw_dir *d)
{
	int r = 0;

	d->map = ovl_map_new(&d->new_tree);
	if (!d->map)
		return -ENOMEM;
	d->map->time_ns = sw->config->time_ns;
	d->map->generation = sw->ws->generation + 1;
	for (uint32_t i = 0; r == 0 && i < d->count; i++)
		r = ovl_map_add(d->map, d->ids[i]);
	return r;
}

/* What the directory was until now, for listings that were begun. */
static int make_first_map(struct sw_dir *d)
{
	struct ovl_map *before;
	int r = 0;

	if (d->old_map || !d->node || !d->old_count)
		return 0;
	before = ovl_map_new(&d->old_tree);
	if (!before)
		return -ENOMEM;
	d->map->older = before;
	for (uint32_t i = 0; r == 0 && i < d->old_count; i++)
		r = ovl_map_add(before, d->old_base + i);
	return r;
}

static int write_runs(struct sw *sw, const struct sw_dir *d)
{
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < d->map->run_count; i++)
		r = ovl_journal_run(sw->ws, d->id, sw->attempt, d->map, &d->map->runs[i]);
	return r;
}

/* A directory that goes on without the lower that gave it its id. */
static int mark(struct sw_dir *d)
{
	if (!d->node || d->dead || !oid_is_none(&d->new_tree) || d->node == d->node->ws->root)
		return 0;
	return ovl_node_persist_id(d->node);
}

static int record_dir(struct sw *sw, struct sw_dir *d)
{
	int r = mark(d);

	if (r < 0 || !d->count)
		return r;
	r = give_ids(sw, d);
	if (r == 0)
		r = make_map(sw, d);
	if (r == 0)
		r = make_first_map(d);
	return r < 0 ? r : write_runs(sw, d);
}

int ovl_sw_record(struct sw *sw)
{
	size_t maps = 0;
	int r = 0;

	for (struct sw_dir *d = sw->first; r == 0 && d; d = d->next) {
		r = record_dir(sw, d);
		maps++;
	}
	if (r == 0)
		r = ovl_maps_reserve(sw->ws, maps);
	ovl_crash_point(sw->ws, "switch:runs");
	if (r == 0)
		r = ovl_journal_switch(sw->ws, sw->attempt, sw->config->root, sw->config->time_ns);
	ovl_crash_point(sw->ws, "switch:recorded");
	return r;
}

/* ---- apply ---- */

/* Out of the upper: to work/orphan if it is in use. What cannot be taken away stays, and hides the
 * new entry. */
static int drop_locked(struct ovl_node *dir, int dirfd, const char *name)
{
	struct ovl_child *c = ovl_names_find(&dir->dir->names, name, strlen(name));
	struct ovl_place p = {.dir = dir, .name = name, .len = strlen(name), .dirfd = dirfd};
	struct ovl_req rq = {0};
	int r;

	if (!c || c->type == DT_DIR)
		return -ENOENT;
	if (c->type == DT_WHT) {
		if (unlinkat(dirfd, name, 0) < 0)
			return -errno;
		ovl_names_remove(&dir->dir->names, name, p.len);
		return 0;
	}
	p.found = (struct ovl_found){.where = OVL_IN_UPPER, .child = c};
	r = ovl_place_take_locked(&p, &rq);
	ovl_need_drop(&rq.need);
	return r;
}

static void drop_all_locked(struct sw *sw, struct sw_dir *d)
{
	int dirfd;

	if (!d->drops || ovl_fd_get(d->node, &dirfd) < 0)
		return;
	for (size_t at = 0; at < d->drops_len; at += strlen(d->drops + at) + 1)
		if (drop_locked(d->node, dirfd, d->drops + at) == 0)
			sw->out->dropped++;
	ovl_fd_put(d->node);
}

static void touch(struct ovl_node *n, uint64_t time_ns)
{
	const struct timespec time = clock_timespec(time_ns);
	int fd;

	if (!ovl_has(n, OVL_UPPER) || ovl_fd_get(n, &fd) < 0)
		return;
	ovl_times_put(fd, &(struct ovl_times){time, time});
	ovl_fd_put(n);
}

static void recount_locked(struct ovl_node *n)
{
	struct ovl_dir *dir = n->dir;
	struct lower *lower = n->ws->lower;
	struct tree_view view;
	uint32_t subdirs = 0;

	/* the plan had it open: it is there */
	if (dir->block_count && lower->ops->tree(lower, &dir->lower_tree, &view) == 0) {
		subdirs = ovl_visible_lower_subdirs(&dir->names, &view);
		tree_view_end(&view);
	}
	atomic_store(&dir->subdirs, subdirs + dir->names.subdirs);
}

static void show_new(struct sw *sw, struct sw_dir *d)
{
	struct ovl_dir *dir = d->node->dir;

	LOCK_GUARD(&dir->lock);
	drop_all_locked(sw, d);
	dir->has_lower = !oid_is_none(&d->new_tree);
	dir->lower_tree = d->new_tree;
	if (atomic_load(&dir->names_loaded)) {
		dir->block_count = d->count;
		dir->block_base = 0;
		dir->map = ovl_map_of(sw->ws, d->id, &d->new_tree);
		recount_locked(d->node);
		if (d->changed)
			touch(d->node, sw->config->time_ns);
	}
	ovl_attr_drop(d->node);
}

/* An object of the lower that has no name any more. */
static void end_name(struct ovl_node *n)
{
	struct ovl_node *parent = ovl_parent_lock(n);

	if (!parent)
		return;
	if (n->dir)
		atomic_store(&n->dir->names_loaded, true); /* it is empty for all */
	ovl_node_gone_locked(n);
	ovl_parent_unlock(parent);
}

void ovl_sw_apply(struct sw *sw)
{
	struct ovl_ws *ws = sw->ws;

	for (struct sw_dir *d = sw->first; d; d = d->next) {
		if (d->map) /* there is room */
			(void)ovl_map_put(ws, d->id, d->map, d->known || d->node);
		d->map = NULL;
		if (d->node && d->dead)
			end_name(d->node);
		else if (d->node)
			show_new(sw, d);
	}
	for (size_t i = 0; i < sw->gone_count; i++)
		end_name(sw->gone[i]);
	ws->root_tree = ws->switched_to = *sw->config->root;
	ws->lower_time = clock_timespec(sw->config->time_ns);
	ws->generation++;
}

/* ---- all of it ---- */

void ovl_sw_fini(struct sw *sw)
{
	while (sw->first) {
		struct sw_dir *d = sw->first;

		sw->first = d->next;
		if (d->node)
			ovl_unpin_raw(d->node);
		(void)ovl_map_free(d->map); /* returns NULL always */
		free(d->ids);
		free(d->drops);
		free(d);
	}
	for (size_t i = 0; i < sw->gone_count; i++)
		ovl_unpin_raw(sw->gone[i]);
	free(sw->gone);
}

static void forget_notices(struct ovl_switched *s)
{
	for (size_t i = 0; i < s->notice_count; i++)
		free((char *)(uintptr_t)s->notices[i].name);
	s->notice_count = 0;
}

/* The kernel forgets a directory that is gone only when all in it is. */
static void reverse(struct ovl_switched *s)
{
	for (size_t i = 0, j = s->notice_count; i + 1 < j; i++) {
		struct ovl_notice swap = s->notices[--j];

		s->notices[j] = s->notices[i];
		s->notices[i] = swap;
	}
}

static int make(struct sw *sw)
{
	bool only_looks = sw->recall || sw->config->rehearsal;
	uint64_t begun_ns;
	int r = ovl_gate_close(sw->o, sw->config->deadline_ns);

	if (r < 0)
		return r;
	begun_ns = clock_mono_ns(&clock_system);
	ovl_evict_pending(sw->ws);
	r = ovl_sw_plan(sw);
	if (r == 0 && !only_looks)
		r = ovl_sw_record(sw);
	if (r == 0 && !only_looks)
		ovl_sw_apply(sw);
	sw->out->closed_ns = clock_mono_ns(&clock_system) - begun_ns;
	ovl_gate_open(sw->o);
	return r;
}

/* A plan looks at nodes: those that a takeover has not brought back yet come first. */
static int all_nodes(struct sw *sw)
{
	struct ovl_req rq = {0};
	int r = ovl_left_bring_all(sw->ws, &rq);

	if (r == -EAGAIN && ovl_sw_note_missing(sw, &rq.need.oid) < 0)
		r = -ENOMEM;
	ovl_need_drop(&rq.need);
	return r;
}

static int run(struct sw *sw)
{
	struct ovl_switched *ret = sw->out;
	int r;

	*ret = (struct ovl_switched){0};
	sw->end = &sw->first;
	/* Another number than that of an attempt that failed, also before a restart. */
	sw->attempt = clock_wall_ns(sw->o->clock);
	r = all_nodes(sw);
	if (r == 0)
		r = make(sw);
	ovl_sw_fini(sw);
	ovl_evict_pending(sw->ws);
	if (r < 0)
		forget_notices(ret);
	else
		reverse(ret);
	return r;
}

int ovl_switch(struct overlay *o, const struct ovl_switch_config *config, struct ovl_switched *ret)
{
	struct sw sw = {.o = o, .ws = config->ws, .config = config, .out = ret};

	return run(&sw);
}

int ovl_switch_recall(struct overlay *o, const struct ovl_switch_config *config,
	const struct oid *old_root, struct ovl_switched *ret)
{
	struct sw sw = {.o = o, .ws = config->ws, .config = config, .recall = old_root, .out = ret};

	return run(&sw);
}

void ovl_switched_fini(struct ovl_switched *s)
{
	forget_notices(s);
	free(s->notices);
	free(s->missing);
	*s = (struct ovl_switched){0};
}

struct oid ovl_ws_root_tree(const struct ovl_ws *ws)
{
	return ws->root_tree;
}

int ovl_switch_fetch(
	struct ovl_ws *ws, const struct oid *tree, uint64_t deadline_ns, lower_done fn, void *arg)
{
	return ws->lower->ops->fetch(ws->lower, LOWER_NEED_TREE, tree, deadline_ns, fn, arg);
}
