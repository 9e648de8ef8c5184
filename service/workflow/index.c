/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Add: the staged tree takes over what the job sees. One walk finds, stores and builds; what is not
 * meant stays as it is staged.
 */
#include "workflow/commits.h"
#include "workflow/ignore.h"
#include "workflow/paths.h"
#include "workflow/walk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct add {
	struct wf w;
	const struct wf_add_request *rq;
	struct wf_matcher paths;
	struct wf_ignores ignores;
	struct wf_walk walk;
	struct wf_add_result result;
	int refused; /* a directory was */
};

/* The spec that names the path itself, not by a pattern or a directory above it. */
static struct wf_spec *naming(const struct add *a, const char *path, size_t len)
{
	for (size_t i = 0; i < a->paths.count; i++) {
		struct wf_spec *s = &a->paths.specs[i];

		if (!s->exclude && !s->pattern && s->len == len && memcmp(s->text, path, len) == 0)
			return s;
	}
	return NULL;
}

static int refuse(struct add *a, const char *path, size_t len)
{
	return err_set(a->w.e, -EPERM, "PATH_IGNORED",
		"%.*s is ignored by a .gitignore; use force to add it", len < 256 ? (int)len : 256,
		path);
}

/* 1: leave it. */
static int refuse_ignored(struct add *a, struct wf_item *item)
{
	bool ignored;
	int r;

	if (a->rq->force)
		return 0;
	r = wf_ignored(&a->ignores, item->level, item->path, item->name_at, false, &ignored);
	if (r < 0 || !ignored)
		return r;
	return naming(a, item->path, item->path_len) ? refuse(a, item->path, item->path_len) : 1;
}

static int stage(struct add *a, struct wf_item *item)
{
	struct wf_node index = item->index;
	bool differs;
	int r;

	if (item->work.mode && !index.mode) {
		r = a->rq->update ? 1 : refuse_ignored(a, item);
		if (r != 0)
			return r < 0 ? r : 0;
	}
	r = wf_work_differs(&a->w, item, &index, &differs);
	if (r < 0 || !differs)
		return r;
	r = wf_work_store(&a->w, item);
	if (r < 0)
		return r;
	item->result = item->work;
	if (item->work.mode && item->upper) {
		a->result.files++;
		a->result.bytes += item->work.size;
	} else if (!item->work.mode) {
		a->result.removed++;
	}
	return 0;
}

static int visit(void *arg, struct wf_item *item)
{
	struct add *a = arg;

	return wf_matcher_has(&a->paths, item->path, item->path_len) ? stage(a, item) : 0;
}

static bool enter(void *arg, const char *path, size_t len, struct wf_level *level)
{
	struct add *a = arg;
	struct wf_spec *named = len ? naming(a, path, len - 1) : NULL; /* "a/b/" */

	if (!wf_matcher_may_enter(&a->paths, path, len))
		return false;
	if (named)
		named->matched = true; /* although it may be empty */
	if (level->tracked || !level->up || a->rq->force || a->rq->update ||
		(a->paths.any_include && !named))
		return true;
	if (wf_ignored_dir(&a->ignores, level, path) != 1)
		return true;
	if (named && a->refused == 0)
		a->refused = refuse(a, path, len - 1);
	return false;
}

static void leave(void *arg, struct wf_level *level)
{
	(void)arg;
	wf_ignore_leave(level);
}

/* ---- specs that no change matched ---- */

struct search {
	struct wf_matcher *paths;
	size_t spec;
};

static int visit_search(void *arg, struct wf_item *item)
{
	struct search *s = arg;

	(void)wf_matcher_has(s->paths, item->path, item->path_len);
	return s->paths->specs[s->spec].matched;
}

static bool enter_search(void *arg, const char *path, size_t len, struct wf_level *level)
{
	struct search *s = arg;

	(void)level;
	return wf_matcher_may_enter(s->paths, path, len);
}

/* A pattern may match what is tracked and has not changed. */
static int search_pattern(struct wf *w, struct wf_matcher *paths, size_t spec)
{
	struct search s = {paths, spec};
	struct wf_walk *walk = calloc(1, sizeof(*walk));
	int r;

	if (!walk)
		return -ENOMEM;
	*walk = (struct wf_walk){.w = w,
		.index = w->state.index,
		.visit = visit_search,
		.enter = enter_search,
		.arg = &s};
	r = wf_walk(walk, NULL);
	free(walk);
	return r < 0 ? r : 0;
}

int wf_check_matched(struct wf *w, struct wf_matcher *paths)
{
	for (size_t i = 0; i < paths->count; i++) {
		struct wf_spec *s = &paths->specs[i];
		struct wf_node node;
		int r;

		if (s->matched || s->exclude || s->len == 0)
			continue;
		if (s->pattern) {
			r = search_pattern(w, paths, i);
		} else {
			r = wf_find_path(w, &w->state.index, s->text, &node);
			s->matched = r == 0 && node.mode;
		}
		if (r < 0)
			return r;
		if (!s->matched) {
			r = err_set(w->e, -ENOENT, "PATHSPEC_NO_MATCH",
				"\"%.256s\" matches no file of the workspace", s->text);
			err_meta(w->e, "pathspec", s->text);
			return r;
		}
	}
	return 0;
}

static int run(struct add *a)
{
	struct wf_state next = a->w.state;
	int r;

	wf_odb_batch(a->w.odb);
	a->walk = (struct wf_walk){.w = &a->w,
		.with_work = true,
		.head = a->w.state.index, /* what is staged already is of no interest */
		.index = a->w.state.index,
		.visit = visit,
		.enter = enter,
		.leave = leave,
		.build = true,
		.arg = a};
	r = wf_walk(&a->walk, &next.index);
	if (r == 0)
		r = a->refused;
	if (r == 0)
		r = wf_check_matched(&a->w, &a->paths);
	return r == 0 ? wf_save(&a->w, &next) : r;
}

int wf_add(const struct wf_call *call, const struct wf_add_request *rq,
	struct wf_add_result *ret_result, struct err *e)
{
	struct add *a = calloc(1, sizeof(*a));
	int r;

	if (!a)
		return err_set(e, -ENOMEM, "", "no memory");
	a->rq = rq;
	a->ignores.w = &a->w;
	r = wf_matcher_init(&a->paths, &rq->paths, e);
	if (r == 0)
		r = wf_open(&a->w, call, true, e);
	if (r == 0) {
		r = run(a);
		if (r < 0)
			(void)wf_failed(&a->w, r, "stage changes");
		wf_head_of(&a->w, &a->result.head);
		*ret_result = a->result;
		wf_ignores_fini(&a->ignores);
		wf_close(&a->w);
	}
	wf_matcher_fini(&a->paths);
	free(a);
	return r;
}
