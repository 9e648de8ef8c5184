/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What becomes of a job's files when what lies below them moves: one walk compares, path by path,
 * what the job has with what was and what will be staged, and plans what the switch alone does not
 * do (plan.h):
 *
 *	only the job changed it     stays in the upper, on top
 *	only the other side did     shows through; a copy in the upper that is as it was leaves it
 *	both, to the same           leaves the upper in the moment of the switch: the quota is given
 *	                            back
 *	both                        a conflict: it is listed, or one side wins, or the texts are
 *merged was committed or staged     what that became; a file of its own where the new base has
 *another
 *
 * What one side has as a directory and the other as something else, or what the job has removed
 * with the directory that it lay in, no side can win: it is always a conflict.
 */
#pragma once
#include "workflow/conflicts.h"
#include "workflow/plan.h"
#include "workflow/wf.h"

struct wf_item;

struct wf_carry {
	struct oid index, next_index; /* what is staged, and will be */
	struct oid next_root;         /* what the files will lie over */
	enum wf_conflict_choice choice;
	bool on_top; /* nothing is a conflict: the job's files stay, whatever comes below */
	struct wf_conflicts *conflicts;
};
/* Into an empty plan, sorted. Contents that were merged are written. */
int wf_carry(struct wf *w, const struct wf_carry *c, struct wf_plan *ret_plan);

/* ---- merge_text.c ---- */

/* The job's file, which is no copy of `base`, with what `ours` has done to it: *ret_node, written;
 * mode 0: that cannot be merged. */
int wf_merge_work(struct wf *w, struct wf_item *item, const struct wf_node *base,
	const struct wf_node *ours, struct wf_node *ret_node);
