/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reset. Soft moves HEAD; mixed also what is staged; hard also the files (reset_hard.c). With paths
 * only what is staged of them changes, and HEAD stays.
 */
#include "workflow/reset.h"
#include "workflow/commits.h"
#include "workflow/paths.h"
#include "workflow/walk.h"

#include <errno.h>
#include <stdlib.h>

struct unstage {
	struct wf_matcher *paths;
	uint64_t changed;
};

static int visit(void *arg, struct wf_item *item)
{
	struct unstage *u = arg;

	if (!wf_matcher_has(u->paths, item->path, item->path_len) ||
		wf_same(&item->head, &item->index))
		return 0;
	item->result = item->head;
	u->changed++;
	return 0;
}

static bool enter(void *arg, const char *path, size_t len, struct wf_level *level)
{
	const struct unstage *u = arg;

	(void)level;
	return wf_matcher_may_enter(u->paths, path, len);
}

/* The staged tree with what the paths are in `tree`. */
static int reset_paths(struct wf *w, struct wf_matcher *paths, const struct oid *tree,
	struct wf_reset_result *result, struct oid *ret_index)
{
	struct unstage u = {.paths = paths};
	struct wf_walk *walk = calloc(1, sizeof(*walk));
	int r;

	if (!walk)
		return -ENOMEM;
	*walk = (struct wf_walk){.w = w,
		.head = *tree,
		.index = w->state.index,
		.visit = visit,
		.enter = enter,
		.build = true,
		.arg = &u};
	r = wf_walk(walk, ret_index);
	free(walk);
	result->staged = u.changed;
	return r == 0 ? wf_check_matched(w, paths) : r;
}

static int run(struct wf *w, const struct wf_reset_request *rq, struct wf_matcher *paths,
	struct wf_reset_result *result)
{
	struct wf_state next = w->state;
	struct oid commit, tree;
	int r = wf_commit_find(w, rq->to ? rq->to : "", &commit, &tree);

	if (r < 0)
		return r;
	if (paths->count) {
		r = reset_paths(w, paths, &tree, result, &next.index);
		return r == 0 ? wf_save(w, &next) : r;
	}
	if (rq->mode == WF_RESET_HARD) {
		r = wf_reset_files(w, &tree, result);
		if (r < 0)
			return r;
	}
	next.head = commit;
	next.tree = tree;
	if (rq->mode != WF_RESET_SOFT)
		next.index = tree;
	return wf_save(w, &next);
}

static int check(const struct wf_reset_request *rq, struct err *e)
{
	if (rq->paths.count && rq->mode != WF_RESET_MIXED)
		return err_field(e, "mode", "is not MIXED, which is the only one with paths");
	return 0;
}

int wf_reset(const struct wf_call *call, const struct wf_reset_request *rq,
	struct wf_reset_result *ret_result, struct err *e)
{
	struct wf_reset_result result = {0};
	struct wf_matcher paths;
	struct wf w;
	int r = check(rq, e);

	if (r == 0)
		r = wf_matcher_init(&paths, &rq->paths, e);
	if (r < 0)
		return r;
	r = wf_open(&w, call, true, e);
	if (r == 0) {
		r = run(&w, rq, &paths, &result);
		if (r < 0)
			(void)wf_failed(&w, r, "reset");
		wf_head_of(&w, &result.head);
		*ret_result = result;
		wf_close(&w);
	}
	wf_matcher_fini(&paths);
	return r;
}
