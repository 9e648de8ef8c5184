/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Three trees to one, with Git's result. What only one side changed is decided here, by ids, at the
 * cost of what `theirs` changed. Only where both sides touch the same does Git itself merge
 * (merge_git.c): texts by lines, files that were renamed, all as `git rebase` does it.
 */
#pragma once
#include "workflow/conflicts.h"
#include "workflow/wf.h"

struct wf_item;
struct wf_level;

struct wf_merge {
	/* At the workspace's path; none: nothing. `theirs` is what is carried over, `ours` where
	 * to.
	 */
	struct oid base, ours, theirs;
	/* KEEP_MINE is the side of `theirs`: what the job did. Of paths, not of lines. */
	enum wf_conflict_choice choice;
	bool whole_files; /* what both changed is a conflict, whatever Git could make of it */
	const char *of;   /* what is carried over, for the reasons of conflicts; "" */
	struct wf_conflicts *conflicts;
};
/* *ret_tree: written. With conflicts it is of no use, and the answer is 0 all the same. */
int wf_merge(struct wf *w, const struct wf_merge *m, struct oid *ret_tree);

/* Through the three trees at once: base, ours and theirs are the walk's lower, index and head. With
 * `ret_tree` it builds. The functions are as in struct wf_walk. */
struct wf_merge_visitor {
	int (*visit)(void *arg, struct wf_item *item);
	bool (*enter)(void *arg, const char *path, size_t len, struct wf_level *level);
	void *arg;
};
int wf_merge_walk(struct wf *w, const struct wf_merge *m, const struct wf_merge_visitor *v,
	struct oid *ret_tree);

/* ---- merge_git.c ---- */

int wf_merge_git(struct wf *w, const struct wf_merge *m, struct oid *ret_tree);
/* "changed on both sides" and the like, of three sides of a path; 0: it is not there. */
const char *wf_merge_reason(uint32_t base, uint32_t ours, uint32_t theirs);

/* ---- merge_rules.c ---- */

/* Below `root`, the .gitattributes of a directory ("a/b/", "" for the root), if it has any: the
 * level is of wf_merge_walk. */
int wf_merge_put_rules(
	struct wf *w, const char *root, const struct wf_level *level, const char *dir);
