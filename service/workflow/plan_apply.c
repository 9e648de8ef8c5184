/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See plan.h. One walk finds what is left to be done: of each path of the plan, what is there now.
 * A file that is neither what the plan found nor what it wants was changed by the job meanwhile,
 * and is the job's.
 */
#include "workflow/files.h"
#include "workflow/plan.h"
#include "workflow/walk.h"

#include "mount/mount_host.h"
#include "mount/mounts_internal.h"

#include <base/cleanup.h>
#include <base/log.h>
#include <base/path.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

/* What is to be done of the plan. */
struct todo {
	const struct wf_plan_op *op;
	bool lower_has_it; /* it shows through if nothing is over it */
};

struct applying {
	struct wf *w;
	const struct wf_plan *plan;
	bool resumed;
	struct todo *todo;
	size_t count;
	struct wf_files files;
};

/* ---- finding ---- */

/* The job has a copy, or has removed what the base has. */
static bool in_upper(const struct wf_item *item)
{
	return item->upper || !item->work.mode;
}

static int is_due(struct applying *a, struct wf_item *item, const struct wf_plan_op *op, bool *ret)
{
	struct wf_node from = op->from, to = op->to;
	bool differs = true;
	int r = 0;

	*ret = false;
	if (op->leave && (!a->resumed || !in_upper(item)))
		return 0;
	r = wf_work_differs(a->w, item, &to, &differs);
	if (r < 0 || !differs) {
		*ret = r == 0 && op->leave;
		return r;
	}
	if (oid_is_none(&from.oid) && from.mode)
		differs = item->work.mode != from.mode;
	else
		r = wf_work_differs(a->w, item, &from, &differs);
	*ret = r == 0 && !differs;
	return r;
}

static int visit(void *arg, struct wf_item *item)
{
	struct applying *a = arg;
	const struct wf_plan_op *op = wf_plan_find(a->plan, item->path);
	const struct wf_dirent *lower;
	bool due;
	int r;

	if (!op)
		return 0;
	r = is_due(a, item, op, &due);
	if (r < 0 || !due)
		return r;
	lower = wf_dir_find(
		&item->level->lower, item->path + item->name_at, item->path_len - item->name_at);
	a->todo[a->count++] = (struct todo){op, lower && wf_same(&lower->node, &op->to)};
	return 0;
}

/* Is anything of the plan below? */
static bool enter(void *arg, const char *path, size_t len, struct wf_level *level)
{
	const struct applying *a = arg;
	size_t lo = 0, hi = a->plan->count;

	(void)level;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (strncmp(a->plan->ops[mid].path, path, len) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < a->plan->count && strncmp(a->plan->ops[lo].path, path, len) == 0;
}

/* The base is a side of its own: so all that differs from what is shown is visited. */
static int find(struct applying *a)
{
	struct wf_walk *walk = calloc(1, sizeof(*walk));
	int r;

	if (!walk)
		return -ENOMEM;
	*walk = (struct wf_walk){.w = a->w,
		.with_work = true,
		.merged = true,
		.index = a->plan->shown,
		.head = a->w->state.index,
		.visit = visit,
		.enter = enter,
		.arg = a};
	r = wf_walk(walk, NULL);
	free(walk);
	return r;
}

/* ---- doing ---- */

static int set(struct applying *a, struct wf_place *place, const struct todo *t)
{
	const struct wf_node *to = &t->op->to;
	int r = wf_files_rmdir(&a->files, place);

	if (r < 0) /* a directory, and by now with something of the job's in it */
		return r == -ENOTEMPTY ? 0 : r;
	r = -EBUSY;
	if (t->lower_has_it)
		r = wf_files_restore(&a->files, place);
	if (r == -EBUSY && to->mode == WF_MODE_GITLINK)
		r = wf_files_mkdir(&a->files, place);
	else if (r == -EBUSY)
		r = wf_files_write(&a->files, place, to);
	return r;
}

static int apply(struct applying *a, const struct todo *t)
{
	const char *path = t->op->path;
	size_t restored = 0;
	struct wf_place place;
	bool make = !t->op->leave && t->op->to.mode;
	int r = wf_check(a->w);

	if (r == 0)
		r = wf_files_enter(&a->files, path, make, &place, &restored);
	if (r == -ENOENT && !make)
		return 0; /* gone already */
	if (r < 0)
		return wf_failed_at(a->w, r, "change", path);
	if (t->op->leave)
		r = wf_files_uncover(&a->files, &place);
	else if (!make)
		r = wf_files_remove(&a->files, &place, path);
	else
		r = set(a, &place, t);
	wf_files_leave(&a->files, &place);
	return r < 0 ? wf_failed_at(a->w, r, "change", path) : 0;
}

/* Directories that only stayed because of what has left. */
static int prune(struct applying *a)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < a->plan->count; i++)
		if (a->plan->ops[i].leave)
			r = wf_files_prune(&a->files, a->plan->ops[i].path, true);
	return r;
}

/* Removals first, from the end: directories become empty before they are looked at. */
static int apply_all(struct applying *a)
{
	int r = 0;

	for (size_t i = a->count; r == 0 && i-- > 0;)
		if (!a->todo[i].op->to.mode)
			r = apply(a, &a->todo[i]);
	if (r == 0)
		r = prune(a);
	for (size_t i = 0; r == 0 && i < a->count; i++)
		if (a->todo[i].op->to.mode)
			r = apply(a, &a->todo[i]);
	return r;
}

/* A killed process' requests wait for the end of the recovery, which this is a part of. */
static bool is_unserved(const struct mount *mt)
{
	return mt->host->adopted;
}

static bool has_sets(const struct wf_plan *p)
{
	for (size_t i = 0; i < p->count; i++)
		if (!p->ops[i].leave)
			return true;
	return false;
}

static int apply_plan(struct applying *a)
{
	const struct wf_plan *p = a->plan;
	int r = 0;

	if (!p->count)
		return 0;
	a->todo = calloc(p->count, sizeof(*a->todo));
	if (!a->todo)
		return -ENOMEM;
	wf_files_init(&a->files, a->w);
	a->files.planned = true;
	a->files.silent = is_unserved(a->w->use->mount);
	if (a->resumed || has_sets(p))
		r = find(a);
	if (r == 0)
		r = apply_all(a);
	free(a->todo);
	return r;
}

int wf_plan_apply(struct wf *w, const struct wf_plan *p)
{
	struct applying a = {.w = w, .plan = p};

	return apply_plan(&a);
}

int wf_plan_finish(struct wf *w)
{
	struct mount *mt = w->use->mount;
	struct wf_plan p;
	struct applying a = {.w = w, .plan = &p, .resumed = true};
	bool later = false; /* it is told, so it goes */
	int r = wf_plan_read(w->dirfd, &p);

	if (r == -EBADMSG) { /* not readable for anybody */
		wf_plan_remove(w->dirfd);
		return 0;
	}
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	if (oid_equal(&p.shown, &w->use->root)) { /* else of a move that was not made */
		r = apply_plan(&a);
		if (r == 0)
			r = wf_plan_tell(w, &p);
		if (r == 0 && is_unserved(mt))
			mt->plan_done = later = true;
	}
	if (r == 0 && !later)
		wf_plan_remove(w->dirfd);
	wf_plan_fini(&p);
	return r;
}

/* ---- after a kill ---- */

int wf_plan_resume(const char *workspace_dir, const struct oid *shown, struct wf_plan *ret_plan)
{
	_cleanup_free_ char *dir = path_join(workspace_dir, "git");
	_cleanup_close_ int fd =
		dir ? open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
	int r;

	*ret_plan = (struct wf_plan){.ops = NULL};
	if (!dir)
		return -ENOMEM;
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	r = wf_plan_read(fd, ret_plan);
	if (r == 0 && !oid_equal(&ret_plan->shown, shown))
		wf_plan_fini(ret_plan);
	return r == -ENOENT || r == -EBADMSG ? 0 : r;
}

void wf_plan_told(struct mount *mt)
{
	_cleanup_free_ char *dir = path_join(mt->registry->workspaces_dir, mt->rec.mount_id);
	_cleanup_free_ char *git = dir ? path_join(dir, "git") : NULL;
	_cleanup_close_ int fd =
		git ? open(git, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;

	if (fd >= 0) /* else the next verb does it again */
		wf_plan_remove(fd);
}

int wf_plan_end(struct mount *mt, const struct wf_plan *p, uint64_t deadline_ns)
{
	struct wf_call call = {.mounts = mt->registry, .deadline_ns = deadline_ns};
	struct mount_use *use;
	struct err e = {0};
	struct wf w;
	int r;

	if (!p->count)
		return 0;
	r = mount_use_claimed(mt, deadline_ns, &use);
	if (r == 0) {
		r = wf_open_use(&w, &call, use, &e); /* ends with wf_plan_finish */
		if (r == 0)
			wf_close(&w);
		(void)mount_use_end(use); /* returns NULL always */
	}
	if (r < 0)
		log_error("move_not_ended", LOG_S("mount_id", mt->rec.mount_id),
			LOG_S("message", err_message(&e)), LOG_E(r));
	return r;
}
