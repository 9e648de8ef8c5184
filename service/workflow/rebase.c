/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rebase: the workspace moves to another revision under its jobs (mount/mount_switch.h).
 *
 *	commits       are made anew over the new revision     replay.c
 *	what is staged is merged into what they became        merge.c
 *	files         stay on top, or leave, or are set       carry.c
 *
 * All of it is found before anything changes, and written down: the state that will hold
 * (state.h), and what is to be done to single files (plan.h). Then the view switches.
 *
 * Over a change list the same: what it does is staged from the start. Another change list moves
 * commits and staged changes likewise; what the job wrote stays on top of it.
 */
#include "workflow/rebase.h"

#include "workflow/carry.h"
#include "workflow/commits.h"
#include "workflow/files.h"
#include "workflow/merge.h"
#include "workflow/plan.h"
#include "workflow/replay.h"

#include "mount/mount_change_list.h"
#include "mount/mount_switch.h"
#include "mount/mounts_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct move {
	struct wf *w;
	struct mount_switch *sw;
	enum wf_conflict_choice choice;
	bool on_top; /* the job's files, whatever comes below */
	const struct wf_signature *committer;
	struct wf_conflicts conflicts;
	struct wf_replayed replayed;
	struct wf_state next;
	struct wf_plan plan;
};

/* ---- commits, and what is staged ---- */

/* Neither commits nor anything staged but what the change list does. */
static bool is_plain(const struct wf *w)
{
	const struct oid *staged = w->use->has_change_list ? &w->list.index : &w->state.tree;

	if (!w->has_state)
		return true;
	return oid_equal(&w->state.head, &w->use->commit) && oid_equal(&w->state.index, staged);
}

static int has_submodules(const struct wf *w)
{
	return err_set(w->e, -EBUSY, "WORKSPACE_HAS_COMMITS",
		"the workspace has commits or staged changes over a change list with submodules, "
		"which belong to the tree that it shows now; push or reset them first");
}

/* What HEAD and the index are when there is nothing of the workspace's own in them. */
static int next_trees(struct move *m, struct oid *ret_tree, struct oid *ret_index)
{
	const struct mount_record *next = &m->sw->next;
	struct wf *w = m->w;
	struct wf_dir dir = {.entries = NULL};
	struct oid root;
	int r;

	*ret_tree = *ret_index = next->root;
	if (w->list.same_count)
		return has_submodules(w);
	if (!mount_change_list_given(next) || next->change_exact)
		return 0;
	r = wf_root_of_base(w, mount_change_list_base(next), &root);
	if (r == 0)
		r = wf_subtree(w, &root, ret_tree);
	if (r == 0) /* a merged directory with submodules is not what Git calls so */
		r = wf_load_dir(w, &next->root, &dir);
	wf_dir_fini(&dir);
	return r == -ENOENT ? has_submodules(w) : r;
}

static int move_commits(struct move *m)
{
	struct wf_replay rp = {.base = *mount_change_list_base(&m->sw->next),
		.choice = m->choice,
		.committer = m->committer,
		.conflicts = &m->conflicts};
	struct wf *w = m->w;
	struct wf_merge staged = {.theirs = w->state.index,
		.choice = m->choice,
		.whole_files = m->choice != WF_CONFLICT_MERGE,
		.of = " (staged)",
		.conflicts = &m->conflicts};
	struct oid clean;
	int r = next_trees(m, &rp.tree, &clean);

	if (r == 0)
		r = wf_replay(w, &rp, &m->replayed);
	if (r < 0 || m->conflicts.count)
		return r;
	m->next.head = m->replayed.head;
	m->next.tree = m->replayed.tree;
	staged.base = w->state.tree;
	staged.ours = m->next.tree;
	if (oid_equal(&w->state.index, &w->state.tree)) { /* nothing: the change list comes to it */
		staged.base = rp.tree;
		staged.ours = clean;
		staged.theirs = m->next.tree;
	} else if (w->use->has_change_list || mount_change_list_given(&m->sw->next)) {
		/* it is the change list that moves below what is staged */
		staged.base = w->use->has_change_list ? w->list.index : w->use->root;
		staged.ours = mount_change_list_given(&m->sw->next) ? clean : m->next.tree;
	}
	return wf_merge(w, &staged, &m->next.index);
}

/* ---- all of it ---- */

static int find(struct move *m)
{
	const struct oid *root = &m->sw->next.root;
	struct wf_carry c = {.index = m->w->state.index,
		.next_root = *root,
		.choice = m->choice,
		.on_top = m->on_top,
		.conflicts = &m->conflicts};
	int r = 0;

	if (is_plain(m->w)) {
		c.index = m->w->use->root;
		m->next.head = *mount_change_list_base(&m->sw->next);
		m->next.tree = m->next.index = *root;
	} else {
		r = move_commits(m);
	}
	c.next_index = m->next.index;
	if (r == 0 && !m->conflicts.count)
		r = wf_carry(m->w, &c, &m->plan);
	return r < 0 ? r : wf_conflicts_end(&m->conflicts, m->w->e);
}

/* The switch goes only where somebody has been: into the directories of what is to leave. */
struct entered {
	struct wf_files files;
	struct wf_place *places;
	size_t count;
};

static int enter_leaving(struct move *m, struct entered *en)
{
	const struct wf_plan *p = &m->plan;
	int r = 0;

	*en = (struct entered){.places = p->count ? calloc(p->count, sizeof(*en->places)) : NULL};
	wf_files_init(&en->files, m->w);
	if (p->count && !en->places)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < p->count; i++) {
		size_t restored = 0;

		if (!p->ops[i].leave)
			continue;
		r = wf_files_enter(
			&en->files, p->ops[i].path, false, &en->places[en->count], &restored);
		if (r == -ENOENT || r == -ENOTDIR) {
			r = 0; /* somebody removed it meanwhile */
			continue;
		}
		if (r == 0)
			r = wf_files_look(&en->files, &en->places[en->count++]);
	}
	return r;
}

static void leave_entered(struct entered *en)
{
	for (size_t i = 0; i < en->count; i++)
		wf_files_leave(&en->files, &en->places[i]);
	free(en->places);
}

/* The new view is there; the mount is not READY yet. */
static int end_move(void *arg, struct err *e)
{
	struct move *m = arg;
	struct wf *w = m->w;
	int r;

	(void)e; /* the verb's own */
	w->state = m->next;
	w->added_bytes = 0; /* written with it */
	w->use->root = m->sw->next.root;
	r = wf_plan_apply(w, &m->plan);
	if (r == 0)
		wf_plan_remove(w->dirfd);
	return r;
}

static int write_down(struct move *m)
{
	struct wf *w = m->w;
	int r = wf_plan_write(w->dirfd, &m->plan);

	m->next.bytes = w->state.bytes + w->added_bytes;
	if (r < 0)
		return r;
	if (w->has_state || w->added_bytes) /* else it begins at the base again */
		return wf_state_write_next(w->dirfd, &m->next);
	wf_state_remove_next(w->dirfd); /* of one that was killed before it was made */
	return 0;
}

static int go(struct move *m)
{
	struct entered entered;
	int r = write_down(m);

	m->sw->drop = wf_plan_leaves;
	m->sw->arg = &m->plan;
	m->sw->shown = end_move;
	m->sw->shown_arg = m;
	if (r == 0) {
		r = enter_leaving(m, &entered);
		if (r == 0)
			r = mount_switch_go(m->sw, m->w->e);
		leave_entered(&entered);
	}
	if (!m->sw->made)
		wf_plan_remove(m->w->dirfd);
	return r;
}

static int move(struct move *m)
{
	struct wf *w = m->w;
	int r = find(m);

	if (r == 0)
		r = go(m);
	wf_plan_fini(&m->plan);
	return r < 0 ? wf_failed(w, r, "move the workspace") : 0;
}

/* ---- the verbs ---- */

static int answer(struct move *m, struct mount_info *ret_info, struct wf_rebase_result *ret_result)
{
	struct mount *mt = m->sw->mt;
	int r;

	lock_acquire(&mt->registry->mu);
	r = mount_copy_info_locked(mt, ret_info, m->w->e);
	lock_release(&mt->registry->mu);
	if (r == 0 && ret_result) {
		ret_result->commits = m->replayed.commits;
		ret_result->count = m->replayed.count;
		m->replayed.commits = NULL;
	}
	return r;
}

static int run(struct wf *w, const struct wf_rebase_request *rq, struct mount_switch *sw,
	struct mount_info *ret_info, struct wf_rebase_result *ret_result)
{
	struct move *m = calloc(1, sizeof(*m));
	int r;

	if (!m)
		return -ENOMEM;
	*m = (struct move){
		.w = w, .sw = sw, .choice = rq->on_conflict, .committer = &rq->committer};
	if (rq->revision && rq->revision[0])
		(void)snprintf(sw->next.revision, sizeof(sw->next.revision), "%s", rq->revision);
	r = mount_switch_resolve(sw, sw->next.revision, NULL, w->e);
	if (r == 0)
		r = move(m);
	if (r == 0)
		r = answer(m, ret_info, ret_result);
	wf_replayed_fini(&m->replayed);
	free(m);
	return r;
}

int wf_rebase(const struct wf_call *call, const struct wf_rebase_request *rq,
	struct mount_info *ret_info, struct wf_rebase_result *ret_result, struct err *e)
{
	struct mount_switch sw;
	struct wf w;
	int r;

	if (rq->revision && strlen(rq->revision) >= sizeof(sw.next.revision))
		return err_field(e, "revision", "is too long");
	r = wf_open(&w, call, true, e);
	if (r < 0)
		return r;
	r = rq->committer.name ? wf_signature_check(&w, "committer", &rq->committer) : 0;
	if (r == 0)
		r = mount_switch_begin(&sw, w.use, e);
	if (r == 0) {
		r = run(&w, rq, &sw, ret_info, ret_result);
		if (r < 0)
			(void)wf_failed(&w, r, "move the workspace to another revision");
		mount_switch_end(&sw);
	}
	wf_close(&w);
	return r;
}

void wf_rebase_result_fini(struct wf_rebase_result *result)
{
	free(result->commits);
	*result = (struct wf_rebase_result){.commits = NULL};
}

int wf_move_list(struct mount_switch *sw, struct err *e)
{
	struct mount_use *use = sw->use;
	const struct wf_call call = {.mounts = sw->mt->registry,
		.cancel = use->callers,
		.deadline_ns = use->deadline_ns};
	struct move *m = calloc(1, sizeof(*m));
	struct wf w;
	int r = m ? 0 : -ENOMEM;

	if (r == 0 && use->root.len != 20) { /* the workflow does not know these */
		free(m);
		return mount_switch_go(sw, e);
	}
	if (r == 0)
		r = wf_open_use(&w, &call, use, e);
	if (r == 0) {
		*m = (struct move){.w = &w, .sw = sw, .on_top = true};
		r = move(m);
		wf_replayed_fini(&m->replayed);
		wf_close(&w);
	}
	free(m);
	return r;
}
