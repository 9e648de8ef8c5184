/* SPDX-License-Identifier: Apache-2.0 */
/* See merge.h. The sides of the walk: lower is the base, index ours, head theirs. */
#include "workflow/merge.h"

#include "workflow/walk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct merging {
	const struct wf_merge *m;
	bool difficult; /* for Git */
};

const char *wf_merge_reason(uint32_t base, uint32_t ours, uint32_t theirs)
{
	if (!ours && theirs)
		return "was changed here and removed there";
	if (ours && !theirs)
		return "was removed here and changed there";
	return base ? "was changed on both sides" : "was added on both sides";
}

static void refuse(struct merging *g, const struct wf_item *item, const char *why)
{
	char text[160];

	(void)snprintf(text, sizeof(text), "%s%s", why, g->m->of);
	wf_conflict(g->m->conflicts, item->path, text);
}

/* Both changed it. */
static void both_changed(struct merging *g, struct wf_item *item)
{
	if (!g->m->whole_files)
		g->difficult = true;
	else if (g->m->choice == WF_CONFLICT_KEEP_MINE)
		item->result = item->head;
	else if (g->m->choice != WF_CONFLICT_TAKE_THEIRS)
		refuse(g, item,
			wf_merge_reason(item->work.mode, item->index.mode, item->head.mode));
}

static bool is_dir_in(const struct wf_dir *dir, const struct wf_item *item)
{
	const struct wf_dirent *d =
		wf_dir_find(dir, item->path + item->name_at, item->path_len - item->name_at);

	return d && wf_is_dir(&d->node);
}

static int visit(void *arg, struct wf_item *item)
{
	struct merging *g = arg;
	const struct wf_node *base = &item->work, *ours = &item->index, *theirs = &item->head;
	bool same = wf_same(ours, theirs);

	if (wf_same(base, theirs))
		return 0;
	if (theirs->mode && !same && is_dir_in(&item->level->index, item)) {
		if (g->m->whole_files)
			refuse(g, item, "is a directory on one side only");
		g->difficult = true;
	} else if (wf_same(base, ours)) {
		item->result = *theirs;
	} else if (!same) {
		both_changed(g, item);
	} else if (!ours->mode) {
		g->difficult = true; /* gone on both sides, perhaps to different places */
	}
	return 0;
}

/* A directory that one side has removed, and the other has gone on with, may have another name by
 * now. */
static bool was_left(const struct wf_level *l)
{
	return !oid_is_none(&l->lower_tree) &&
	       oid_is_none(&l->head_tree) != oid_is_none(&l->index_tree) &&
	       !oid_equal(&l->lower_tree, &l->index_tree);
}

static bool enter(void *arg, const char *path, size_t len, struct wf_level *level)
{
	struct merging *g = arg;
	const struct wf_level *up = level->up;
	const struct wf_dirent *ours;

	if (oid_equal(&level->lower_tree, &level->head_tree))
		return false;
	if (!up)
		return true;
	ours = wf_dir_find(&up->index, path + up->path_len, len - up->path_len - 1);
	if (ours && !wf_is_dir(&ours->node)) {
		g->difficult = true;
		if (g->m->whole_files)
			wf_conflict(g->m->conflicts, path, "is a directory on one side only");
	}
	g->difficult |= was_left(level);
	return true;
}

int wf_merge_walk(struct wf *w, const struct wf_merge *m, const struct wf_merge_visitor *v,
	struct oid *ret_tree)
{
	struct wf_walk *walk = calloc(1, sizeof(*walk));
	int r;

	if (!walk)
		return -ENOMEM;
	*walk = (struct wf_walk){.w = w,
		.with_lower = true,
		.lower = m->base,
		.index = m->ours,
		.head = m->theirs,
		.visit = v->visit,
		.enter = v->enter,
		.build = ret_tree != NULL,
		.arg = v->arg};
	r = wf_walk(walk, ret_tree);
	free(walk);
	return r;
}

int wf_merge(struct wf *w, const struct wf_merge *m, struct oid *ret_tree)
{
	struct merging g = {.m = m};
	int r;

	if (oid_equal(&m->base, &m->theirs) || oid_equal(&m->ours, &m->theirs)) {
		*ret_tree = m->ours;
		return 0;
	}
	if (oid_equal(&m->base, &m->ours)) {
		*ret_tree = m->theirs;
		return 0;
	}
	r = wf_merge_walk(w, m, &(struct wf_merge_visitor){visit, enter, &g}, ret_tree);
	return r == 0 && g.difficult && !m->whole_files ? wf_merge_git(w, m, ret_tree) : r;
}
