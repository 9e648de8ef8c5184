/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Status: one walk over the three trees. Renames among what is staged need all of it first, so when
 * something is staged a walk over HEAD and index goes before; it costs what is staged.
 */
#include "workflow/ignore.h"
#include "workflow/paths.h"
#include "workflow/rename.h"
#include "workflow/walk.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

struct status {
	struct wf w;
	const struct wf_status_request *rq;
	wf_status_fn fn;
	void *arg;
	struct wf_matcher paths;
	struct wf_ignores ignores;
	struct wf_renames renames;
	struct wf_walk walk;
	/* The directory that was told last as one entry, when HEAD has something in it that must
	 * still be found; "" otherwise. */
	char told[WF_PATH_MAX + 1];
};

/* ---- kinds ---- */

static uint32_t type_of(const struct wf_node *n)
{
	return n->mode & S_IFMT;
}

static enum wf_kind kind_of(const struct wf_node *from, const struct wf_node *to, bool same_content)
{
	if (!from->mode)
		return WF_ADDED;
	if (!to->mode)
		return WF_DELETED;
	if (type_of(from) != type_of(to))
		return WF_TYPE_CHANGED;
	return same_content ? WF_MODE_CHANGED : WF_MODIFIED;
}

static int tell(struct status *s, const char *path, enum wf_kind kind, bool staged,
	const struct wf_node *from, const struct wf_node *to)
{
	struct wf_status_entry entry = {
		.path = path,
		.kind = kind,
		.staged = staged,
		.mode = to->mode ? to->mode : from->mode,
		.old_mode = from->mode,
		.size_bytes = !staged && to->size_known ? to->size : 0,
	};

	return s->fn(s->arg, &entry);
}

/* ---- staged ---- */

static int tell_rename(
	struct status *s, const struct wf_item *item, const struct wf_rename_path *from)
{
	struct wf_status_entry entry = {
		.path = item->path,
		.old_path = from->path,
		.kind = WF_RENAMED,
		.staged = true,
		.mode = item->index.mode,
		.old_mode = from->node.mode,
		.similarity = wf_renames_score(&s->renames, item->path),
	};

	return s->fn(s->arg, &entry);
}

static int tell_staged(struct status *s, const struct wf_item *item)
{
	const struct wf_rename_path *from;
	bool same_content;

	if (wf_same(&item->head, &item->index))
		return 0;
	if (!item->head.mode) {
		from = wf_renames_come(&s->renames, item->path);
		if (from)
			return tell_rename(s, item, from);
	}
	if (!item->index.mode && wf_renames_gone(&s->renames, item->path))
		return 0;
	same_content = oid_equal(&item->head.oid, &item->index.oid);
	return tell(s, item->path, kind_of(&item->head, &item->index, same_content), true,
		&item->head, &item->index);
}

static int collect_rename(void *arg, struct wf_item *item)
{
	struct status *s = arg;

	if (!wf_matcher_has(&s->paths, item->path, item->path_len))
		return 0;
	if (item->head.mode && !item->index.mode)
		return wf_renames_add(&s->renames, false, item->path, &item->head);
	if (item->index.mode && !item->head.mode)
		return wf_renames_add(&s->renames, true, item->path, &item->index);
	return 0;
}

static int read_blob(
	void *arg, const struct wf_rename_path *p, size_t max, char **ret_data, size_t *ret_len)
{
	return wf_blob_read(arg, &p->node.oid, max, ret_data, ret_len);
}

static int find_renames(struct status *s)
{
	const struct wf_state *st = &s->w.state;
	int r;

	if (s->rq->no_renames ||
		(st->index.len == st->tree.len && oid_equal(&st->index, &st->tree)))
		return 0;
	s->walk = (struct wf_walk){.w = &s->w,
		.head = st->tree,
		.index = st->index,
		.visit = collect_rename,
		.arg = s};
	r = wf_walk(&s->walk, NULL);
	return r == 0 ? wf_renames_find(&s->w, &s->renames, read_blob, &s->w) : r;
}

/* ---- not staged ---- */

/* The topmost directory of the path in which nothing is tracked; NULL: the path's own directory has
 * something that is. */
static struct wf_level *untracked_top(struct wf_level *l)
{
	struct wf_level *top = NULL;

	for (; l->up && !l->tracked; l = l->up)
		top = l;
	return top;
}

/* Nothing more is said of what is not tracked in this directory. */
static void leave_out(struct status *s, const struct wf_item *item, const struct wf_level *top)
{
	if (!top->head.count) {
		s->walk.skip_len = top->path_len;
		return;
	}
	memcpy(s->told, item->path, top->path_len);
	s->told[top->path_len] = '\0';
}

static int tell_directory(
	struct status *s, const struct wf_item *item, const struct wf_level *top, enum wf_kind kind)
{
	char path[WF_PATH_MAX + 1];
	const struct wf_node none = {0}, dir = {.mode = WF_MODE_DIR};

	memcpy(path, item->path, top->path_len);
	path[top->path_len] = '\0';
	leave_out(s, item, top);
	return tell(s, path, kind, false, &none, &dir);
}

/* A directory where a tracked file was: Git tells the deletion only, and so do we. */
static bool hides_a_file(const struct wf_item *item, const struct wf_level *top)
{
	size_t at = top->up->path_len;

	return wf_dir_find(&top->up->index, item->path + at, top->path_len - 1 - at) != NULL;
}

static int tell_untracked(struct status *s, struct wf_item *item)
{
	struct wf_level *level = item->level;
	const struct wf_node none = {0};
	const struct wf_level *top;
	bool ignored;
	int r;

	if (s->rq->untracked == WF_UNTRACKED_NO ||
		(s->told[0] && strncmp(item->path, s->told, strlen(s->told)) == 0))
		return 0;
	r = wf_ignored(&s->ignores, level, item->path, item->name_at, false, &ignored);
	if (r < 0 || (ignored && !s->rq->ignored))
		return r;
	top = s->rq->untracked == WF_UNTRACKED_NORMAL ? untracked_top(level) : NULL;
	if (ignored) {
		/* An ignored directory is one entry; a single file in a directory that has others
		 * is told by itself. */
		for (top = NULL; level->up && level->excluded == 1; level = level->up)
			top = level;
		if (top && s->rq->untracked == WF_UNTRACKED_NORMAL)
			return tell_directory(s, item, top, WF_IGNORED);
		return tell(s, item->path, WF_IGNORED, false, &none, &item->work);
	}
	if (top && hides_a_file(item, top)) {
		leave_out(s, item, top);
		return 0;
	}
	if (top)
		return tell_directory(s, item, top, WF_UNTRACKED);
	return tell(s, item->path, WF_UNTRACKED, false, &none, &item->work);
}

static int tell_unstaged(struct status *s, struct wf_item *item)
{
	struct wf_node index = item->index;
	bool differs, same_content = false;
	int r;

	if (!index.mode)
		return item->work.mode ? tell_untracked(s, item) : 0;
	r = wf_work_differs(&s->w, item, &index, &differs);
	if (r < 0 || !differs)
		return r;
	if (item->work.mode && type_of(&item->work) == type_of(&index) &&
		item->work.mode != index.mode) {
		struct wf_node as_index = index;

		as_index.mode = item->work.mode;
		r = wf_work_differs(&s->w, item, &as_index, &same_content);
		same_content = !same_content;
	}
	return r < 0 ? r
		     : tell(s, item->path, kind_of(&index, &item->work, same_content), false,
			       &index, &item->work);
}

static int visit(void *arg, struct wf_item *item)
{
	struct status *s = arg;
	int r;

	if (!wf_matcher_has(&s->paths, item->path, item->path_len))
		return 0;
	r = tell_staged(s, item);
	return r == 0 ? tell_unstaged(s, item) : r;
}

/* An untracked directory that is ignored needs no look inside. */
static bool enter(void *arg, const char *path, size_t len, struct wf_level *level)
{
	struct status *s = arg;

	if (!wf_matcher_may_enter(&s->paths, path, len))
		return false;
	if (level->tracked || !level->up)
		return true;
	if (level->head.count)
		return true; /* what was committed there is staged to be removed */
	if (s->rq->untracked == WF_UNTRACKED_NO)
		return false;
	return s->rq->ignored || wf_ignored_dir(&s->ignores, level, path) != 1;
}

static void leave(void *arg, struct wf_level *level)
{
	(void)arg;
	wf_ignore_leave(level);
}

static int run(struct status *s)
{
	int r = find_renames(s);

	if (r < 0)
		return r;
	s->walk = (struct wf_walk){.w = &s->w,
		.with_work = true,
		.head = s->w.state.tree,
		.index = s->w.state.index,
		.visit = visit,
		.enter = enter,
		.leave = leave,
		.arg = s};
	return wf_walk(&s->walk, NULL);
}

int wf_status(const struct wf_call *call, const struct wf_status_request *rq, wf_status_fn fn,
	void *arg, struct wf_head *ret_head, struct err *e)
{
	struct status *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return err_set(e, -ENOMEM, "", "no memory");
	s->rq = rq;
	s->fn = fn;
	s->arg = arg;
	s->ignores.w = &s->w;
	r = wf_matcher_init(&s->paths, &rq->paths, e);
	if (r == 0)
		r = wf_open(&s->w, call, false, e);
	if (r == 0) {
		wf_head_of(&s->w, ret_head);
		r = run(s);
		if (r < 0)
			(void)wf_failed(&s->w, r, "find the changes of the workspace");
		wf_ignores_fini(&s->ignores);
		wf_renames_fini(&s->renames);
		wf_close(&s->w);
	}
	wf_matcher_fini(&s->paths);
	free(s);
	return r;
}
