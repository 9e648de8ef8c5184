/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See carry.h. The sides of the walk: lower is what shows through now, aside what will; index is
 * what is staged, head what will be.
 */
#include "workflow/carry.h"

#include "workflow/merge.h"
#include "workflow/walk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct carrying {
	struct wf *w;
	const struct wf_carry *c;
	struct wf_plan *plan;
	char hidden[WF_PATH_MAX +
		    1]; /* "a/b/": the job has removed or replaced all below; "" none */
	size_t hidden_len;
	bool stands;                    /* ... and has a directory there */
	char replaced[WF_PATH_MAX + 1]; /* "a/b/": becomes a file; "" none */
	size_t replaced_len;
};

/* ---- one path ---- */

struct path {
	struct wf_item *item;
	const struct ovl_upper_entry *upper; /* what the job has there; NULL: the base is seen */
	bool hidden;
	bool dir_was, dir_is; /* a directory is staged there; will be */
	struct wf_node below; /* what the base has there, no directory */
};

static int conflict(struct carrying *k, const struct path *p, const char *why)
{
	if (!k->c->on_top)
		wf_conflict(k->c->conflicts, p->item->path, why);
	return 0;
}

static int plan(struct carrying *k, const struct path *p, const struct wf_plan_op *op)
{
	struct wf_plan_op named = *op;
	int r;

	named.path = (char *)(uintptr_t)p->item->path;
	r = wf_plan_add(k->plan, &named);
	return r == -EFBIG
		       ? err_set(k->w->e, r, "TOO_MANY_CHANGES",
				 "more than %u files of the workspace would change", WF_PLAN_MAX)
		       : r;
}

/* The job's copy only has to go for the new base to be seen. */
static bool may_leave(const struct path *p, const struct wf_node *to)
{
	return p->upper && !p->hidden && !S_ISDIR(p->upper->mode) && wf_same(&p->item->aside, to) &&
	       !wf_same(&p->below, &p->item->aside);
}

/* The path is to be `to`, and the upper has it, or hides it. */
static int become(struct carrying *k, const struct path *p, struct wf_node *to)
{
	struct wf_plan_op op = {.from = {.mode = p->item->work.mode}, .to = *to};
	bool differs;
	int r;

	op.leave = may_leave(p, to);
	if (op.leave)
		return plan(k, p, &op);
	r = wf_work_differs(k->w, p->item, to, &differs);
	if (r < 0 || !differs)
		return r;
	if (p->item->upper)
		r = wf_work_hash(k->w, p->item);
	op.from = p->item->work;
	return r < 0 ? r : plan(k, p, &op);
}

/* Both changed it. */
static int decide(struct carrying *k, const struct path *p)
{
	struct wf_item *item = p->item;
	bool replaced = p->dir_was != p->dir_is, differs = true;
	struct wf_node merged = {0};
	int r = 0;

	if (k->c->on_top)
		return 0;
	if (!replaced)
		r = wf_work_differs(k->w, item, &item->head, &differs);
	if (r < 0)
		return r;
	if (replaced)
		return conflict(k, p, "is a directory on one side only");
	if (!differs || k->c->choice == WF_CONFLICT_TAKE_THEIRS)
		return become(k, p, &item->head);
	if (k->c->choice == WF_CONFLICT_KEEP_MINE)
		return 0;
	if (k->c->choice == WF_CONFLICT_MERGE)
		r = wf_merge_work(k->w, item, &item->index, &item->head, &merged);
	if (r < 0)
		return r;
	if (merged.mode)
		return become(k, p, &merged);
	return conflict(k, p, wf_merge_reason(item->index.mode, item->head.mode, item->work.mode));
}

/* The job has a directory of its own there; what is in it was looked at, or will be. */
static int carry_dir(struct carrying *k, const struct path *p)
{
	const struct wf_plan_op op = {.to = p->item->head};

	if (!p->item->head.mode)
		return 0;
	return p->dir_was ? plan(k, p, &op)
			  : conflict(k, p, "is a directory here and a file there");
}

/* The job has it in its upper, or has hidden it. */
static int carry_over(struct carrying *k, const struct path *p)
{
	struct wf_item *item = p->item;
	bool mine, differs;
	int r;

	if (wf_same(&item->index, &item->head) && p->dir_was == p->dir_is) {
		if (k->c->on_top || !may_leave(p, &item->aside))
			return 0;
		r = wf_work_differs(k->w, item, &item->aside, &differs);
		return r == 0 && !differs ? become(k, p, &item->aside) : r;
	}
	if (p->upper && S_ISDIR(p->upper->mode))
		return carry_dir(k, p);
	if (k->c->on_top && !item->work.mode && !p->hidden)
		return 0; /* what the job has removed stays so */
	r = wf_work_differs(k->w, item, &item->index, &mine);
	if (r < 0)
		return r;
	if (p->hidden && !k->stands && item->head.mode &&
		(mine || (!item->work.mode && item->level->tracked)))
		return conflict(k, p, "lies in a directory that was removed here");
	if (mine)
		return p->hidden && !k->stands ? 0 : decide(k, p);
	return become(k, p, &item->head);
}

/* What shows through is not what is staged: nobody has touched it, and the new base's shows. */
static int show_through(struct carrying *k, const struct path *p)
{
	struct wf_item *item = p->item;
	const struct wf_plan_op op = {.from = item->aside, .to = item->head};

	if (!wf_same(&item->work, &item->index) || wf_same(&item->head, &item->aside))
		return 0;
	return plan(k, p, &op);
}

/* ---- the walk ---- */

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

static bool is_hidden(const struct carrying *k, const char *path)
{
	return k->hidden_len && strncmp(path, k->hidden, k->hidden_len) == 0;
}

static int visit(void *arg, struct wf_item *item)
{
	struct carrying *k = arg;
	const char *name = item->path + item->name_at;
	size_t len = item->path_len - item->name_at;
	const struct wf_dirent *was = wf_dir_find(&item->level->index, name, len);
	const struct wf_dirent *is = wf_dir_find(&item->level->head, name, len);
	const struct wf_dirent *below = wf_dir_find(&item->level->lower, name, len);
	struct path p = {.item = item,
		.upper = upper_entry(item->level, name, len),
		.hidden = is_hidden(k, item->path),
		.dir_was = was && wf_is_dir(&was->node),
		.dir_is = is && wf_is_dir(&is->node)};

	if (item->head.mode == WF_MODE_GITLINK || item->aside.mode == WF_MODE_GITLINK)
		return 0; /* what is in a submodule's directory is not ours */
	if (below && !wf_is_dir(&below->node))
		p.below = below->node;
	if (k->replaced_len && strncmp(item->path, k->replaced, k->replaced_len) == 0 &&
		item->work.mode && !item->index.mode)
		return conflict(k, &p, "lies in a directory that is a file there");
	return p.upper || p.hidden ? carry_over(k, &p) : show_through(k, &p);
}

/* Does the upper show at this directory what its place in the base has, and goes with it? */
static bool shows_base(const struct wf_level *level, const char *name, size_t len)
{
	const struct wf_dirent *base = wf_dir_find(&level->up->lower, name, len);

	if (!base || !wf_is_dir(&base->node))
		return !level->upper.has_lower; /* new here; another one's content otherwise */
	return level->upper.has_lower && !level->upper.redirected &&
	       oid_equal(&level->upper.lower, &base->node.oid);
}

static bool enter(void *arg, const char *path, size_t len, struct wf_level *level)
{
	struct carrying *k = arg;
	bool hides;
	const struct wf_dirent *head;
	const char *name;
	size_t name_len;

	if (!level->up)
		return true;
	name = path + level->up->path_len;
	name_len = len - level->up->path_len - 1;
	head = wf_dir_find(&level->up->head, name, name_len);
	if (head && !wf_is_dir(&head->node)) {
		memcpy(k->replaced, path, len);
		k->replaced[len] = '\0';
		k->replaced_len = len;
	}
	if (is_hidden(k, path))
		return true;
	if (level->upper.fd < 0)
		hides = upper_entry(level->up, name, name_len);
	else
		hides = !shows_base(level, name, name_len);
	if (hides) {
		k->stands = level->upper.fd >= 0;
		memcpy(k->hidden, path, len);
		k->hidden[len] = '\0';
		k->hidden_len = len;
	}
	/* without anything of the job below, what comes is what shows through */
	return hides || level->upper.fd >= 0 || !oid_equal(&level->head_tree, &level->aside_tree);
}

int wf_carry(struct wf *w, const struct wf_carry *c, struct wf_plan *ret_plan)
{
	struct carrying *k = calloc(1, sizeof(*k));
	struct wf_walk *walk = calloc(1, sizeof(*walk));
	int r = k && walk ? 0 : -ENOMEM;

	if (r == 0) {
		*k = (struct carrying){.w = w, .c = c, .plan = ret_plan};
		ret_plan->shown = c->next_root;
		*walk = (struct wf_walk){.w = w,
			.with_work = true,
			.with_aside = true,
			.removed = true, /* a removal outlives what it hides otherwise */
			.merged = true,
			.index = c->index,
			.head = c->next_index,
			.aside = c->next_root,
			.visit = visit,
			.enter = enter,
			.arg = k};
		r = wf_walk(walk, NULL);
		wf_plan_sort(ret_plan);
	}
	free(walk);
	free(k);
	return r;
}
