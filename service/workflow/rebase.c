/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rebase: the workspace moves to another revision under its jobs (mount/mount_switch.h). Before
 * that one walk compares, path by path, what the job has with the old and the new base; it goes
 * only where the upper has something:
 *
 *	only the job changed it     stays in the upper, on top
 *	only the base changed it    shows through; a copy in the upper that is as it was leaves it
 *	both, to the same           leaves the upper in the moment of the switch: the quota is given
 *back both                        a conflict: it is listed and nothing is done, or one side wins
 *
 * What one side has as a directory and the other as something else, or what the job has removed
 *with the directory that it lay in, no side can win: it is always a conflict.
 */
#include "mount/mount_change_list.h"
#include "mount/mount_switch.h"
#include "mount/mounts_internal.h"
#include "workflow/files.h"
#include "workflow/walk.h"

#include <base/cleanup.h>
#include <base/path.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define DROPS_MAX (1u << 20)
#define TOLD_MAX  3 /* paths in the message */

struct rebase {
	struct wf *w;
	enum wf_conflict_choice choice;
	char **drops; /* paths in the order of strcmp, once found */
	size_t count, cap;
	struct wf_place *places; /* of them: their directories stay in memory */
	size_t placed;
	uint64_t conflicts;
	struct err told;
	char hidden[WF_PATH_MAX +
		    1]; /* "a/b/": the job has removed or replaced all below; "" none */
	size_t hidden_len;
};

/* ---- what differs ---- */

static int conflict(struct rebase *rb, const struct wf_item *item, const char *why)
{
	size_t len = strlen(rb->told.message);

	if (rb->conflicts++ < TOLD_MAX) /* or as much as fits */
		(void)snprintf(rb->told.message + len, sizeof(rb->told.message) - len,
			"%s\"%.100s\" %s", len ? "; " : "", item->path, why);
	err_line(&rb->told, item->path, why);
	return 0;
}

static int note_drop(struct rebase *rb, const char *path)
{
	if (rb->count == DROPS_MAX)
		return err_set(rb->w->e, -EFBIG, "TOO_MANY_CHANGES",
			"more than %u files would leave the workspace", DROPS_MAX);
	if (rb->count == rb->cap) {
		size_t cap = rb->cap ? 2 * rb->cap : 64;
		char **drops = reallocarray(rb->drops, cap, sizeof(*drops));

		if (!drops)
			return -ENOMEM;
		rb->drops = drops;
		rb->cap = cap;
	}
	rb->drops[rb->count] = strdup(path);
	return rb->drops[rb->count] ? (rb->count++, 0) : -ENOMEM;
}

static const struct ovl_upper_entry *upper_entry(
	const struct wf_level *level, const char *name, size_t len)
{
	size_t lo = 0, hi = level->upper.fd >= 0 ? level->upper.count : 0;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		const struct ovl_upper_entry *e = &level->upper.entries[mid];
		int order = strncmp(e->name, name, len);

		if (order == 0 && e->name_len == len)
			return e;
		if (order < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

static bool is_dir_in(const struct wf_dir *dir, const char *name, size_t len)
{
	const struct wf_dirent *d = wf_dir_find(dir, name, len);

	return d && wf_is_dir(&d->node);
}

static bool is_hidden(const struct rebase *rb, const char *path)
{
	return rb->hidden_len && strncmp(path, rb->hidden, rb->hidden_len) == 0;
}

/* Both changed it. */
static int decide(struct rebase *rb, struct wf_item *item, bool replaced)
{
	bool differs = true;
	int r = replaced ? 0 : wf_work_differs(rb->w, item, &item->head, &differs);

	if (r < 0)
		return r;
	if (!differs || (!replaced && rb->choice == WF_CONFLICT_TAKE_THEIRS))
		return note_drop(rb, item->path);
	if (!replaced && rb->choice == WF_CONFLICT_KEEP_MINE)
		return 0;
	return conflict(rb, item,
		replaced            ? "is a directory on one side only"
		: !item->head.mode  ? "was changed here and removed there"
		: !item->work.mode  ? "was removed here and changed there"
		: !item->index.mode ? "was added on both sides"
				    : "was changed on both sides");
}

static int visit(void *arg, struct wf_item *item)
{
	struct rebase *rb = arg;
	const char *name = item->path + item->name_at;
	size_t len = item->path_len - item->name_at;
	bool dir_was = is_dir_in(&item->level->index, name, len);
	bool dir_is = is_dir_in(&item->level->head, name, len);
	bool theirs = !wf_same(&item->index, &item->head) || dir_was != dir_is;
	const struct ovl_upper_entry *upper;
	bool mine;
	int r;

	if (!theirs)
		return 0;
	if (is_hidden(rb, item->path))
		return item->head.mode
			       ? conflict(rb, item, "lies in a directory that was removed here")
			       : 0;
	r = wf_work_differs(rb->w, item, &item->index, &mine);
	if (r < 0)
		return r;
	if (mine)
		return decide(rb, item, dir_was != dir_is);
	if (item->upper) /* written, but as it was: it would hide what the base has now */
		return note_drop(rb, item->path);
	upper = upper_entry(item->level, name, len);
	if (upper && S_ISDIR(upper->mode) && item->head.mode && !dir_was)
		return conflict(rb, item, "is a directory here and a file there");
	return 0;
}

/* Does the upper show at this directory what its place in the base has? */
static bool shows_base(const struct wf_level *level, const char *name, size_t len)
{
	const struct wf_dirent *base = wf_dir_find(&level->up->index, name, len);

	if (!base || !wf_is_dir(&base->node))
		return !level->upper.has_lower; /* new here; another one's content otherwise */
	return level->upper.has_lower && oid_equal(&level->upper.lower, &base->node.oid);
}

static bool enter(void *arg, const char *path, size_t len, struct wf_level *level)
{
	struct rebase *rb = arg;
	const char *name;
	size_t name_len;

	if (!level->up || is_hidden(rb, path))
		return true;
	name = path + level->up->path_len;
	name_len = len - level->up->path_len - 1;
	if (level->upper.fd < 0 && !upper_entry(level->up, name, name_len))
		return false; /* nothing of the job below */
	if (level->upper.fd < 0 || !shows_base(level, name, name_len)) {
		memcpy(rb->hidden, path, len);
		rb->hidden[len] = '\0';
		rb->hidden_len = len;
	}
	return true;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int compare(struct rebase *rb, const struct oid *next_root)
{
	struct wf_walk *walk = calloc(1, sizeof(*walk));
	char count[24];
	int r;

	if (!walk)
		return -ENOMEM;
	*walk = (struct wf_walk){.w = rb->w,
		.with_work = true,
		.index = rb->w->use->root,
		.head = *next_root,
		.visit = visit,
		.enter = enter,
		.arg = rb};
	r = wf_walk(walk, NULL);
	free(walk);
	if (r < 0)
		return r;
	if (rb->count)
		qsort(rb->drops, rb->count, sizeof(*rb->drops), by_text);
	if (!rb->conflicts)
		return 0;
	(void)snprintf(count, sizeof(count), "%" PRIu64, rb->conflicts);
	r = err_set(rb->w->e, -ESTALE, "REBASE_CONFLICT",
		"%s paths changed on both sides, nothing was done: %s", count, rb->told.message);
	err_meta(rb->w->e, "paths", count);
	if (rb->w->e)
		memcpy(rb->w->e->lines, rb->told.lines, sizeof(rb->w->e->lines));
	return r;
}

/* ---- what leaves the upper ---- */

static bool is_drop(void *arg, const char *path)
{
	const struct rebase *rb = arg;

	return rb->count && bsearch(&path, rb->drops, rb->count, sizeof(*rb->drops), by_text);
}

/* The switch goes only where somebody has been: into their directories. */
static int enter_drops(struct rebase *rb, struct wf_files *f)
{
	int r = 0;

	rb->places = rb->count ? calloc(rb->count, sizeof(*rb->places)) : NULL;
	if (rb->count && !rb->places)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < rb->count; i++) {
		size_t restored = 0;

		r = wf_files_enter(f, rb->drops[i], false, &rb->places[i], &restored);
		if (r == -ENOENT || r == -ENOTDIR) {
			r = 0; /* somebody removed it meanwhile */
			continue;
		}
		if (r == 0) {
			rb->placed = i + 1;
			r = wf_files_look(f, &rb->places[i]);
		}
	}
	return r;
}

static void leave_drops(struct rebase *rb, struct wf_files *f)
{
	for (size_t i = 0; i < rb->placed; i++)
		wf_files_leave(f, &rb->places[i]);
	for (size_t i = 0; i < rb->count; i++)
		free(rb->drops[i]);
	free(rb->places);
	free(rb->drops);
}

/* Directories that only stayed because of what has left. */
static int prune(struct rebase *rb, struct wf_files *f)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < rb->count; i++)
		r = wf_files_prune(f, rb->drops[i], true);
	return r;
}

/* ---- the verb ---- */

static int move_state(struct wf *w, const struct mount_record *next)
{
	struct mounts *m = w->call->mounts;
	_cleanup_free_ char *dir = path_join(m->workspaces_dir, w->use->mount_id);
	int r = dir ? wf_state_move(dir, &w->use->commit, mount_change_list_base(next), &next->root)
		    : -ENOMEM;

	return r == -EBUSY
		       ? err_set(w->e, r, "WORKSPACE_HAS_COMMITS",
				 "the workspace has commits or staged changes, which belong to the "
				 "revision that it shows now; push or reset them first")
		       : r;
}

static int go(struct rebase *rb, struct mount_switch *sw)
{
	struct wf_files f;
	int r = move_state(rb->w, &sw->next);

	if (r < 0)
		return r;
	wf_files_init(&f, rb->w);
	sw->drop = is_drop;
	sw->arg = rb;
	r = enter_drops(rb, &f);
	if (r == 0)
		r = mount_switch_go(sw, rb->w->e);
	if (r == 0)
		r = prune(rb, &f);
	leave_drops(rb, &f);
	return r;
}

static int run(struct wf *w, const struct wf_rebase_request *rq, struct mount_switch *sw,
	struct mount_info *ret_info)
{
	struct rebase *rb = calloc(1, sizeof(*rb));
	int r = 0;

	if (!rb)
		return -ENOMEM;
	rb->w = w;
	rb->choice = rq->on_conflict;
	if (rq->revision && rq->revision[0])
		(void)snprintf(sw->next.revision, sizeof(sw->next.revision), "%s", rq->revision);
	r = mount_switch_resolve(sw, sw->next.revision, NULL, w->e);
	if (r == 0)
		r = compare(rb, &sw->next.root);
	if (r == 0) {
		r = go(rb, sw);
	} else {
		struct wf_files none = {.w = w};

		leave_drops(rb, &none);
	}
	free(rb);
	if (r < 0)
		return r;
	LOCK_GUARD(&sw->mt->registry->mu);
	return mount_copy_info_locked(sw->mt, ret_info, w->e);
}

int wf_rebase(const struct wf_call *call, const struct wf_rebase_request *rq,
	struct mount_info *ret_info, struct err *e)
{
	struct mount_switch sw;
	struct wf w;
	int r;

	if (rq->revision && strlen(rq->revision) >= sizeof(sw.next.revision))
		return err_field(e, "revision", "is too long");
	r = wf_open(&w, call, true, e);
	if (r < 0)
		return r;
	r = mount_switch_begin(&sw, w.use, e);
	if (r == 0) {
		r = run(&w, rq, &sw, ret_info);
		if (r < 0)
			(void)wf_failed(&w, r, "move the workspace to another revision");
		mount_switch_end(&sw);
	}
	wf_close(&w);
	return r;
}
